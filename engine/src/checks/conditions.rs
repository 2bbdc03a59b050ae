//! The policy's own rules hold.

use super::{CheckResult, Context};
use crate::condition::{Facts, RequestFacts, TargetFacts, TargetKind};
use crate::elevation::Elevation;
use crate::identity::are_groups_known;
use crate::policy::requested_duration;
use crate::target::{Privilege, Scope};
use lapse_crds::{Identity, RoleKind, RoleRef};

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let conditions = context.policy.conditions();
    if conditions.is_empty() {
        return CheckResult::NotApplicable("The policy has no conditions.".to_owned());
    }
    let Some(facts) = facts(context) else {
        return CheckResult::Fail(
            "The conditions cannot be evaluated without a duration; set spec.duration.".to_owned(),
        );
    };
    let mut broken = Vec::new();
    for (condition, message) in conditions {
        match condition.evaluate(&facts) {
            Ok(true) if are_groups_known(context.requester) => {}
            Ok(true) if condition.holds_with_more_groups() => {}
            Ok(true) => broken.push(format!(
                "{}. (The condition `{}` depends on groups that you are not in, and that cannot be determined: {})",
                message.trim_end_matches('.'),
                condition.as_str(),
                why_unknown(context.requester)
            )),
            Ok(false) => broken.push(format!("{}.", message.trim_end_matches('.'))),
            // What cannot be told is a no.
            Err(why) => broken.push(format!(
                "{}. (The condition `{}` could not be evaluated: {why})",
                message.trim_end_matches('.'),
                condition.as_str()
            )),
        }
    }
    if broken.is_empty() {
        CheckResult::Pass("Every condition of the policy is met.".to_owned())
    } else {
        CheckResult::Fail(broken.join(" "))
    }
}

/// Why it is not known in which groups somebody is, and what they can do about it.
fn why_unknown(requester: &Identity) -> String {
    match requester.groups_omitted {
        Some(omitted) => format!(
            "{omitted} of your groups did not fit into the request. Have the identity provider send fewer, and request \
             again"
        ),
        None => "the groups of who requests on a host are not known. Request with your own credentials (kubectl jit \
                 request)"
            .to_owned(),
    }
}

fn facts(context: &Context<'_>) -> Option<Facts> {
    let Context { spec, requester, policy, .. } = context;
    let target = context.settled();
    let role = target.privilege.role();
    let (mut programs, mut group) = (Vec::new(), None);
    let (mut application, mut account) = (None, None);
    let kind = match &target.privilege {
        Privilege::Role(RoleRef { kind: RoleKind::ClusterRole, .. }) => TargetKind::ClusterRole,
        Privilege::Role(RoleRef { kind: RoleKind::Role, .. }) => TargetKind::Role,
        Privilege::Rules(_) => TargetKind::Rules,
        Privilege::Elevation(Elevation::Admin) => TargetKind::Admin,
        Privilege::Elevation(Elevation::Commands(commands)) => {
            programs.extend(commands.iter().map(|command| command.path.clone()));
            TargetKind::Commands
        }
        Privilege::Elevation(Elevation::Group(name)) => {
            group = Some(name.clone());
            TargetKind::Group
        }
        Privilege::Elevation(Elevation::Application { name, program }) => {
            application = Some(name.clone());
            programs.extend(program.iter().map(|program| program.path.clone()));
            TargetKind::Application
        }
        Privilege::Elevation(Elevation::Account(asked)) => {
            account = Some(asked.action);
            TargetKind::Account
        }
    };
    let groups = match &target.privilege {
        Privilege::Elevation(elevation) => elevation.groups().to_vec(),
        Privilege::Role(_) | Privilege::Rules(_) => Vec::new(),
    };
    Some(Facts {
        requester: (*requester).clone(),
        request: RequestFacts {
            name: context.name.to_owned(),
            namespace: context.namespace.to_owned(),
            duration: requested_duration(spec, policy)?,
            reason: spec.reason.clone(),
            ticket: spec.ticket.clone(),
            emergency: spec.emergency,
            start_time: spec.start_time.map(lapse_crds::Timestamp::time),
        },
        target: TargetFacts {
            kind,
            role: role.map(|role| role.name.clone()),
            namespaces: target.namespaces().map(ToOwned::to_owned).collect(),
            cluster_wide: target.scope == Scope::Cluster,
            endpoint: target.scope.endpoint().map(|place| place.name.clone()),
            programs,
            group,
            groups,
            application,
            account,
        },
        policy: policy.name().to_owned(),
        now: context.now,
    })
}

