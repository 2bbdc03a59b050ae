use chrono::DateTime;
use lapse_crds::{
    AccessRequest, AccessRequestStatus, Condition, ConditionStatus, Grant, GrantPhase, GrantStatus,
    Limits, PolicyRef, RequestPhase,
};
use rstest::rstest;

use super::*;
use crate::attest::Attested;
use crate::peers::Peers;
use crate::testing::life::{attestation, time, written};
use crate::testing::{Fixture, person, request_spec};

/// Another request of alice, made so many seconds after the one of the fixture.
fn other(
    uid: &str,
    at: i64,
    status: impl Into<Option<AccessRequestStatus>>,
) -> Attested<AccessRequest> {
    let mut request = AccessRequest::new(uid, request_spec());
    request.metadata.uid = Some(uid.to_owned());
    request.status = status.into();
    Attested { object: request, attestation: Ok(attestation(at, uid)) }
}

fn in_phase(phase: RequestPhase) -> AccessRequestStatus {
    AccessRequestStatus { phase, ..AccessRequestStatus::default() }
}

fn with_place() -> AccessRequestStatus {
    let passed = Condition {
        r#type: "Evaluated".into(),
        status: ConditionStatus::True,
        reason: "ChecksPassed".into(),
        message: String::new(),
        last_transition_time: DateTime::UNIX_EPOCH.into(),
        observed_generation: None,
    };
    AccessRequestStatus { conditions: vec![passed], ..AccessRequestStatus::default() }
}

fn outcome(peers: Peers, change: impl FnOnce(&mut Fixture)) -> CheckResult {
    let mut fixture = Fixture { peers: Read::Found(peers), ..Fixture::default() };
    change(&mut fixture);
    fixture.outcome(check)
}

fn passes(outcome: &CheckResult) -> bool {
    matches!(outcome, CheckResult::Pass(_))
}

#[rstest]
#[case::nobody_else(vec![], true)]
#[case::itself(vec![other("uid-1", 0, None)], true)]
#[case::earlier(vec![other("uid-0", -1, None)], false)]
#[case::later(vec![other("uid-2", 1, None)], true)]
#[case::later_with_a_place(vec![other("uid-2", 1, with_place())], false)]
#[case::same_moment_and_lower_uid(vec![other("uid-0", 0, None)], false)]
#[case::same_moment_and_higher_uid(vec![other("uid-2", 0, None)], true)]
#[case::scheduled(vec![other("uid-0", -1, in_phase(RequestPhase::Scheduled))], false)]
#[case::active(vec![other("uid-0", -1, in_phase(RequestPhase::Active))], true)]
#[case::over(vec![other("uid-0", -1, in_phase(RequestPhase::Denied))], true)]
fn one_open_request_at_once(
    #[case] requests: Vec<Attested<AccessRequest>>,
    #[case] expected: bool,
) {
    let outcome = outcome(Peers::of(&requests, &[]), |_| {});
    assert_eq!(passes(&outcome), expected, "{outcome:?}");
}

#[test]
fn a_place_is_never_taken_back() {
    let requests = vec![other("uid-0", -1, with_place())];
    let kept = outcome(Peers::of(&requests, &[]), |fixture| fixture.has_place = true);
    assert!(passes(&kept), "{kept:?}");
}

#[test]
fn requests_by_other_policies_and_of_other_people_do_not_count() {
    let mut elsewhere = other("uid-0", -1, None);
    elsewhere.object.spec.policy = Some("shop-admin".into());
    let mut decided_elsewhere = other("uid-0", -1, with_place());
    decided_elsewhere.object.status.as_mut().unwrap().policy =
        Some(PolicyRef { name: "shop-admin".into(), uid: "u".into(), generation: 1 });
    let mut of_bob = other("uid-0", -1, None);
    of_bob.object.spec.requester = Some(person("bob", &[]));
    for request in [elsewhere, decided_elsewhere, of_bob] {
        let outcome = outcome(Peers::of(&[request], &[]), |_| {});
        assert!(passes(&outcome), "{outcome:?}");
    }
}

