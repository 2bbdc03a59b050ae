//! The role lets its holder climb no further than the policy accepts.

use super::{Context, Outcome};
use crate::Read;
use crate::risk::{Reach, Risk, assess};

/// The risk of the role where it is asked for; `None` if its rules are not known.
pub(crate) fn risk_of(context: &Context<'_>) -> Option<Risk> {
    let role = context.role.found()?;
    Some(assess(role.lists(), &Reach::of(&context.target.scope, context.settings)))
}

pub(super) fn check(context: &Context<'_>) -> Outcome {
    let Context { policy, target, namespaces, .. } = context;
    let risk = match (risk_of(context), context.role) {
        (Some(risk), _) => risk,
        (None, Read::Failed(why)) => {
            return Outcome::Pending(format!("{} cannot be read: {why}.", target.privilege));
        }
        (None, _) => {
            return Outcome::NotApplicable(format!("{} does not exist.", target.privilege));
        }
    };
    let is_accepted = policy.accepts_escalation(target, namespaces);
    let risk = if is_accepted { risk.accepted() } else { risk };
    match (risk.refusal(), risk.warning()) {
        (Some(why), _) => Outcome::Fail(why),
        (None, Some(warning)) => Outcome::Pass(warning),
        (None, None) => Outcome::Pass("The role lets nobody climb further.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::PolicyRule;
    use rstest::rstest;

    use super::*;
    use crate::role::RoleRules;
    use crate::target::{Namespace, Scope};
    use crate::testing::{Fixture, edit_in};

    fn role(verb: &str, group: &str, resource: &str) -> Read<RoleRules> {
        Read::Found(RoleRules::of_cluster_role(vec![PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            verbs: vec![verb.to_owned()],
            ..PolicyRule::default()
        }]))
    }

    #[rstest]
    #[case::harmless("get", "", "pods", false, false, true)]
    #[case::escalating("create", "rbac.authorization.k8s.io", "rolebindings", false, false, false)]
    #[case::accepted("create", "rbac.authorization.k8s.io", "rolebindings", false, true, true)]
    #[case::secrets_of_a_namespace("get", "", "secrets", false, false, true)]
    #[case::secrets_everywhere("get", "", "secrets", true, false, false)]
    #[case::secrets_accepted("get", "", "secrets", true, true, true)]
    fn refuses_what_climbs(
        #[case] verb: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] everywhere: bool,
        #[case] accepted: bool,
        #[case] passes: bool,
    ) {
        let mut fixture = Fixture { role: role(verb, group, resource), ..Fixture::default() };
        let offered = fixture.policy.spec.targets[0].kubernetes.as_mut().unwrap();
        offered.cluster_wide = true;
        offered.allow_escalation = accepted;
        if everywhere {
            fixture.target.scope = Scope::Cluster;
        }
        let outcome = fixture.outcome(check);
        assert_eq!(matches!(outcome, Outcome::Pass(_)), passes, "{outcome:?}");
    }

    #[test]
    fn what_is_protected_is_treated_as_the_whole_cluster() {
        let mut fixture = Fixture {
            role: role("get", "", "secrets"),
            target: edit_in(&["kube-system"]),
            ..Fixture::default()
        };
        fixture.namespaces.insert("kube-system".into(), Read::Found(Namespace::default()));
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "This role lets its holder climb. In kube-system it can read secrets (get secrets): list and watch show what is in them as well as get, tokens and passwords included. Ask for a role without these rights, or under a policy with allowEscalation.",
        )
        "#);
    }

    #[test]
    fn a_warning_is_for_those_who_approve() {
        let fixture = Fixture { role: role("get", "", "secrets"), ..Fixture::default() };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Pass(
            "This role is powerful. In shop it can read secrets (get secrets): list and watch show what is in them as well as get, tokens and passwords included.",
        )
        "#);
    }

    #[test]
    fn what_is_not_known_waits() {
        let fixture = Fixture { role: Read::Failed("timeout".into()), ..Fixture::default() };
        assert!(matches!(fixture.outcome(check), Outcome::Pending(_)));
        let fixture = Fixture { role: Read::Missing, ..Fixture::default() };
        assert!(matches!(fixture.outcome(check), Outcome::NotApplicable(_)));
    }
}
