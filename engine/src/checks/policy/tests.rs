use lapse_crds::{AccessRequest, AccessRequestStatus, Grant, GrantPhase, RequestPhase};
use rstest::rstest;

use super::*;
use crate::Read;
use crate::attest::Attested;
use crate::peers::Peers;
use crate::testing::life::{EXPIRES_AT, active, attestation, time};
use crate::testing::{Fixture, edit_in, request_spec};

/// A request of alice in the shop, made so many seconds after the one of the fixture.
fn request(name: &str, at: i64) -> Attested<AccessRequest> {
    let mut request = AccessRequest::new(name, request_spec());
    request.metadata.namespace = Some("shop".into());
    request.metadata.uid = Some(format!("uid-of-{name}"));
    Attested { object: request, attestation: Ok(attestation(at, name)) }
}

/// Another that extends the same one.
fn rival(at: i64, phase: RequestPhase) -> Attested<AccessRequest> {
    let mut rival = request("rival", at);
    rival.object.spec.extends = Some("earlier".into());
    rival.object.status = Some(AccessRequestStatus { phase, ..AccessRequestStatus::default() });
    rival
}

/// The right that a request holds.
fn held(name: &str) -> Grant {
    let mut grant = active().grant;
    grant.spec.request.name = name.to_owned();
    grant.spec.request.uid = format!("uid-of-{name}");
    grant
}

/// What the check looks at, and the objects that its peers follow from.
struct Case {
    fixture: Fixture,
    requests: Vec<Attested<AccessRequest>>,
    grants: Vec<Grant>,
}

impl Case {
    fn outcome(&mut self) -> CheckResult {
        self.outcome_of(check)
    }

    fn outcome_of(&mut self, check: fn(&Context<'_>) -> CheckResult) -> CheckResult {
        self.fixture.peers = Read::Found(Peers::of(&self.requests, &self.grants));
        self.fixture.outcome(check)
    }

    fn status(&mut self) -> &mut lapse_crds::GrantStatus {
        self.grants[0].status.as_mut().unwrap()
    }
}

fn case() -> Case {
    let mut fixture = Fixture { now: time(60), ..Fixture::default() };
    fixture.spec.extends = Some("earlier".into());
    Case { fixture, requests: vec![request("earlier", -100)], grants: vec![held("earlier")] }
}

fn passes(outcome: &CheckResult) -> bool {
    matches!(outcome, CheckResult::Pass(_))
}

#[test]
fn what_is_held_can_be_extended() {
    assert_eq!(
        case().outcome(),
        CheckResult::Pass("JitPolicy shop-debug decides, as it did for earlier.".into())
    );
}

#[rstest]
#[case::no_such_request(|f: &mut Case| f.fixture.spec.extends = Some("other".into()))]
#[case::in_another_namespace(|f: &mut Case| {
    f.requests[0].object.metadata.namespace = Some("bank".into());
})]
#[case::not_given_yet(|f: &mut Case| f.grants.clear())]
#[case::about_to_be_given(|f: &mut Case| f.status().phase = GrantPhase::Pending)]
#[case::over(|f: &mut Case| f.status().phase = GrantPhase::Ended)]
#[case::expired(|f: &mut Case| f.fixture.now = time(EXPIRES_AT))]
#[case::deleted(|f: &mut Case| {
    f.grants[0].metadata.deletion_timestamp = Some(crate::testing::life::deleted_at());
})]
#[case::of_a_service_account_of_the_name(|f: &mut Case| {
    f.grants[0].spec.subject = crate::testing::service_account("ci", "alice");
})]
#[case::of_another_request_of_the_name(|f: &mut Case| {
    f.grants[0].spec.request.uid = "uid-of-its-forerunner".into();
})]
#[case::another_policy(|f: &mut Case| f.grants[0].spec.policy.name = "shop-admin".into())]
fn nothing_else_can(#[case] change: fn(&mut Case)) {
    let mut case = case();
    change(&mut case);
    let outcome = case.outcome();
    assert!(matches!(outcome, CheckResult::Fail(_)), "{outcome:?}");
}

