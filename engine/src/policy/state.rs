//! A policy of the cluster as it was read: compiled, or known to be unusable.

use lapse_crds::{Identity, JitPolicy, PolicyEffect, PolicyMode};

use super::{Ban, Policy, PolicyError, PolicyErrorReason};
use crate::Settings;
use crate::target::{Namespaces, ResolvedTarget};

/// A policy of the cluster: compiled, or known to be unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyState {
    /// The name of the policy.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its mode, which counts even when nothing else in it can be used.
    pub mode: PolicyMode,
    /// What it says, or what is wrong with it.
    pub compiled: Result<Rule, PolicyError>,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What may be had.
    Allow(Box<Policy>),
    /// What may not be had.
    Deny(Ban),
}

impl PolicyState {
    /// The state of a policy that was read.
    #[must_use]
    pub fn of(policy: &JitPolicy, settings: &Settings) -> Self {
        let compiled = match policy.spec.effect {
            PolicyEffect::Allow => {
                Policy::compile(policy, settings).map(|policy| Rule::Allow(Box::new(policy)))
            }
            PolicyEffect::Deny => Ok(Rule::Deny(Ban::of(super::reference(policy), &policy.spec))),
        };
        Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            uid: policy.metadata.uid.clone().unwrap_or_default(),
            mode: policy.spec.mode,
            compiled,
        }
    }

    /// The state of a policy that cannot be decoded.
    #[must_use]
    pub fn unreadable(name: String, uid: String, why: &str) -> Self {
        let message = format!("JitPolicy {name} cannot be read: {why}");
        let error = PolicyError { reason: PolicyErrorReason::Unreadable, message };
        Self { name, uid, mode: PolicyMode::Enforce, compiled: Err(error) }
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

/// The first ban in force that matches, by the name of its policy.
#[must_use]
pub fn banned<'a>(
    policies: &'a [PolicyState],
    who: &Identity,
    target: &ResolvedTarget,
    known: &Namespaces,
) -> Option<&'a Ban> {
    let bans = policies.iter().filter_map(PolicyState::ban);
    bans.filter(|ban| ban.matches(who, target, known)).min_by_key(|ban| &ban.reference().name)
}
