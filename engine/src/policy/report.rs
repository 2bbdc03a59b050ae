//! What the status of a policy says.

use chrono::{DateTime, Utc};
use lapse_crds::{
    Condition, ConditionStatus, Conditions as _, JitPolicy, JitPolicyStatus, PolicyMode,
};

use super::{NamedRole, PolicyState, Rule};
use crate::words::clipped;

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
    let (ready, reason, message) = match (&state.defect, &state.compiled) {
        (Some(error), _) | (_, Err(error)) => {
            (ConditionStatus::False, error.reason.to_string(), error.message.clone())
        }
        (None, Ok(_)) if policy.spec.mode == PolicyMode::Disabled => {
            let message = "The policy is switched off: it declines every request.";
            (ConditionStatus::False, "Disabled".to_owned(), message.to_owned())
        }
        (None, Ok(Rule::Allow(_))) if let Some(absence) = absence(policy, roles) => {
            (ConditionStatus::False, ROLE_NOT_FOUND.to_owned(), absence)
        }
        (None, Ok(rule)) => {
            let message = match (rule, policy.spec.mode) {
                (Rule::Deny(_), PolicyMode::Audit) => "The policy is on trial: it denies nothing.",
                (Rule::Deny(_), _) => "The policy denies what it matches.",
                (Rule::Allow(_), PolicyMode::Audit) => {
                    "The policy is on trial: requests are evaluated, and nothing is granted."
                }
                (Rule::Allow(_), _) => "Requests can be granted by this policy.",
            };
            (ConditionStatus::True, "Valid".to_owned(), message.to_owned())
        }
    };
    status.conditions.set_condition(Condition {
        r#type: "Ready".to_owned(),
        status: ready,
        reason,
        message: clipped(&message),
        last_transition_time: now.into(),
        observed_generation: policy.metadata.generation,
    });
    (policy.status.as_ref() != Some(&status)).then_some(status)
}

/// A role that does not exist, in words. While that cannot be told, what was said before stands.
fn absence(policy: &JitPolicy, roles: &[NamedRole]) -> Option<String> {
    let before = || {
        let ready = policy.status.as_ref()?.conditions.condition("Ready")?;
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
        policy.status = Some(status);
        assert_eq!(report(&policy, &state, &[], 0, now()), None);
        assert_eq!(report(&policy, &state, &[], 1, now()).unwrap().active_grants, 1);
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
        assert_eq!(message, "Requests can be granted by this policy.");
    }
}
