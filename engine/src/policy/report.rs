//! What the status of a policy says.

use chrono::{DateTime, Utc};
use lapse_crds::{
    Condition, ConditionStatus, Conditions as _, JitPolicy, JitPolicyStatus, PolicyMode,
};

use super::{NamedRole, PolicyState, Rule};
use crate::notice::Notice;
use crate::waiting::{self, Progress};
use crate::words::clipped;

/// Whether the policy is as its spec says.
const READY: &str = "Ready";
const ROLE_NOT_FOUND: &str = "RoleNotFound";

/// The status of a policy, if it says anything new: whether it can decide, and how many grants it
/// holds. `roles` are those that it names; a policy goes on without one of them, and says so.
#[must_use]
pub fn report(
    policy: &JitPolicy,
    state: &PolicyState,
    roles: &[NamedRole],
    active_grants: i64,
    now: DateTime<Utc>,
) -> Option<JitPolicyStatus> {
    let mut status = policy.status.clone().unwrap_or_default();
    status.observed_generation = policy.metadata.generation;
    status.active_grants = active_grants;
    let (progress, ready, reason, message) = match (&state.defect, &state.compiled) {
        (Some(error), _) | (_, Err(error)) => {
            let (reason, message) = (error.reason.to_string(), error.message.clone());
            (Progress::Failed, ConditionStatus::False, reason, message)
        }
        (None, Ok(_)) if policy.spec.mode == PolicyMode::Disabled => {
            let message = "The policy is disabled: it denies every request.";
            // That is what was asked for, and tools that wait must see it reached.
            (Progress::Done, ConditionStatus::True, "Disabled".to_owned(), message.to_owned())
        }
        (None, Ok(Rule::Allow(_))) if let Some(absence) = absence(policy, roles) => {
            // It may come with the next object of the same release.
            (Progress::UnderWay, ConditionStatus::False, ROLE_NOT_FOUND.to_owned(), absence)
        }
        (None, Ok(rule)) => {
            let message = match (rule, policy.spec.mode) {
                (Rule::Deny(_), PolicyMode::Audit) => {
                    "The policy is in audit mode: it denies nothing."
                }
                (Rule::Deny(_), _) => "The policy denies what it matches.",
                (Rule::Allow(_), PolicyMode::Audit) => {
                    "The policy is in audit mode: requests are evaluated, and nothing is granted."
                }
                (Rule::Allow(_), _) => "Requests can be granted under this policy.",
            };
            (Progress::Done, ConditionStatus::True, "Valid".to_owned(), message.to_owned())
        }
    };
    let generation = policy.metadata.generation;
    waiting::tell(&mut status.conditions, progress, &reason, &message, generation, now);
    status.conditions.set_condition(Condition {
        r#type: READY.to_owned(),
        status: ready,
        reason,
        message: clipped(&message),
        last_transition_time: now.into(),
        observed_generation: policy.metadata.generation,
    });
    status.conditions.sort_by_key(|condition| condition.r#type != READY);
    (policy.status.as_ref() != Some(&status)).then_some(status)
}

/// What to tell people of a new status: that the policy is not ready, and why, once.
#[must_use]
pub fn told(policy: &JitPolicy, status: &JitPolicyStatus) -> Option<Notice> {
    let ready = status.conditions.condition(READY)?;
    let before = policy.status.as_ref().and_then(|status| status.conditions.condition(READY));
    let is_known =
        before.is_some_and(|before| before.status == ready.status && before.reason == ready.reason);
    (ready.status == ConditionStatus::False && !is_known).then(|| Notice {
        warning: true,
        reason: ready.reason.clone(),
        message: ready.message.clone(),
    })
}

/// A role that does not exist, in words. While that cannot be told, what was said before stands.
fn absence(policy: &JitPolicy, roles: &[NamedRole]) -> Option<String> {
    let before = || {
        let ready = policy.status.as_ref()?.conditions.condition(READY)?;
        let is_same = ready.observed_generation == policy.metadata.generation;
        (is_same && ready.reason == ROLE_NOT_FOUND).then(|| ready.message.clone())
    };
    let absence = roles.iter().find_map(NamedRole::absence);
    absence.or_else(|| before().filter(|_| roles.iter().any(NamedRole::is_unknown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Read;
    use crate::testing::{cluster_role, policy, settings};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    #[test]
    fn says_what_is_wrong_and_then_nothing_new() {
        let mut policy = policy("p");
        policy.spec.targets[0].kubernetes.as_mut().unwrap().roles[0].name = "cluster-admin".into();
        let state = PolicyState::of(&policy, &settings());
        let status = report(&policy, &state, &[], 0, now()).unwrap();
        assert_eq!(status.conditions[0].reason, "RoleNotBindable");
        assert_eq!(told(&policy, &status).unwrap().reason, "RoleNotBindable");
        policy.status = Some(status);
        assert_eq!(told(&policy, policy.status.as_ref().unwrap()), None);
        assert_eq!(report(&policy, &state, &[], 0, now()), None);
        assert_eq!(report(&policy, &state, &[], 1, now()).unwrap().active_grants, 1);
    }

    /// Helm and Flux roll an upgrade back that does not become ready, and what was switched off would be on again.
    #[test]
    fn what_was_asked_for_is_done() {
        let mut policy = policy("p");
        let mut told = |change: fn(&mut JitPolicy), roles: &[NamedRole]| {
            change(&mut policy);
            let state = PolicyState::of(&policy, &settings());
            let status = report(&policy, &state, roles, 0, now()).unwrap();
            let said =
                |condition: &Condition| format!("{}={:?}", condition.r#type, condition.status);
            status.conditions.iter().map(said).collect::<Vec<_>>()
        };
        let missing =
            NamedRole { role: cluster_role("edit"), namespace: None, rules: Read::Missing };
        assert_eq!(told(|_| {}, &[]), ["Ready=True"]);
        assert_eq!(told(|_| {}, &[missing]), ["Ready=False", "Reconciling=True"]);
        assert_eq!(told(|p| p.spec.mode = PolicyMode::Disabled, &[]), ["Ready=True"]);
        let too_long = |p: &mut JitPolicy| {
            p.spec.mode = PolicyMode::Enforce;
            p.spec.duration.as_mut().unwrap().max = "48h".parse().ok();
        };
        assert_eq!(told(too_long, &[]), ["Ready=False", "Stalled=True"]);
    }

    #[test]
    fn a_role_that_does_not_exist_is_told_until_it_does() {
        let mut policy = policy("p");
        let state = PolicyState::of(&policy, &settings());
        let mut said = |rules| {
            let roles = [NamedRole { role: cluster_role("edit"), namespace: None, rules }];
            let status = report(&policy, &state, &roles, 0, now());
            let reason = status.as_ref().map(|status| status.conditions[0].reason.clone());
            policy.status = status.or(policy.status.take());
            reason
        };
        assert_eq!(said(Read::Missing).as_deref(), Some("RoleNotFound"));
        assert_eq!(said(Read::Failed("timeout".into())), None);
        assert_eq!(said(Read::Found(vec![])).as_deref(), Some("Valid"));
        assert_eq!(said(Read::Failed("timeout".into())), None);
        let message = &policy.status.unwrap().conditions[0].message;
        assert_eq!(message, "Requests can be granted under this policy.");
    }
}
