//! An emergency is reviewed by somebody else, or stays as a debt.

use lapse_crds::{GrantPhase, ReviewOutcome, ReviewStatus, Verdict};
use rstest::rstest;

use crate::Read;
use crate::grant::{Action, Observed, decide};
use crate::lifetime::awaits_review;
use crate::policy::Policies;
use crate::testing::life::{
    EXPIRES_AT, REVIEW_BY, active, active_emergency, bob, carol, decision, deleted_at, pending,
    review, time, unattested,
};
use crate::testing::{person, tell};

use ReviewOutcome::{Justified, Unjustified};

/// The emergency is over, and nobody has reviewed it.
fn ended() -> Observed {
    let mut observed = active_emergency();
    observed.step(EXPIRES_AT);
    observed.step(EXPIRES_AT);
    assert_eq!(observed.status().phase, GrantPhase::Ended);
    observed
}

fn outcome(observed: &Observed) -> Option<(String, ReviewOutcome)> {
    let review = observed.status().review?;
    Some((review.reviewed_by?, review.outcome?))
}

#[test]
fn it_is_due_from_the_moment_that_the_right_is_held() {
    let mut observed = pending();
    observed.grant.spec.review_by = Some(time(REVIEW_BY).into());
    observed.bind();
    insta::assert_snapshot!(tell::grant(&observed.step(12)), @r"
    Active
    Active=True Given: Held until 2026-11-18T12:06:50.000000Z.
    Reviewed=False Pending: A reviewer of JitPolicy shop-debug must review it by 2026-11-18T12:23:30.000000Z.
    looks again at 3010 s
    ");
    let due_by = time(REVIEW_BY).into();
    let expected = ReviewStatus { due_by, reviewed_by: None, outcome: None };
    assert_eq!(observed.status().review, Some(expected));
    assert_eq!(observed.step(13).status, None, "steady state writes nothing");
    assert_eq!(active().status().review, None, "what was approved needs no review");
}

#[rstest]
#[case::while_it_is_held(active_emergency(), 100)]
#[case::when_it_is_over(ended(), EXPIRES_AT + 100)]
#[case::when_it_is_overdue(ended(), REVIEW_BY + 100)]
#[case::when_the_request_is_gone(Observed { request: Read::Missing, ..ended() }, EXPIRES_AT + 100)]
#[case::when_the_policy_is_gone(Observed { policies: Read::Found(Policies::default()), ..ended() }, EXPIRES_AT + 100)]
fn a_review_counts(#[case] mut observed: Observed, #[case] at: i64) {
    observed.says(review(Unjustified, carol(), at));
    observed.step(at);
    assert_eq!(outcome(&observed), Some(("carol".to_owned(), Unjustified)));
    assert_eq!(awaits_review(&observed.grant), None);
    // What was taken down stays, whoever says something else, and when the decision is gone.
    observed.says(review(Justified, bob(), at - 50));
    observed.step(at + 1);
    assert_eq!(outcome(&observed), Some(("carol".to_owned(), Unjustified)));
}

#[rstest]
#[case::by_the_holder(review(Justified, person("alice", &["security"]), 100))]
#[case::not_attested(unattested(review(Justified, carol(), 100)))]
#[case::of_another_request({
    let mut other = review(Justified, carol(), 100);
    other.object.spec.request.uid = Some("uid-2".into());
    other
})]
#[case::without_an_outcome(decision(Verdict::Review, carol(), 100))]
#[case::not_a_review(decision(Verdict::Approve, carol(), 100))]
fn what_is_no_review_counts_for_nothing(
    #[case] said: crate::attest::Attested<lapse_crds::AccessDecision>,
) {
    for mut observed in [active_emergency(), ended()] {
        let before = observed.status();
        observed.says(said.clone());
        observed.step(200);
        assert_eq!(observed.status(), before);
        assert!(awaits_review(&observed.grant).is_some());
    }
}

