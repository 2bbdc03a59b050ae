//! What the status of a policy says.

use chrono::{DateTime, Utc};
use lapse_crds::{
    Condition, ConditionStatus, Conditions as _, JitPolicy, JitPolicyStatus, PolicyMode,
};

use super::{PolicyState, Rule};

/// The status of a policy, if it says anything new: whether it can decide, and how many grants it
/// holds.
#[must_use]
pub fn report(
    policy: &JitPolicy,
    state: &PolicyState,
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
        message,
        last_transition_time: now.into(),
        observed_generation: policy.metadata.generation,
    });
    (policy.status.as_ref() != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{policy, settings};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    #[test]
    fn says_what_is_wrong_and_then_nothing_new() {
        let mut policy = policy("p");
        policy.spec.targets[0].kubernetes.as_mut().unwrap().roles[0].name = "cluster-admin".into();
        let state = PolicyState::of(&policy, &settings());
        let status = report(&policy, &state, 0, now()).unwrap();
        assert_eq!(status.conditions[0].reason, "RoleNotBindable");
        policy.status = Some(status);
        assert_eq!(report(&policy, &state, 0, now()), None);
        assert_eq!(report(&policy, &state, 1, now()).unwrap().active_grants, 1);
    }
}
