//! The policy lets the requester ask, and from where the request was made.

use super::{CheckResult, Context};
use crate::identity;
use crate::origin::Provenance;
use crate::policy::NotFromThere;

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { requester, provenance, policy, .. } = context;
    let username = &requester.username;
    if identity::subject_of(requester).is_none() {
        return CheckResult::Fail(if identity::is_named_as_endpoint_user(requester) {
            format!(
                "{username} is what a local user of a host is called who requests there (lapse request), and nobody else \
                 may have such a user name; ask whoever runs the cluster for another one."
            )
        } else {
            format!(
                "{username} is the name of a service account, but the credential does not belong to one; request with \
                 the service account's own token."
            )
        });
    }
    // Of who has asked on a host nothing but that host says who they are.
    match provenance {
        Provenance::Void(why) if requester.endpoint_user.is_some() => {
            return CheckResult::Fail(format!(
                "It is not proven that {username} requests this: {why}. Request again on that host."
            ));
        }
        Provenance::Unknown(why) if requester.endpoint_user.is_some() => {
            return CheckResult::Pending(format!(
                "Whether {username} requests this cannot be told: {why}."
            ));
        }
        _ => {}
    }
    if !policy.allows_requester(requester) {
        let username = identity::describe(requester);
        return CheckResult::Fail(format!(
            "{username} is not among the requesters of JitPolicy {} ({}); request under another policy, or ask its \
             owner to add you.",
            policy.name(),
            policy.describe_requesters()
        ));
    }
    match policy.accepts_from(provenance) {
        Ok(()) => {
            CheckResult::Pass(format!("{} may request access.", identity::describe(requester)))
        }
        Err(NotFromThere::Refused(why)) => CheckResult::Fail(why),
        Err(NotFromThere::Unknown(why)) => CheckResult::Pending(why),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use std::collections::BTreeMap;

    use lapse_crds::{LabelSelector, LabelValue, Workstations};

    use super::*;
    use crate::origin::{OriginError, Workplace};
    use crate::testing::{Fixture, local, local_user, person, user};

    #[rstest]
    #[case("alice", &["shop-developers"], true)]
    #[case("mallory", &["bank-developers"], false)]
    #[case("shop-developers", &[], false)]
    #[case("system:serviceaccount:ci:bot", &["shop-developers"], false)]
    fn lets_those_in_the_list_ask(
        #[case] name: &str,
        #[case] groups: &[&str],
        #[case] passes: bool,
    ) {
        let fixture = Fixture { requester: person(name, groups), ..Fixture::default() };
        let outcome = fixture.outcome(check);
        assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
    }

    fn made_on(endpoint: &str, role: &str) -> Provenance {
        let labels = BTreeMap::from([("role".to_owned(), role.to_owned())]);
        Provenance::Proven(Workplace { endpoint: endpoint.into(), labels })
    }

    fn void() -> Provenance {
        Provenance::Void(OriginError::Going("ws-1".into()))
    }

    fn unknown() -> Provenance {
        Provenance::Unknown("Endpoint ws-1 cannot be read: timeout".into())
    }

    fn from(provenance: Provenance) -> Fixture {
        let mut fixture = Fixture { provenance, ..Fixture::default() };
        let match_labels = [("role".to_owned(), LabelValue("paw".to_owned()))].into();
        let selector = LabelSelector { match_labels, ..LabelSelector::default() };
        let names = vec!["ws-1".to_owned(), "ws-2".to_owned()];
        fixture.policy.spec.workstations = Some(Workstations { names, selector: Some(selector) });
        fixture
    }

    #[rstest]
    #[case::by_name(made_on("ws-1", "web"), "Pass: alice may request access.")]
    #[case::by_label(made_on("ws-9", "paw"), "Pass: alice may request access.")]
    #[case::elsewhere(
        made_on("web-1", "web"),
        "Fail: JitPolicy shop-debug accepts requests only from the workstations ws-1, ws-2, endpoints with role=paw, and this one was made on Endpoint web-1; request from one of them with `kubectl jit request --from-host`."
    )]
    #[case::anywhere(
        Provenance::Unsaid,
        "Fail: JitPolicy shop-debug accepts requests only from the workstations ws-1, ws-2, endpoints with role=paw; request from one of them with `kubectl jit request --from-host`."
    )]
    #[case::not_proven(
        void(),
        "Fail: JitPolicy shop-debug accepts requests only from the workstations ws-1, ws-2, endpoints with role=paw, and it is not proven that this one was made there: Endpoint ws-1 is being deleted. Request again from one of them with `kubectl jit request --from-host`."
    )]
    #[case::not_known(
        unknown(),
        "Pending: JitPolicy shop-debug accepts requests only from the workstations ws-1, ws-2, endpoints with role=paw, and where this one was made cannot be told: Endpoint ws-1 cannot be read: timeout."
    )]
    fn a_policy_may_want_to_be_asked_from_certain_hosts(
        #[case] provenance: Provenance,
        #[case] expected: &str,
    ) {
        for emergency in [false, true] {
            let mut fixture = from(provenance.clone());
            fixture.spec.emergency = emergency;
            assert_eq!(said(fixture.outcome(check)), expected, "emergency: {emergency}");
        }
    }

    fn said(outcome: CheckResult) -> String {
        match outcome {
            CheckResult::Pass(message) => format!("Pass: {message}"),
            CheckResult::Fail(message) => format!("Fail: {message}"),
            CheckResult::Pending(message) => format!("Pending: {message}"),
            CheckResult::NotApplicable(message) => format!("NotApplicable: {message}"),
        }
    }

    #[rstest]
    #[case::anywhere(Provenance::Unsaid)]
    #[case::on_a_host(made_on("web-1", "web"))]
    #[case::not_proven(void())]
    #[case::not_known(unknown())]
    fn another_policy_does_not_care_from_where(#[case] provenance: Provenance) {
        let fixture = Fixture { provenance, ..Fixture::default() };
        assert!(matches!(fixture.outcome(check), CheckResult::Pass(_)));
    }

    #[test]
    fn nobody_else_has_the_name_of_a_local_user() {
        let requester = person("lapse:endpoint:ws-1:bo", &["shop-developers"]);
        let said = said(Fixture { requester, ..Fixture::default() }.outcome(check));
        assert_eq!(
            said,
            "Fail: lapse:endpoint:ws-1:bo is what a local user of a host is called who requests there (lapse request), and nobody else may have such a user name; ask whoever runs the cluster for another one."
        );
    }

    #[test]
    fn says_who_may() {
        let fixture = Fixture { requester: person("mallory", &[]), ..Fixture::default() };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "mallory is not among the requesters of JitPolicy shop-debug (group shop-developers); request under another policy, or ask its owner to add you.",
        )
        "#);
    }

    /// Of who asks on a host no policy says anything that names users and groups alone.
    #[rstest]
    #[case::proven(
        made_on("ws-1", "web"),
        true,
        "Pass: alice (local user al of Endpoint ws-1) may request access."
    )]
    #[case::no_user_by_that(
        made_on("ws-1", "web"),
        false,
        "Fail: alice (local user al of Endpoint ws-1) is not among the requesters of JitPolicy shop-debug (user alice, group shop-developers); request under another policy, or ask its owner to add you."
    )]
    #[case::from_elsewhere(
        made_on("ws-2", "web"),
        true,
        "Fail: JitPolicy shop-debug accepts requests only from the workstations ws-1, and this one was made on Endpoint ws-2; request from one of them with `kubectl jit request --from-host`."
    )]
    #[case::not_proven(
        void(),
        true,
        "Fail: It is not proven that alice requests this: Endpoint ws-1 is being deleted. Request again on that host."
    )]
    #[case::not_known(
        unknown(),
        true,
        "Pending: Whether alice requests this cannot be told: Endpoint ws-1 cannot be read: timeout."
    )]
    fn who_asks_on_a_host_is_an_endpoint_user_and_no_user(
        #[case] provenance: Provenance,
        #[case] is_named: bool,
        #[case] expected: &str,
    ) {
        let requester = local("ws-1", "al", "alice");
        let mut fixture = Fixture { requester, provenance, ..Fixture::default() };
        fixture.policy.spec.requesters.insert(0, user("alice"));
        if is_named {
            fixture.policy.spec.requesters.push(local_user("al", None));
        }
        let names = vec!["ws-1".to_owned()];
        fixture.policy.spec.workstations = Some(Workstations { names, selector: None });
        assert_eq!(said(fixture.outcome(check)), expected);
    }
}
