//! A grant that is over: nothing comes back, and it leaves when its request knows.

use lapse_crds::{GrantPhase, Verdict};
use rstest::rstest;

use crate::Read;
use crate::grant::{Action, Observed, decide};
use crate::testing::life::{EXPIRES_AT, active, bob, decision, deleted_at, intact, time};
use crate::testing::tell;

/// The right was held and is gone; the grant stands as a record.
fn ended() -> Observed {
    let mut observed = active();
    observed.says(decision(Verdict::Deny, bob(), 50));
    observed.step(51);
    observed.step(52);
    assert_eq!(observed.status().phase, GrantPhase::Ended);
    observed
}

#[test]
fn it_stays_as_a_record_and_does_nothing() {
    let plan = decide(&ended(), time(100));
    assert_eq!((plan.actions, plan.status, plan.wake_at), (vec![], None, None));
}

/// A binding that comes back, from a backup, say, is removed, whether it has its old UID or another;
/// one that was not made for this grant is not.
#[test]
fn bindings_that_come_back_are_deleted() {
    let mut observed = ended();
    for uid in ["binding-0", "restored"] {
        observed.objects[0].1 = Read::Found(intact(&observed.objects[0].0, uid));
        let plan = observed.step(100);
        assert!(
            matches!(&plan.actions[..], [Action::Delete { uid: deleted, .. }] if deleted == uid)
        );
        assert_eq!(plan.status, None);
    }
    let mut theirs = intact(&observed.objects[0].0, "theirs");
    theirs.grant_uid = None;
    observed.objects[0].1 = Read::Found(theirs);
    assert_eq!(decide(&observed, time(100)).actions, []);
}

/// The finalizer holds a deleted grant until its request has recorded the end: a request that lost
/// its grant unseen would be granted again.
#[rstest]
#[case::request_is_over(Observed::request_is_over, true, None)]
#[case::request_is_gone(|o: &mut Observed| o.request = Read::Missing, true, None)]
#[case::request_was_made_again(|o: &mut Observed| {
    let Read::Found(request) = &mut o.request else { unreachable!() };
    request.metadata.uid = Some("uid-2".into());
}, true, None)]
#[case::request_does_not_know_yet(|_: &mut Observed| {}, false, None)]
#[case::request_cannot_be_read(|o: &mut Observed| o.request = Read::Failed("timeout".into()), false, Some(105))]
#[case::a_binding_came_back(|o: &mut Observed| {
    o.request_is_over();
    o.bind();
}, false, None)]
fn a_deleted_grant_leaves_when(
    #[case] change: fn(&mut Observed),
    #[case] leaves: bool,
    #[case] wake_at: Option<i64>,
) {
    let mut observed = ended();
    observed.grant.metadata.deletion_timestamp = Some(deleted_at());
    change(&mut observed);
    let plan = decide(&observed, time(100));
    assert_eq!(plan.actions.contains(&Action::RemoveFinalizer), leaves);
    assert_eq!(plan.wake_at, wake_at.map(time));
}

#[test]
fn a_grant_that_was_not_deleted_keeps_its_finalizer() {
    let mut observed = ended();
    observed.request_is_over();
    assert_eq!(decide(&observed, time(100)).actions, []);
    observed.grant.metadata.deletion_timestamp = Some(deleted_at());
    observed.step(101);
    // Others' finalizers may keep it for a while: there is nothing more to do.
    assert_eq!(decide(&observed, time(102)).actions, []);
}

/// From the deletion of a live grant to the moment when it is let go.
#[test]
fn a_deleted_grant_takes_its_right_along() {
    let mut observed = active();
    observed.grant.metadata.deletion_timestamp = Some(deleted_at());
    insta::assert_snapshot!(tell::grant(&observed.step(100)), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-0)
    Ending
    because GrantDeleted
    Active=False GrantDeleted: The grant was deleted.
    Ended=False Unverified: The grant was deleted.
    looks again at 101 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(101)), @r"
    Ended
    because GrantDeleted
    Active=False GrantDeleted: The grant was deleted.
    Ended=True Verified: The grant was deleted.
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(102)), @"(nothing new)");
    observed.request_is_over();
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    let the grant go
    (nothing new)
    ");
}
