//! A request follows its grant.

use lapse_crds::{
    ConditionStatus, Conditions as _, EndReason, Grant, GrantPhase, RequestPhase, Verdict,
};
use rstest::rstest;

use crate::Read;
use crate::grant;
use crate::policy::Policies;
use crate::request::{Observed, decide};
use crate::testing::life::{
    APPROVED_AT, EXPIRES_AT, active, approved, bob, decision, intact, pending, reference, time,
    written,
};
use crate::testing::tell;

fn with(grant: Grant) -> Observed {
    Observed { grant: Read::Found(grant), ..approved() }
}

/// The request whose right is held, as it was reported.
fn held() -> Observed {
    let mut observed = with(active().grant);
    observed.step(13);
    observed
}

#[test]
fn it_says_nothing_until_the_right_is_held_and_then_everything_at_once() {
    let mut observed = with(written());
    let plan = observed.step(11);
    assert_eq!((plan.status, plan.wake_at), (None, None));

    observed.grant = Read::Found(active().grant);
    insta::assert_snapshot!(tell::request(&observed.step(13)), @r"
    Active
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=True Given: Access is held until 2026-11-18T12:06:50.000000Z.
    event Normal Granted: Access is held until 2026-11-18T12:06:50.000000Z.
    ");
    let status = observed.request.object.status.clone().unwrap();
    assert_eq!(status.policy, Some(reference(1)));
    assert_eq!(status.grant.unwrap().uid, "grant-1");
    assert_eq!(status.starts_at.unwrap().time(), time(APPROVED_AT));
    assert_eq!(status.expires_at.unwrap().time(), time(EXPIRES_AT));
    assert_eq!(status.approval.unwrap().stages[0].approved_by, ["bob"]);
    assert_eq!(observed.step(14).status, None, "steady state writes nothing");
}

#[test]
fn an_obstacle_of_the_grant_is_shown() {
    let mut blocked = pending();
    blocked.obstacle =
        Some(grant::Obstacle { message: "creating RoleBinding: 503".into(), lasting: false });
    let plan = grant::decide(&blocked, time(12));
    blocked.report(&plan);
    let mut observed = with(blocked.grant);
    insta::assert_snapshot!(tell::request(&observed.step(13)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=False Refused: creating RoleBinding: 503
    ");
    assert_eq!(observed.step(14).status, None);
}

/// A look-up that failed between the approval and the grant leaves no trace once the right is held.
#[test]
fn a_right_that_is_held_was_evaluated() {
    let mut observed = approved();
    observed.obstacle = Some("creating Grant: 503".into());
    observed.step(20);
    observed.role = Read::Failed("timeout".into());
    observed.step(21);
    observed.role = approved().role;
    observed.grant = Read::Found(active().grant);
    let status = observed.step(22).status.unwrap();
    for r#type in ["Evaluated", "Approved", "Granted"] {
        let condition = status.conditions.condition(r#type).unwrap();
        assert_eq!(condition.status, ConditionStatus::True, "{condition:?}");
    }
}

#[test]
fn the_policy_that_allowed_the_right_is_shown_not_the_one_that_stands_now() {
    let mut observed = with(active().grant);
    observed.policy_becomes(|_| {});
    assert_eq!(observed.step(13).status.unwrap().policy, Some(reference(1)));
    let mut observed = with(active().grant);
    observed.policies = Read::Found(Policies::default());
    assert_eq!(observed.step(13).status.unwrap().policy, Some(reference(1)));
}

#[test]
fn a_right_that_is_being_taken_back_is_told_and_then_its_end() {
    let mut ending = active();
    ending.objects[0].1 = Read::Failed("timeout".into());
    ending.says(decision(Verdict::Deny, bob(), 100));
    ending.step(101);
    let mut observed = held();
    observed.grant = Read::Found(ending.grant.clone());
    insta::assert_snapshot!(tell::request(&observed.step(102)), @r"
    Active
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=False Revoked: Access is being revoked. Denied by bob.
    Ended=False Unverified: Access is being revoked. Denied by bob.
    ");

    ending.objects[0].1 = Read::Missing;
    ending.step(103);
    observed.grant = Read::Found(ending.grant);
    insta::assert_snapshot!(tell::request(&observed.step(104)), @r"
    Ended
    because Revoked
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=False Revoked: Denied by bob.
    Ended=True Revoked: Denied by bob.
    event Normal Revoked: Denied by bob.
    ");
    let status = observed.request.object.status.unwrap();
    assert_eq!(status.ended_at.unwrap().time(), time(103));
}

/// The reason of the grant's end is the request's, whichever it is.
#[rstest]
fn the_end_reason_is_the_grants(
    #[values(
        EndReason::Expired,
        EndReason::EndedByRequester,
        EndReason::Revoked,
        EndReason::PolicyDisabled,
        EndReason::PolicyDeleted,
        EndReason::RequesterNotAllowed,
        EndReason::RequestDeleted,
        EndReason::GrantDeleted,
        EndReason::BindingDeleted,
        EndReason::BindingChanged,
        EndReason::TargetDeleted
    )]
    reason: EndReason,
) {
    let mut ended = active().grant;
    let status = ended.status.as_mut().unwrap();
    status.phase = GrantPhase::Ended;
    status.end_reason = Some(reason);
    let mut observed = held();
    observed.grant = Read::Found(ended);
    let status = observed.step(100).status.unwrap();
    assert_eq!((status.phase, status.end_reason), (RequestPhase::Ended, Some(reason)));
}

#[test]
fn a_right_that_could_not_be_given_is_a_failure() {
    let mut blocked = pending();
    let mut theirs = intact(&blocked.objects[0].0, "theirs");
    theirs.grant_uid = None;
    blocked.objects[0].1 = Read::Found(theirs);
    blocked.step(12);
    let mut observed = with(blocked.grant);
    insta::assert_snapshot!(tell::request(&observed.step(13)), @r"
    Failed
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=False NotGiven: The name is taken: RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 exists and was not created for this grant.
    event Warning NotGiven: The name is taken: RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 exists and was not created for this grant.
    ");
}

#[test]
fn a_name_that_another_request_took_is_a_failure() {
    let mut other = written();
    other.spec.request.uid = "uid-2".into();
    insta::assert_snapshot!(tell::request(&with(other).step(13)), @r"
    Failed
    Granted=False NotGiven: The name is taken: Grant shop-fix-checkout-4a49acf8a6 belongs to another request.
    event Warning NotGiven: The name is taken: Grant shop-fix-checkout-4a49acf8a6 belongs to another request.
    ");
}

#[test]
fn a_recorded_grant_that_is_gone_ends_the_request_for_good() {
    let mut observed = held();
    observed.grant = Read::Missing;
    insta::assert_snapshot!(tell::request(&observed.step(100)), @r"
    Ended
    because GrantDeleted
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Access can be granted.
    Granted=False GrantDeleted: Grant shop-fix-checkout-4a49acf8a6 was deleted.
    Ended=True GrantDeleted: Grant shop-fix-checkout-4a49acf8a6 was deleted.
    event Normal GrantDeleted: Grant shop-fix-checkout-4a49acf8a6 was deleted.
    ");
    assert_eq!(decide(&observed, time(101)).create, None);

    // One of the same name with another UID is not the one that the request had.
    let mut again = written();
    again.metadata.uid = Some("grant-2".into());
    let mut observed = held();
    observed.grant = Read::Found(again);
    let status = observed.step(100).status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::GrantDeleted));
}

#[test]
fn a_grant_that_cannot_be_read_changes_nothing() {
    let mut observed = held();
    observed.grant = Read::Failed("timeout".into());
    let plan = observed.step(100);
    assert_eq!((plan.create, plan.status), (None, None));
    assert_eq!(plan.wake_at, Some(time(105)));
}

/// Nothing else is needed to follow a grant: not the policy, not the role, not even the attestation.
#[rstest]
#[case::policies(|o: &mut Observed| o.policies = Read::Failed("timeout".into()))]
#[case::decisions(|o: &mut Observed| o.decisions = Read::Failed("timeout".into()))]
#[case::role(|o: &mut Observed| o.role = Read::Failed("timeout".into()))]
#[case::deleted(|o: &mut Observed| o.policies = Read::Found(Policies::default()))]
fn what_cannot_be_looked_up_keeps_no_request_from_following(#[case] change: fn(&mut Observed)) {
    let mut observed = with(active().grant);
    change(&mut observed);
    assert_eq!(observed.step(13).status.unwrap().phase, RequestPhase::Active);
}
