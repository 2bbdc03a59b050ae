//! Rights that start later, hours that end, and bans that come at their time.

use lapse_crds::{
    GrantPhase, PolicyEffect, PolicyTarget, RequestPhase, Schedule, Separation, Verdict, Weekday,
    Window,
};
use rstest::rstest;

use crate::Read;
use crate::request::{Observed, decide};
use crate::testing::life::{
    APPROVED_AT, approved, asked, bob, decision, state, summaries, time, written,
};
use crate::testing::{person, policy, tell};

/// Half an hour after the request.
const START: i64 = 1800;

fn later(mut observed: Observed) -> Observed {
    observed.request.object.spec.start_time = Some(time(START).into());
    observed
}

/// A schedule that opens and closes at whole minutes after the request (11:06:40 UTC, a Wednesday).
fn hours(start: &str, end: &str) -> Schedule {
    let window = Window { days: vec![Weekday::Wed], start: start.into(), end: end.into() };
    Schedule { time_zone: "UTC".into(), windows: vec![window] }
}

#[test]
fn an_approved_request_waits_for_its_start() {
    let mut observed = later(approved());
    let plan = observed.step(20);
    insta::assert_snapshot!(tell::request(&plan), @r"
    Scheduled
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Everybody who must approve has approved.
    Granted=False Scheduled: It starts at 2026-11-18T11:36:40.000000Z.
    event Normal Scheduled: It starts at 2026-11-18T11:36:40.000000Z.
    looks again at 1800 s
    ");
    assert_eq!(plan.wake_at, Some(time(START)));
    // Nothing new until its time has come.
    let plan = observed.step(START - 1);
    assert_eq!((plan.create, plan.status), (None, None));
    let grant = observed.step(START).create.unwrap();
    assert_eq!(grant.spec.starts_at, time(START).into());
    assert_eq!(grant.spec.expires_at, time(START + 3600).into());
}

#[test]
fn a_start_that_has_passed_is_the_moment_of_the_approval() {
    let mut observed = later(asked());
    observed.step(1);
    observed.says(decision(Verdict::Approve, bob(), START + 60));
    let grant = observed.step(START + 61).create.unwrap();
    assert_eq!(grant.spec.starts_at, time(START + 60).into());
}

/// Bob is given a right that is kept apart before the start: his approval waits, and comes back with its
/// end.
#[test]
fn an_approval_does_not_count_while_its_author_is_engaged_elsewhere() {
    let mut observed = later(approved());
    observed.step(20);
    let mut other = policy("shop-payments");
    other.spec.separation_of_duties = vec![Separation { policy: "shop-debug".into() }];
    let policies = [state(&policy("shop-debug")), state(&other)];
    observed.policies = Read::Found(policies.into());
    let mut grant = written();
    grant.spec.policy.name = "shop-payments".into();
    grant.spec.subject.name = "bob".into();
    observed.engaging = Read::Found(summaries(&[grant.clone()]));
    insta::assert_snapshot!(tell::request(&observed.step(30)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group shop-managers. The approval by bob does not count for now: bob holds access under JitPolicy shop-payments until 2026-11-18T12:06:50.000000Z (Grant shop-fix-checkout-4a49acf8a6), and nobody may hold or approve access under both that policy and JitPolicy shop-debug (separationOfDuties).
    Granted=False Scheduled: It starts at 2026-11-18T11:36:40.000000Z.
    looks again at 86400 s
    ");
    grant.status.get_or_insert_default().phase = GrantPhase::Ended;
    observed.engaging = Read::Found(summaries(&[grant]));
    observed.step(40);
    let phase = observed.request.object.status.as_ref().map(|status| status.phase);
    assert_eq!(phase, Some(RequestPhase::Scheduled));
    // What cannot be read gives nothing.
    observed.engaging = Read::Failed("timeout".into());
    assert_eq!(observed.step(START).create, None);
}

#[rstest]
#[case::deny(|o: &mut Observed| o.says(decision(Verdict::Deny, bob(), 25)), RequestPhase::Denied)]
#[case::end(|o: &mut Observed| o.says(decision(Verdict::End, person("alice", &[]), 25)), RequestPhase::Withdrawn)]
#[case::check(|o: &mut Observed| o.role = Read::Missing, RequestPhase::Denied)]
#[case::void(|o: &mut Observed| o.policy_becomes(|_| {}), RequestPhase::Pending)]
fn a_scheduled_request_becomes(#[case] change: fn(&mut Observed), #[case] expected: RequestPhase) {
    let mut observed = later(approved());
    observed.step(20);
    change(&mut observed);
    let status = observed.step(30).status.unwrap();
    assert_eq!(status.phase, expected);
    let is_planned = status.starts_at.is_some();
    assert!(!is_planned, "nothing is planned any more");
}

#[test]
fn a_right_ends_with_the_hours_of_its_policy() {
    let mut observed = asked();
    observed.policy_becomes(|p| {
        p.spec.schedule = Some(hours("08:00", "11:30"));
        p.spec.approval = None;
    });
    let grant = observed.step(20).create.unwrap();
    assert_eq!(grant.spec.expires_at.to_string(), "2026-11-18T11:30:00.000000Z");
}

#[test]
fn when_the_hours_end_a_waiting_request_is_denied() {
    let mut observed = asked();
    observed.policy_becomes(|p| p.spec.schedule = Some(hours("08:00", "11:30")));
    let plan = observed.step(20);
    let closes = plan.wake_at.unwrap();
    assert_eq!(lapse_crds::Timestamp::new(closes).to_string(), "2026-11-18T11:30:00.000000Z");
    let status = decide(&observed, closes).status.unwrap();
    assert_eq!(status.phase, RequestPhase::Denied);
}

/// Everything is denied within these hours.
fn frozen(mut observed: Observed, start: &str, end: &str) -> Observed {
    let mut freeze = policy("freeze");
    freeze.spec.effect = PolicyEffect::Deny;
    freeze.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
    freeze.spec.schedule = Some(hours(start, end));
    observed.policies = Read::Found([state(&policy("shop-debug")), state(&freeze)].into());
    observed
}

/// The request is made at 11:06:40, for 11:36:40.
#[rstest]
#[case::over_by_then("11:00", "11:30", RequestPhase::Scheduled)]
#[case::come_by_then("11:30", "12:00", RequestPhase::Denied)]
#[case::in_between("11:10", "11:30", RequestPhase::Scheduled)]
fn a_ban_counts_when_the_right_would_start(
    #[case] start: &str,
    #[case] end: &str,
    #[case] expected: RequestPhase,
) {
    let mut observed = frozen(later(approved()), start, end);
    assert_eq!(observed.step(APPROVED_AT + 1).status.unwrap().phase, expected);
}

#[test]
fn a_ban_that_comes_at_its_time_is_waited_for() {
    let mut observed = frozen(asked(), "11:20", "12:00");
    let plan = observed.step(APPROVED_AT + 1);
    let from = plan.wake_at.unwrap();
    assert_eq!(lapse_crds::Timestamp::new(from).to_string(), "2026-11-18T11:20:00.000000Z");
    assert_eq!(decide(&observed, from).status.unwrap().phase, RequestPhase::Denied);
}

/// The webhook refuses such a start; one that was stored before stops nothing.
#[test]
fn a_start_at_the_end_of_time_can_be_reported() {
    let mut observed = approved();
    let last = "9999-12-31T23:59:59Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    observed.request.object.spec.start_time = Some(last.into());
    let status = observed.step(20).status.unwrap();
    assert_eq!(status.phase, RequestPhase::Scheduled);
    assert_eq!(status.expires_at.unwrap().to_string(), "9999-12-31T23:59:59.000000Z");
}
