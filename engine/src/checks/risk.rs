//! The role lets its holder climb no further than the policy accepts.

use super::{CheckResult, Context};
use crate::Read;
use crate::elevation::{Elevation, climbs_by, power_of};
use crate::risk::{Reach, Risk, WithinReach, assess, within_reach};
use crate::target::Privilege;

/// The risk of the role where it is asked for; `None` if its rules are not known.
pub(crate) fn risk_of(context: &Context<'_>) -> Option<Risk> {
    let role = context.role.found()?;
    Some(assess(role.lists(), &Reach::of(&context.target.scope, context.settings)))
}

/// Whether the role surely lets nobody climb, neither by itself nor by a service account within its reach.
pub(crate) fn is_harmless(context: &Context<'_>) -> bool {
    let reached = |risk: &Risk| context.accounts.found().map(|all| within_reach(risk, all));
    if let Privilege::Elevation(elevation) = context.settled().privilege {
        let is_known = !matches!(elevation, Elevation::Application { program: None, .. });
        return is_known && power_of(&elevation).is_none();
    }
    risk_of(context).is_some_and(|risk| {
        !risk.escalates() && reached(&risk).is_some_and(|reached| reached.climbers.is_empty())
    })
}

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { policy, target, known, .. } = context;
    if let Privilege::Elevation(elevation) = context.settled().privilege {
        return on_host(context, &elevation);
    }
    let risk = match (risk_of(context), context.role) {
        (Some(risk), _) => risk,
        (None, Read::Failed(why)) => {
            return CheckResult::Pending(format!("{} cannot be read: {why}.", target.privilege));
        }
        (None, _) => {
            return CheckResult::NotApplicable(format!("{} does not exist.", target.privilege));
        }
    };
    let reached = match context.accounts {
        Read::Found(accounts) => within_reach(&risk, accounts),
        Read::Missing => WithinReach::default(),
        Read::Failed(why) => {
            return CheckResult::Pending(format!(
                "The service accounts within reach cannot be read: {why}."
            ));
        }
    };
    let is_accepted = policy.accepts_escalation(target, known);
    let risk = if is_accepted { risk.accepted() } else { risk };
    let refusals = [risk.refusal(), reached.refusal().filter(|_| !is_accepted)];
    if let Some(why) = sentences(refusals) {
        return CheckResult::Fail(why);
    }
    let warnings = [risk.warning(), reached.warning()];
    let harmless = || "The role does not allow privilege escalation.".to_owned();
    CheckResult::Pass(sentences(warnings).unwrap_or_else(harmless))
}

/// What there is to say of something on a host, as the policy gives it.
fn on_host(context: &Context<'_>, elevation: &Elevation) -> CheckResult {
    let Context { policy, target, known, .. } = context;
    if let Elevation::Application { program: None, .. } = elevation {
        return CheckResult::NotApplicable(format!("{elevation} is not offered."));
    }
    if let Some(why) = climbs_by(elevation).filter(|_| !policy.accepts_escalation(target, known)) {
        return CheckResult::Fail(format!(
            "{why}. Request something that does no more than you need, such as a script of root's without arguments, or \
             request under a policy with allowEscalation."
        ));
    }
    let power = power_of(elevation).map(|power| format!("{power}."));
    let harmless = || "It is not known to allow more than it says.".to_owned();
    CheckResult::Pass(power.unwrap_or_else(harmless))
}

fn sentences(parts: [Option<String>; 2]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::rbac::v1::PolicyRule;
    use rstest::rstest;

    use super::*;
    use crate::risk::{BoundRole, ServiceAccount};
    use crate::role::RoleRules;
    use crate::target::{Namespace, Scope};
    use crate::testing::{Fixture, cluster_role, edit_in};

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
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
    }

    #[test]
    fn what_is_protected_is_treated_as_the_whole_cluster() {
        let mut fixture = Fixture {
            role: role("get", "", "secrets"),
            target: edit_in(&["kube-system"]),
            ..Fixture::default()
        };
        fixture
            .surroundings
            .namespaces
            .insert("kube-system".into(), Read::Found(Namespace::default()));
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "This role allows privilege escalation. In kube-system it can read secrets (get secrets): list and watch show what is in them as well as get, tokens and passwords included. Request a role without these permissions, or request under a policy with allowEscalation.",
        )
        "#);
    }

    fn account(name: &str, verb: &str) -> ServiceAccount {
        let rule = PolicyRule {
            api_groups: Some(vec!["rbac.authorization.k8s.io".to_owned()]),
            resources: Some(vec!["clusterrolebindings".to_owned()]),
            verbs: vec![verb.to_owned()],
            ..PolicyRule::default()
        };
        let bound = BoundRole::new(cluster_role("operator"), &[rule], &Reach::Cluster);
        let roles = vec![Arc::new(bound)];
        ServiceAccount { namespace: "shop".into(), name: name.into(), roles }
    }

    #[test]
    fn a_service_account_within_reach_that_climbs_is_as_good_as_the_role() {
        let mut fixture = Fixture {
            role: role("create", "", "pods"),
            accounts: Read::Found(vec![account("web", "get"), account("operator", "create")]),
            ..Fixture::default()
        };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "With this role, its holder can act as service account shop/operator, which holds ClusterRole operator in the whole cluster, and so can write roles and bindings (create clusterrolebindings.rbac.authorization.k8s.io): who decides what roles hold and who is bound to them decides who may do what. Request a role without permission to create workloads, run commands, get tokens or impersonate there, or request under a policy with allowEscalation.",
        )
        "#);
        fixture.policy.spec.targets[0].kubernetes.as_mut().unwrap().allow_escalation = true;
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
        // Who can run nothing there acts as nobody.
        let fixture = Fixture { role: role("get", "", "pods"), ..fixture };
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
    }

    #[test]
    fn the_service_accounts_within_reach_are_named() {
        let accounts = Read::Found(vec![account("web", "get"), account("default", "list")]);
        let fixture = Fixture { role: role("create", "", "pods"), accounts, ..Fixture::default() };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Pass(
            "This role is powerful. In shop it can run workloads (create pods): a pod runs as any service account of its namespace and mounts any secret. Its holder can act as the service accounts shop/default, shop/web.",
        )
        "#);
        let accounts = Read::Failed("timeout".into());
        let fixture = Fixture { accounts, ..fixture };
        assert!(matches!(fixture.outcome(check), CheckResult::Pending(_)));
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
        assert!(matches!(fixture.outcome(check), CheckResult::Pending(_)));
        let fixture = Fixture { role: Read::Missing, ..Fixture::default() };
        assert!(matches!(fixture.outcome(check), CheckResult::NotApplicable(_)));
    }
}