/// A grant of alice that was given at `from` and lasts to `to`, in seconds.
fn grant(index: i64, phase: GrantPhase, from: i64, to: i64) -> Grant {
    let mut grant = written();
    grant.spec.request.uid = format!("other-{index}");
    grant.spec.starts_at = time(from).into();
    grant.spec.expires_at = time(to).into();
    grant.status = Some(GrantStatus {
        phase,
        activated_at: Some(time(from).into()),
        ended_at: (phase == GrantPhase::Ended).then(|| time(to).into()),
        ..GrantStatus::default()
    });
    grant
}

#[test]
fn three_live_grants_at_once() {
    let live = |count: i64| -> Vec<Grant> {
        (0..count).map(|n| grant(n, GrantPhase::Active, -10, 600)).collect()
    };
    assert!(passes(&outcome(Peers::of(&[], &live(2)), |_| {})));
    let full = outcome(Peers::of(&[], &live(3)), |_| {});
    insta::assert_debug_snapshot!(full, @r#"
    Fail(
        "You hold 3 grants under JitPolicy shop-debug, and it allows 3 at once; end one that you no longer need.",
    )
    "#);
    let over: Vec<_> = (0..3).map(|n| grant(n, GrantPhase::Ended, -700, -10)).collect();
    assert!(passes(&outcome(Peers::of(&[], &over), |_| {})));
}

#[test]
fn a_request_whose_grant_stands_is_not_open() {
    let mut granted = grant(0, GrantPhase::Active, -10, 600);
    granted.spec.request.uid = "uid-0".into();
    let requests = vec![other("uid-0", -1, with_place())];
    assert!(passes(&outcome(Peers::of(&requests, &[granted]), |_| {})));
}

#[test]
fn so_much_time_a_day() {
    let limited = |fixture: &mut Fixture| {
        let granted_time_per_day = "4h".parse().ok();
        fixture.policy.spec.limits = Some(Limits { granted_time_per_day, ..Limits::default() });
    };
    let hour = 3600;
    // Two hours yesterday, of which one lies more than 24 hours back; half an hour this morning.
    let grants = vec![
        grant(0, GrantPhase::Ended, -25 * hour, -23 * hour),
        grant(1, GrantPhase::Ended, -5 * hour, -5 * hour + 1800),
        // Half an hour ago, and another hour to go.
        grant(2, GrantPhase::Active, -1800, hour),
    ];
    let peers = || Peers::of(&[], &grants);
    let fits = outcome(peers(), limited);
    assert!(passes(&fits), "{fits:?}");
    let too_long = outcome(peers(), |fixture| {
        limited(fixture);
        fixture.spec.duration = "1h1s".parse().ok();
    });
    insta::assert_debug_snapshot!(too_long, @r#"
    Fail(
        "1h1s was requested, but JitPolicy shop-debug allows 4h within 24 hours, of which 3h are already held or reserved; request at most 1h, or request later.",
    )
    "#);
}

#[test]
fn what_is_refused_says_what_stands_in_the_way() {
    let open = vec![other("uid-0", -1, None)];
    let refused = outcome(Peers::of(&open, &[]), |_| {});
    let full = vec![grant(0, GrantPhase::Active, -4 * 3600, 1)];
    let no_time = outcome(Peers::of(&[], &full), |fixture| {
        let granted_time_per_day = "4h".parse().ok();
        fixture.policy.spec.limits = Some(Limits { granted_time_per_day, ..Limits::default() });
    });
    let held = (0..3).map(|n| grant(n, GrantPhase::Active, -10, 600)).collect::<Vec<_>>();
    let held = outcome(Peers::of(&[], &held), |_| {});
    insta::assert_debug_snapshot!([refused, no_time, held]);
}

#[test]
fn what_is_not_known_waits() {
    let fixture = Fixture { peers: Read::Failed("timeout".into()), ..Fixture::default() };
    assert!(matches!(fixture.outcome(check), CheckResult::Pending(_)));
}