#[test]
fn says_what_is_wrong() {
    let mut case = case();
    case.grants[0].spec.policy.name = "shop-admin".into();
    insta::assert_debug_snapshot!(case.outcome(), @r#"
    Fail(
        "Request earlier was granted under JitPolicy shop-admin, and JitPolicy shop-debug decides this one; set spec.policy to shop-admin, or leave spec.extends out.",
    )
    "#);
    case.status().phase = GrantPhase::Ended;
    insta::assert_debug_snapshot!(case.outcome(), @r#"
    Fail(
        "Request earlier is not active, so there is nothing to extend; leave spec.extends out.",
    )
    "#);
    case.fixture.spec.extends = Some("other".into());
    insta::assert_debug_snapshot!(case.outcome(), @r#"
    Fail(
        "You have no request other in namespace shop that could be extended; name one that is active, or leave spec.extends out.",
    )
    "#);
    case.fixture.peers = Read::Failed("timeout".into());
    assert!(matches!(case.fixture.outcome(check), CheckResult::Pending(_)));
    case.fixture.peers = Read::Missing;
    assert!(matches!(case.fixture.outcome(check), CheckResult::Pending(_)));
}

#[rstest]
#[case::earlier(rival(-1, RequestPhase::Pending), false, false)]
#[case::later(rival(1, RequestPhase::Pending), false, true)]
#[case::earlier_and_over(rival(-1, RequestPhase::Denied), false, true)]
#[case::later_and_given(rival(1, RequestPhase::Active), true, false)]
#[case::given_and_over(rival(-1, RequestPhase::Ended), true, false)]
#[case::before_what_is_extended_was_made(rival(-200, RequestPhase::Ended), true, true)]
fn a_request_is_extended_once(
    #[case] rival: Attested<AccessRequest>,
    #[case] is_given: bool,
    #[case] expected: bool,
) {
    let mut case = case();
    case.requests.push(rival);
    if is_given {
        case.grants.push(held("rival"));
    }
    let outcome = case.outcome();
    assert_eq!(passes(&outcome), expected, "{outcome:?}");
    // A place that was taken is never taken back.
    case.fixture.has_place = true;
    assert!(passes(&case.outcome()));
}

#[test]
fn one_that_could_not_be_given_does_not_count() {
    let mut case = case();
    case.requests.push(rival(-1, RequestPhase::Failed));
    let mut grant = held("rival");
    grant.status.as_mut().unwrap().phase = GrantPhase::Ended;
    case.grants.push(grant.clone());
    assert!(passes(&case.outcome()));
    grant.status.as_mut().unwrap().end_reason = Some(lapse_crds::EndReason::Expired);
    case.grants[1] = grant;
    insta::assert_debug_snapshot!(case.outcome(), @r#"
    Fail(
        "Request earlier is already extended by rival; extend that one when it is active, or leave spec.extends out.",
    )
    "#);
}

#[test]
fn only_for_what_is_held_already() {
    let mut case = case();
    case.fixture.target = edit_in(&["shop", "shop-staging"]);
    insta::assert_debug_snapshot!(case.outcome_of(super::super::target::check), @r#"
    Fail(
        "ClusterRole edit in shop, shop-staging was requested, but request earlier, which it extends, is for ClusterRole edit in shop; request no more than that, or leave spec.extends out.",
    )
    "#);
    case.fixture.target = edit_in(&["shop"]);
    assert!(passes(&case.outcome_of(super::super::target::check)));
}

#[test]
fn an_extension_has_the_place_of_what_it_extends() {
    let mut case = case();
    for name in ["second", "third"] {
        case.grants.push(held(name));
    }
    let check = super::super::limits::check;
    let fits = case.outcome_of(check);
    assert!(passes(&fits), "{fits:?}");
    case.fixture.spec.extends = None;
    assert!(!passes(&case.outcome_of(check)), "three are held");
}