#[test]
fn one_that_is_overdue_is_told_once() {
    let mut observed = ended();
    let waiting = decide(&observed, time(EXPIRES_AT + 1));
    assert_eq!((waiting.status, waiting.wake_at), (None, Some(time(REVIEW_BY))));
    let plan = observed.step(REVIEW_BY);
    insta::assert_snapshot!(tell::grant(&plan), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    Reviewed=False Overdue: A reviewer of JitPolicy shop-debug should have reviewed it by 2026-11-18T12:23:30.000000Z. Until one does, alice gets no other emergency access.
    event grant-1.review-overdue Warning ReviewOverdue: This emergency of alice should have been reviewed by 2026-11-18T12:23:30.000000Z, and was not; a reviewer of JitPolicy shop-debug must review it.
    ");
    // The same event again: its name sees to it that it is told once, also by another replica.
    let again = observed.step(REVIEW_BY + 5);
    assert_eq!((again.status, &again.warning), (None, &plan.warning));
    let later = decide(&observed, time(REVIEW_BY + 3600));
    assert_eq!((later.status, later.warning, later.wake_at), (None, None, None));

    observed.says(review(Justified, carol(), REVIEW_BY + 4000));
    insta::assert_snapshot!(tell::grant(&observed.step(REVIEW_BY + 4001)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    Reviewed=True Justified: carol found it justified.
    ");
}

/// It may be due while the right is held.
#[test]
fn one_that_is_overdue_before_the_end_is_told_too() {
    let mut observed = active_emergency();
    observed.grant.spec.review_by = Some(time(60).into());
    observed.grant.status.as_mut().unwrap().review = None;
    assert_eq!(observed.step(20).wake_at, Some(time(60)));
    let warning = observed.step(60).warning.unwrap();
    assert_eq!(warning.notice.reason, "ReviewOverdue");
    assert_eq!(observed.status().phase, GrantPhase::Active);
}

#[test]
fn deleting_it_ends_the_right_and_pays_no_debt() {
    let mut observed = active_emergency();
    observed.grant.metadata.deletion_timestamp = Some(deleted_at());
    assert!(matches!(observed.step(50).actions[..], [Action::Delete { .. }]));
    insta::assert_snapshot!(tell::grant(&observed.step(51)), @r"
    Ended
    because GrantDeleted
    Active=False GrantDeleted: The grant was deleted.
    Ended=True Verified: The grant was deleted.
    Reviewed=False Pending: A reviewer of JitPolicy shop-debug must review it by 2026-11-18T12:23:30.000000Z. The Grant was deleted, and is removed when it is reviewed.
    looks again at 4610 s
    ");
    observed.request = Read::Missing;
    assert_eq!(observed.step(52).actions, []);
    observed.says(review(Justified, carol(), 100));
    assert_eq!(observed.step(101).actions, [], "first it is recorded");
    assert_eq!(observed.step(102).actions, [Action::RemoveFinalizer]);
}

/// The request records the review before the Grant goes.
#[test]
fn it_goes_when_its_request_knows_of_the_review() {
    let mut observed = ended();
    observed.grant.metadata.deletion_timestamp = Some(deleted_at());
    observed.says(review(Justified, carol(), EXPIRES_AT + 10));
    observed.step(EXPIRES_AT + 11);
    observed.request_is_over();
    let open = ReviewStatus { reviewed_by: None, ..observed.status().review.unwrap() };
    let request = |observed: &mut Observed, review| {
        let Read::Found(request) = &mut observed.request else { unreachable!() };
        request.status.as_mut().unwrap().review = Some(review);
    };
    request(&mut observed, open);
    assert_eq!(decide(&observed, time(EXPIRES_AT + 12)).actions, []);
    let known = observed.status().review.unwrap();
    request(&mut observed, known);
    assert_eq!(decide(&observed, time(EXPIRES_AT + 12)).actions, [Action::RemoveFinalizer]);
}

#[test]
fn what_could_not_be_given_needs_no_review() {
    let mut observed = pending();
    observed.grant.spec.review_by = Some(time(REVIEW_BY).into());
    observed.role = Read::Missing;
    observed.step(20);
    assert_eq!((observed.status().phase, observed.status().review), (GrantPhase::Ended, None));
    assert_eq!(awaits_review(&observed.grant), None);
    // What ended before it was seen to be held may have been held.
    let mut observed = pending();
    observed.grant.spec.review_by = Some(time(REVIEW_BY).into());
    observed.request = Read::Missing;
    observed.step(20);
    assert_eq!(observed.status().phase, GrantPhase::Ended);
    assert!(awaits_review(&observed.grant).is_some());
}

#[test]
fn decisions_that_cannot_be_read_are_read_again() {
    let mut observed = ended();
    observed.decisions = Read::Failed("timeout".into());
    let plan = decide(&observed, time(EXPIRES_AT + 1));
    assert_eq!((plan.status, plan.wake_at), (None, Some(time(EXPIRES_AT + 6))));
}