#[cfg(test)]
mod tests {
    use lapse_crds::ConditionRule;
    use rstest::rstest;

    use super::*;
    use crate::testing::{Fixture, local};

    /// It passes the trial, and fails for the request of the fixture.
    const FAILS: &str = "1 / (request.durationSeconds - 1234) > 0";

    fn outcome(expression: &str) -> CheckResult {
        let mut fixture = Fixture::default();
        fixture.spec.duration = "20m34s".parse().ok();
        let message = "Ask for less.".to_owned();
        fixture.policy.spec.conditions =
            vec![ConditionRule { expression: expression.to_owned(), message }];
        fixture.outcome(check)
    }

    #[rstest]
    #[case("request.durationSeconds <= 1234", true)]
    #[case("request.durationSeconds < 1234", false)]
    #[case("'shop-developers' in requester.groups", true)]
    #[case("requester.username == 'mallory'", false)]
    #[case("target.kind == 'ClusterRole' && target.role == 'edit' && !target.clusterWide", true)]
    #[case("target.namespaces.all(name, name.startsWith('shop'))", true)]
    #[case("policy.name == 'shop-debug' && request.namespace == 'shop'", true)]
    #[case("request.ticket != ''", false)]
    #[case(FAILS, false)]
    fn hold_or_refuse(#[case] expression: &str, #[case] holds: bool) {
        let outcome = outcome(expression);
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), holds, "{outcome:?}");
    }

    #[test]
    fn say_what_the_policy_says() {
        let refused = outcome("request.durationSeconds < 1234");
        assert_eq!(refused, CheckResult::Fail("Ask for less.".to_owned()));
        insta::assert_debug_snapshot!(outcome(FAILS), @r#"
        Fail(
            "Ask for less. (The condition `1 / (request.durationSeconds - 1234) > 0` could not be evaluated: the expression failed: Division by zero of Int(1))",
        )
        "#);
    }

    /// Somebody could leave a group out by being in very many: the list is not all that they are in.
    #[rstest]
    #[case("!requester.groups.exists(g, g == 'contractors')", false)]
    #[case("'shop-developers' in requester.groups", true)]
    fn what_is_left_out_is_no_proof(#[case] expression: &str, #[case] holds: bool) {
        let mut fixture = Fixture::default();
        let message = "No contractors.".to_owned();
        let rule = ConditionRule { expression: expression.to_owned(), message };
        fixture.policy.spec.conditions = vec![rule];
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
        fixture.requester.groups_omitted = Some(952);
        let outcome = fixture.outcome(check);
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), holds, "{outcome:?}");
        if !holds {
            insta::assert_debug_snapshot!(outcome, @r#"
            Fail(
                "No contractors. (The condition `!requester.groups.exists(g, g == 'contractors')` depends on groups that you are not in, and that cannot be determined: 952 of your groups did not fit into the request. Have the identity provider send fewer, and request again)",
            )
            "#);
        }
        fixture.requester = local("web-1", "al", "alice");
        let CheckResult::Fail(why) = fixture.outcome(check) else { panic!("no groups are known") };
        let unknown = "No contractors. (The condition `!requester.groups.exists(g, g == 'contractors')` depends on groups that you are not in, and that cannot be determined: the groups of who requests on a host are not known. Request with your own credentials (kubectl jit request))";
        assert_eq!(why, if holds { "No contractors." } else { unknown });
    }

    #[test]
    fn without_conditions_there_is_nothing_to_say() {
        assert!(matches!(Fixture::default().outcome(check), CheckResult::NotApplicable(_)));
    }
}
