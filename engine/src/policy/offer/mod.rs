//! One entry of the targets of a policy.

mod endpoint;
mod kubernetes;
pub(super) mod labels;
mod requirement;

use lapse_crds::{Application, LocalUsers, PolicyTarget, RoleRef};

pub use self::kubernetes::{BannedRoles, RolesKnown};

use self::endpoint::EndpointOffer;
use self::kubernetes::KubernetesOffer;
use crate::Settings;
use crate::elevation::Elevation;
use crate::surroundings::Surroundings;
use crate::target::{Privilege, ResolvedTarget};

/// What one entry offers, or forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Roles and rules, and where.
    Kubernetes(KubernetesOffer),
    /// Hosts, and what may be done there.
    Endpoint(EndpointOffer),
}

impl Offer {
    /// What an entry says; `None` if it has no kind, or means everything.
    pub(super) fn of(target: &PolicyTarget) -> Option<Self> {
        // Destructured without `..`: a kind that is added to the API must be compiled here.
        let PolicyTarget { all, kubernetes, endpoint } = target;
        match (all, kubernetes, endpoint) {
            (false, Some(targets), None) => Some(Self::Kubernetes(KubernetesOffer::of(targets))),
            (false, None, Some(targets)) => Some(Self::Endpoint(EndpointOffer::of(targets))),
            _ => None,
        }
    }

    /// The roles that are named.
    pub(super) fn roles(&self) -> &[RoleRef] {
        match self {
            Self::Kubernetes(offer) => offer.roles(),
            Self::Endpoint(_) => &[],
        }
    }

    /// Whether roles, commands, applications and groups that let their holder climb are accepted here.
    pub(super) fn allows_escalation(&self) -> bool {
        match self {
            Self::Kubernetes(offer) => offer.allows_escalation(),
            Self::Endpoint(offer) => offer.allows_escalation(),
        }
    }

    /// Whether a protected namespace is offered: by its name and with escalation alone, and the
    /// installation's own never.
    pub(super) fn offers_protected(&self, namespace: &str, settings: &Settings) -> bool {
        match self {
            Self::Kubernetes(offer) => offer.offers_protected(namespace, settings),
            Self::Endpoint(_) => false,
        }
    }

    /// Whether the whole target lies within the entry.
    pub(super) fn contains(
        &self,
        target: &ResolvedTarget,
        known: &Surroundings,
        settings: &Settings,
    ) -> bool {
        match self {
            Self::Kubernetes(offer) => offer.contains(target, &known.namespaces, settings),
            Self::Endpoint(offer) => offer.contains(target, known.endpoint.as_ref()),
        }
    }

    /// What is missing for the entry to contain what is asked for where it offers something, in words.
    pub(super) fn shortfall(
        &self,
        target: &ResolvedTarget,
        known: &Surroundings,
        settings: &Settings,
    ) -> Option<String> {
        match self {
            Self::Kubernetes(offer) => {
                let missing = offer.shortfall(target, &known.namespaces, settings);
                missing.map(|missing| missing.to_string())
            }
            Self::Endpoint(offer) => offer.shortfall(target, known.endpoint.as_ref()),
        }
    }

    /// Whether any part of the target lies within the entry.
    pub(super) fn overlaps(
        &self,
        target: &ResolvedTarget,
        known: &Surroundings,
        roles: RolesKnown<'_>,
    ) -> bool {
        match self {
            Self::Kubernetes(offer) => offer.overlaps(target, &known.namespaces, roles),
            Self::Endpoint(offer) => offer.overlaps(target, known.endpoint.as_ref()),
        }
    }

    /// What both offer, in words, as far as their text says.
    pub(super) fn shared(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Kubernetes(own), Self::Kubernetes(other)) => own.shared(other),
            (Self::Endpoint(own), Self::Endpoint(other)) => own.shared(other),
            _ => None,
        }
    }

    /// Who is which local user on its hosts.
    pub(super) fn local_users(&self) -> Option<LocalUsers> {
        match self {
            Self::Kubernetes(_) => None,
            Self::Endpoint(offer) => Some(offer.local_users()),
        }
    }

    /// What the application is that a target names.
    pub(super) fn application(&self, target: &ResolvedTarget) -> Option<&Application> {
        match (self, &target.privilege) {
            (Self::Endpoint(offer), Privilege::Elevation(Elevation::Application { name, .. })) => {
                offer.application(name)
            }
            _ => None,
        }
    }

    /// How the agent of the host falls short of what the entry requires of it, as the rest of a sentence about it.
    pub(super) fn unmet(&self, known: &Surroundings) -> Option<String> {
        match self {
            Self::Kubernetes(_) => None,
            Self::Endpoint(offer) => offer.unmet(known.endpoint.as_ref()),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Kubernetes(offer) => offer.describe(),
            Self::Endpoint(offer) => offer.describe(),
        }
    }
}
