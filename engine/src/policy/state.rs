//! A policy of the cluster as it was read: compiled, or known to be unusable.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::{Identity, JitPolicy, PolicyEffect, PolicyMode};

use super::{Ban, Policies, Policy, PolicyError, PolicyErrorReason, RolesKnown};
use crate::Settings;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;

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
    /// Whether it names others that it keeps apart, switched off or not.
    pub keeps_apart: bool,
    /// What it says, or why it says nothing.
    pub compiled: Result<Rule, PolicyError>,
    /// What is wrong with it. A ban holds in spite of that.
    pub defect: Option<PolicyError>,
    /// Whether it may be a ban of which nothing is known. Until that is mended, nothing is given to anybody.
    pub may_ban: bool,
}

/// What is known of a policy over which the program panicked.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicyOutline {
    /// Its effect; `None` if not even that is known.
    pub effect: Option<PolicyEffect>,
    /// Its mode, likewise.
    pub mode: Option<PolicyMode>,
}

/// What a policy says; shared by every look that it bears on.
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
            keeps_apart: !policy.spec.separation_of_duties.is_empty(),
            compiled,
            defect,
            may_ban: false,
        }
    }

    /// The state of a policy over which the program panicked. One that allows gives nothing; one that forbids, or may,
    /// keeps everything from being given, as what it forbids is not known.
    #[must_use]
    pub fn panicked(name: String, uid: String, outline: PolicyOutline) -> Self {
        let PolicyOutline { effect, mode } = outline;
        let mode = mode.unwrap_or(PolicyMode::Enforce);
        let may_ban = mode == PolicyMode::Enforce && effect != Some(PolicyEffect::Allow);
        let why = if may_ban {
            "Lapse panicked on it, which is a bug in Lapse. It may deny anything, so nothing is granted until it is \
             changed, disabled or deleted; the log says where it panicked"
        } else {
            "Lapse panicked on it, which is a bug in Lapse: change it or delete it; the log says where it panicked"
        };
        Self { mode, may_ban, ..Self::unreadable(name, uid, why) }
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
            keeps_apart: false,
            compiled: Err(error),
            defect,
            may_ban: false,
        }
    }

    pub(super) fn is_unreadable(&self) -> bool {
        let reason = self.defect.as_ref().map(|defect| defect.reason);
        reason == Some(PolicyErrorReason::Unreadable)
    }

    /// Whether it denies, in whatever mode.
    #[must_use]
    pub fn denies(&self) -> bool {
        matches!(self.compiled, Ok(Rule::Deny(_)))
    }

    /// Whether something could be asked for under it, were it ready and for everybody.
    #[must_use]
    pub(super) fn is_askable(&self) -> bool {
        !self.denies()
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

/// The bans of the cluster that match a person and a target, at whatever time.
#[derive(Clone, Debug)]
pub struct Bans<'a>(Vec<&'a Ban>);

impl<'a> Bans<'a> {
    /// Those that match.
    #[must_use]
    pub fn on(
        policies: &'a Policies,
        who: &Identity,
        target: &ResolvedTarget,
        known: &Surroundings,
        roles: RolesKnown<'_>,
    ) -> Self {
        let in_force = policies.bans_of(who).filter(|(state, _)| state.mode == PolicyMode::Enforce);
        let bans = in_force.map(|(_, ban)| ban);
        Self(bans.filter(|ban| ban.matches(who, target, known, roles)).collect())
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
