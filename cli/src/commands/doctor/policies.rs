//! Whether the policies can decide.

use kube::ResourceExt as _;
use kube::api::ListParams;
use lapse_crds::{ConditionStatus, Conditions as _, JitPolicy, PolicyMode};

use super::finding::{Check, Examined, Finding};
use crate::output::number;
use crate::pages::Pages;
use crate::session::Session;

pub(super) async fn examine(session: &Session) -> Examined {
    let check = Check::Policies;
    let (mut counted, mut found) = (Counted::default(), Vec::new());
    let pages = Pages::of(session, "listing policies", session.policies(), ListParams::default());
    let listing = pages.each(|policy| {
        counted.note(&policy);
        found.extend(stands(&policy));
    });
    check
        .look("list JitPolicies", "ClusterRole lapse:policy-viewer or lapse:auditor", listing)
        .await?;
    Ok(summed(found, counted))
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    enabled: usize,
    disabled: usize,
}

impl Counted {
    fn note(&mut self, policy: &JitPolicy) {
        match policy.spec.mode {
            PolicyMode::Disabled => self.disabled += 1,
            PolicyMode::Enforce | PolicyMode::Audit => self.enabled += 1,
        }
    }
}

fn summed(found: Vec<Finding>, counted: Counted) -> Vec<Finding> {
    let check = Check::Policies;
    let Counted { enabled, disabled } = counted;
    match (enabled, disabled) {
        (0, 0) => {
            let message = "there is no policy: nobody can request anything";
            vec![check.warning(message, "write one; `kubectl jit init` helps")]
        }
        (0, _) => {
            let message = "every policy is disabled: nobody can request anything";
            vec![check.warning(message, "set spec.mode of one to Enforce")]
        }
        _ if !found.is_empty() => found,
        (_, 0) => vec![check.ok(format!("{} ready", number(enabled, "policy is", "policies are")))],
        _ => vec![check.ok(format!(
            "{} ready, and {} disabled",
            number(enabled, "policy is", "policies are"),
            number(disabled, "is", "are"),
        ))],
    }
}

/// What is wrong with a policy, if anything is.
fn stands(policy: &JitPolicy) -> Option<Finding> {
    let (check, name) = (Check::Policies, policy.name_any());
    if policy.spec.mode == PolicyMode::Disabled {
        return None;
    }
    let status = policy.status.clone().unwrap_or_default();
    if status.observed_generation != policy.metadata.generation {
        let message = format!("nobody has looked at JitPolicy {name} since it was changed");
        return Some(check.warning(message, "see the checks Leader and Webhook"));
    }
    let ready = status.conditions.condition("Ready")?;
    (ready.status != ConditionStatus::True).then(|| {
        let message =
            format!("JitPolicy {name} is not ready ({}): {}", ready.reason, ready.message);
        check
            .problem(message, "change the policy, or what it needs; docs/policies.md, \"Messages\"")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::finding::{Outcome, shown};
    use super::*;

    fn policy(mode: &str, seen: i64, ready: &str) -> Value {
        let condition = json!({
            "type": "Ready", "status": ready, "reason": "RoleNotFound", "message": "There is no ClusterRole mend.",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": seen,
        });
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "shop", "generation": 2},
            "spec": {"mode": mode, "requesters": [], "targets": []},
            "status": {"observedGeneration": seen, "conditions": [condition]},
        })
    }

    #[rstest]
    #[case::ready(policy("Enforce", 2, "True"), None)]
    #[case::not_ready(policy("Enforce", 2, "False"), Some(Outcome::Problem))]
    #[case::unseen(policy("Enforce", 1, "True"), Some(Outcome::Warning))]
    #[case::switched_off(policy("Disabled", 2, "False"), None)]
    fn a_policy_that_cannot_decide_is_told(
        #[case] policy: Value,
        #[case] expected: Option<Outcome>,
    ) {
        let policy: JitPolicy = serde_json::from_value(policy).unwrap();
        assert_eq!(stands(&policy).map(|found| found.outcome), expected);
    }

    #[test]
    fn what_to_do_about_policies_is_told() {
        let of = |policy: Value| stands(&serde_json::from_value(policy).unwrap());
        let found = [policy("Enforce", 2, "False"), policy("Enforce", 1, "True")].map(of);
        let found: Vec<Finding> = found.into_iter().flatten().collect();
        let counted = |modes: &[&str]| {
            let mut counted = Counted::default();
            let policies = modes.iter().map(|mode| policy(mode, 2, "True"));
            policies.for_each(|policy| counted.note(&serde_json::from_value(policy).unwrap()));
            counted
        };
        let all = [
            summed(found, counted(&["Enforce", "Enforce"])),
            summed(Vec::new(), counted(&["Enforce"])),
            summed(Vec::new(), counted(&["Enforce", "Audit", "Disabled"])),
            summed(Vec::new(), counted(&["Disabled"])),
            summed(Vec::new(), counted(&[])),
        ];
        insta::assert_snapshot!(all.map(|found| shown(&found)).join("\n"));
    }
}
