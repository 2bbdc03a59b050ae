//! A policy of the cluster as it was read: compiled, or known to be unusable.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::{Identity, JitPolicy, PolicyEffect, PolicyMode, RoleRef};

use super::{Ban, Policy, PolicyError, PolicyErrorReason, RolesKnown};
use crate::Settings;
use crate::target::{Namespaces, Privilege, ResolvedTarget};

/// A policy of the cluster: compiled, or known to be unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyState {
    /// The name of the policy.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its mode, which counts even when nothing else in it can be used.
    pub mode: PolicyMode,
    /// The policies that it keeps apart from itself, which counts likewise, unless it is switched off.
    pub apart: Vec<String>,
    /// What it says, or why it says nothing.
    pub compiled: Result<Rule, PolicyError>,
    /// What is wrong with it. A ban holds in spite of that.
    pub defect: Option<PolicyError>,
}

/// What a policy says; shared, because every look reads all policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What may be had.
    Allow(Arc<Policy>),
    /// What may not be had.
    Deny(Arc<Ban>),
}

impl PolicyState {
    /// The state of a policy that was read.
    #[must_use]
    pub fn of(policy: &JitPolicy, settings: &Settings) -> Self {
        let (compiled, defect) = match policy.spec.effect {
            PolicyEffect::Allow => {
                let compiled = Policy::compile(policy, settings);
                let defect = compiled.as_ref().err().cloned();
                (compiled.map(|policy| Rule::Allow(Arc::new(policy))), defect)
            }
            PolicyEffect::Deny => {
                let (ban, defect) = Ban::of(super::reference(policy), &policy.spec);
                (Ok(Rule::Deny(Arc::new(ban))), defect)
            }
        };
        let apart = policy.spec.separation_of_duties.iter().map(|other| other.policy.clone());
        Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            uid: policy.metadata.uid.clone().unwrap_or_default(),
            mode: policy.spec.mode,
            apart: apart.filter(|_| policy.spec.mode != PolicyMode::Disabled).collect(),
            compiled,
            defect,
        }
    }

    /// The state of a policy that cannot be decoded.
    #[must_use]
    pub fn unreadable(name: String, uid: String, why: &str) -> Self {
        let message = format!("JitPolicy {name} cannot be read: {why}");
        let error = PolicyError { reason: PolicyErrorReason::Unreadable, message };
        let defect = Some(error.clone());
        Self {
            name,
            uid,
            mode: PolicyMode::Enforce,
            apart: Vec::new(),
            compiled: Err(error),
            defect,
        }
    }

    /// The ban, if the policy is one that is in force.
    #[must_use]
    pub fn ban(&self) -> Option<&Ban> {
        match &self.compiled {
            Ok(Rule::Deny(ban)) if self.mode == PolicyMode::Enforce => Some(ban),
            _ => None,
        }
    }

    /// The policy, if it allows anything and is usable.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        match &self.compiled {
            Ok(Rule::Allow(policy)) => Some(policy),
            _ => None,
        }
    }
}

/// The roles whose rules must be known to tell which Deny policies match a target: those that these name,
/// when the request spells out rules.
#[must_use]
pub fn banned_roles<'a>(
    policies: &'a [PolicyState],
    target: &ResolvedTarget,
) -> BTreeSet<&'a RoleRef> {
    let deny = |state: &'a PolicyState| match &state.compiled {
        Ok(Rule::Deny(ban)) if state.mode != PolicyMode::Disabled => Some(ban),
        _ => None,
    };
    match target.privilege {
        Privilege::Role(_) => BTreeSet::new(),
        Privilege::Rules(_) => {
            policies.iter().filter_map(deny).flat_map(|ban| ban.roles()).collect()
        }
    }
}

/// The bans of the cluster that match a person and a target, at whatever time.
#[derive(Clone, Debug)]
pub struct Bans<'a>(Vec<&'a Ban>);

impl<'a> Bans<'a> {
    /// Those that match.
    #[must_use]
    pub fn on(
        policies: &'a [PolicyState],
        who: &Identity,
        target: &ResolvedTarget,
        known: &Namespaces,
        roles: RolesKnown<'_>,
    ) -> Self {
        let mut bans: Vec<&Ban> = policies
            .iter()
            .filter_map(PolicyState::ban)
            .filter(|ban| ban.matches(who, target, known, roles))
            .collect();
        bans.sort_by_key(|ban| &ban.reference().name);
        Self(bans)
    }

    /// The first that is in force, by the name of its policy.
    #[must_use]
    pub fn in_force(&self, now: DateTime<Utc>) -> Option<&'a Ban> {
        self.0.iter().find(|ban| ban.is_in_force(now)).copied()
    }

    /// When the next of them denies again, if none does at this time.
    #[must_use]
    pub fn return_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.iter().filter_map(|ban| ban.returns_at(now)).min()
    }
}
