//! The policy lets the requester ask, and from where the request was made.

use super::{CheckResult, Context};
use crate::identity;
use crate::policy::NotFromThere;

pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let Context { requester, provenance, policy, .. } = context;
    let username = &requester.username;
    if identity::subject_of(requester).is_none() {
        return CheckResult::Fail(format!(
            "{username} is the name of a service account, but the credential does not belong to one; request with the \
             service account's own token."
        ));
    }
    if !policy.allows_requester(requester) {
        return CheckResult::Fail(format!(
            "{username} is not among the requesters of JitPolicy {} ({}); request under another policy, or ask its \
             owner to add you.",
            policy.name(),
            policy.describe_requesters()
        ));
    }
    match policy.accepts_from(provenance) {
        Ok(()) => CheckResult::Pass(format!("{username} may request access.")),
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
    use crate::origin::{OriginError, Provenance, Workplace};
    use crate::testing::{Fixture, person};

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
    fn says_who_may() {
        let fixture = Fixture { requester: person("mallory", &[]), ..Fixture::default() };
        insta::assert_debug_snapshot!(fixture.outcome(check), @r#"
        Fail(
            "mallory is not among the requesters of JitPolicy shop-debug (group shop-developers); request under another policy, or ask its owner to add you.",
        )
        "#);
    }
}
