//! Every reason for which a right ends, which one counts, and when it is verified to be gone.

use lapse_crds::{EndReason, GrantPhase, JitPolicy, OnRoleWidened, PolicyMode, Verdict};
use rstest::rstest;

use crate::Read;
use crate::grant::{Action, Observed, decide};
use crate::policy::Policies;
use crate::target::Namespace;
use crate::testing::life::{
    EXPIRES_AT, active, active_in, bob, decision, deleted_at, intact, of_unknown_key, role, state,
    time, unattested,
};
use crate::testing::{group, person, policy, tell, user};

const NOW: i64 = 100;

fn changed(change: impl FnOnce(&mut JitPolicy)) -> Read<Policies> {
    let mut policy = policy("shop-debug");
    policy.metadata.generation = Some(2);
    change(&mut policy);
    Read::Found([state(&policy)].into())
}

fn unbind(observed: &mut Observed, index: usize) {
    observed.objects[index].1 = Read::Missing;
}

fn tamper(observed: &mut Observed) {
    let mut live = intact(&observed.objects[0].0, "binding-0");
    live.subjects()[0].2 = "mallory".into();
    observed.objects[0].1 = Read::Found(live);
}

fn expire(observed: &mut Observed) {
    observed.grant.spec.expires_at = time(NOW).into();
}

fn deny(observed: &mut Observed) {
    observed.says(decision(Verdict::Deny, bob(), 50));
}

fn end(observed: &mut Observed) {
    observed.says(decision(Verdict::End, person("alice", &[]), 50));
}

type Change = fn(&mut Observed);

/// The reasons, the first that applies before the others. Both tests below use this order.
const REASONS: [(Change, EndReason); 12] = [
    (|o| o.grant.metadata.deletion_timestamp = Some(deleted_at()), EndReason::GrantDeleted),
    (expire, EndReason::Expired),
    (deny, EndReason::Revoked),
    (end, EndReason::EndedByRequester),
    (
        |o| {
            let going = Namespace { is_going: true, ..Namespace::default() };
            o.surroundings.namespaces.insert("shop".into(), Read::Found(going));
        },
        EndReason::TargetDeleted,
    ),
    (|o| o.policies = changed(|p| p.spec.mode = PolicyMode::Disabled), EndReason::PolicyDisabled),
    (
        |o| o.policies = changed(|p| p.spec.requesters = vec![user("carol")]),
        EndReason::RequesterNotAllowed,
    ),
    (|o| o.policies = changed(|p| p.spec.targets.clear()), EndReason::RequesterNotAllowed),
    (|o| o.role = Read::Missing, EndReason::TargetDeleted),
    (
        |o| {
            o.surroundings.namespaces.insert("shop".into(), Read::Missing);
            unbind(o, 0);
        },
        EndReason::TargetDeleted,
    ),
    (|o| unbind(o, 0), EndReason::BindingDeleted),
    (tamper, EndReason::BindingChanged),
];

#[rstest]
fn a_right_ends(#[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)] which: usize) {
    let (change, reason) = REASONS[which];
    let mut observed = active();
    change(&mut observed);
    ends_with(&mut observed, reason);
}

/// Whoever takes the bindings of a right whose time is up may have a clock that is a little ahead.
#[rstest]
#[case::a_second_before(1, None)]
#[case::earlier(2, Some(EndReason::BindingDeleted))]
fn what_goes_in_the_last_second_has_ended_by_its_time(
    #[case] seconds: i64,
    #[case] reason: Option<EndReason>,
) {
    let mut observed = active();
    observed.grant.spec.expires_at = time(NOW + seconds).into();
    unbind(&mut observed, 0);
    let plan = decide(&observed, time(NOW));
    assert_eq!(plan.status.and_then(|status| status.end_reason), reason);
    if reason.is_none() {
        assert_eq!(plan.wake_at, Some(time(NOW + seconds)));
    }
    let plan = decide(&observed, time(NOW + seconds));
    let at_its_time = plan.status.and_then(|status| status.end_reason);
    assert_eq!(at_its_time, Some(EndReason::Expired));
}

/// What was seen of all policies is in doubt. The one that gave the right is read as it is now.
#[rstest]
#[case::switched_off(|p: &mut JitPolicy| p.spec.mode = PolicyMode::Disabled, Some(EndReason::PolicyDisabled))]
#[case::made_anew(|p: &mut JitPolicy| p.metadata.uid = Some("new".into()), Some(EndReason::PolicyDeleted))]
#[case::for_others(|p: &mut JitPolicy| p.spec.requesters = vec![user("carol")], Some(EndReason::RequesterNotAllowed))]
#[case::as_it_was(|_: &mut JitPolicy| (), None)]
fn a_right_ends_by_its_own_policy_whatever_is_known_of_others(
    #[case] change: fn(&mut JitPolicy),
    #[case] reason: Option<EndReason>,
) {
    let mut observed = active();
    let mut own = policy("shop-debug");
    change(&mut own);
    observed.policies = Read::Failed("not all was seen".into());
    observed.own_policy = Read::Found(state(&own));
    let plan = decide(&observed, time(NOW));
    assert_eq!(plan.status.and_then(|status| status.end_reason), reason);
    observed.own_policy = Read::Missing;
    let plan = decide(&observed, time(NOW));
    let gone = plan.status.and_then(|status| status.end_reason);
    assert_eq!(gone, Some(EndReason::PolicyDeleted));
    observed.own_policy = Read::Failed("down".into());
    let reason = decide(&observed, time(NOW)).status.and_then(|status| status.end_reason);
    assert_eq!(reason, None);
}

/// Reasons that replace one another in the same place; the later ones of the table are hidden.
#[rstest]
#[case::request_deleted(|o: &mut Observed| o.request = Read::Missing, EndReason::RequestDeleted)]
#[case::request_made_again(|o: &mut Observed| {
    let Read::Found(request) = &mut o.request else { unreachable!() };
    request.metadata.uid = Some("uid-2".into());
}, EndReason::RequestDeleted)]
#[case::request_being_deleted(|o: &mut Observed| {
    let Read::Found(request) = &mut o.request else { unreachable!() };
    request.metadata.deletion_timestamp = Some(deleted_at());
}, EndReason::RequestDeleted)]
#[case::policy_deleted(|o: &mut Observed| o.policies = Read::Found(Policies::default()), EndReason::PolicyDeleted)]
#[case::role_widened(|o: &mut Observed| o.role = Read::Found(role("get list")), EndReason::RoleWidened)]
#[case::role_widened_under_a_broken_policy(|o: &mut Observed| {
    o.policies = changed(|p| p.spec.duration.as_mut().unwrap().max = "48h".parse().ok());
    o.role = Read::Found(role("get list"));
}, EndReason::RoleWidened)]
#[case::policy_made_again(|o: &mut Observed| o.policies = changed(|p| p.metadata.uid = Some("new".into())), EndReason::PolicyDeleted)]
#[case::binding_made_again(|o: &mut Observed| {
    let live = intact(&o.objects[0].0, "another");
    o.objects[0].1 = Read::Found(live);
}, EndReason::BindingChanged)]
#[case::annotation_removed(|o: &mut Observed| {
    let mut live = intact(&o.objects[0].0, "binding-0");
    live.grant_uid = None;
    o.objects[0].1 = Read::Found(live);
}, EndReason::BindingChanged)]
fn a_right_ends_too(#[case] change: fn(&mut Observed), #[case] reason: EndReason) {
    let mut observed = active();
    change(&mut observed);
    ends_with(&mut observed, reason);
}

fn ends_with(observed: &mut Observed, reason: EndReason) {
    for now in NOW..NOW + 5 {
        observed.step(now);
        if observed.status().phase == GrantPhase::Ended {
            break;
        }
    }
    let status = observed.status();
    assert_eq!(status.phase, GrantPhase::Ended);
    assert_eq!(status.end_reason, Some(reason));
    let stands = |(_, live): &(_, Read<_>)| live.found().is_some();
    assert!(!observed.objects.iter().any(stands), "a binding still stands");
}

/// Of two reasons the earlier in the table counts: what people and policies say, and above all the
/// time, before what became of the bindings.
#[test]
fn the_first_reason_counts() {
    for (first, (first_change, expected)) in REASONS.iter().enumerate() {
        for (second, (second_change, _)) in REASONS.iter().enumerate().skip(first + 1) {
            // These changes of the policy cannot be made at once, and the later ones of the binding
            // would undo one another.
            if ((4..=6).contains(&first) && (4..=6).contains(&second)) || first >= 8 {
                continue;
            }
            let mut observed = active();
            second_change(&mut observed);
            first_change(&mut observed);
            let status = decide(&observed, time(NOW)).status.unwrap();
            assert_eq!(status.end_reason, Some(*expected), "{first} before {second}");
        }
    }
}

#[rstest]
#[case::deny_that_is_not_attested(|o: &mut Observed| o.says(unattested(decision(Verdict::Deny, bob(), 50))))]
#[case::deny_of_another_request(|o: &mut Observed| {
    let mut other = decision(Verdict::Deny, bob(), 50);
    other.object.spec.request.uid = Some("uid-2".into());
    o.says(other);
})]
#[case::end_by_another(|o: &mut Observed| o.says(decision(Verdict::End, bob(), 50)))]
#[case::another_approval(|o: &mut Observed| o.says(decision(Verdict::Approve, bob(), 50)))]
#[case::lower_maximum(|o: &mut Observed| o.policies = changed(|p| p.spec.duration.as_mut().unwrap().max = "45m".parse().ok()))]
#[case::other_approvers(|o: &mut Observed| o.policies = changed(|p| p.spec.approval.as_mut().unwrap().stages[0].approvers = vec![group("directors")]))]
#[case::broken_policy(|o: &mut Observed| o.policies = changed(|p| p.spec.duration.as_mut().unwrap().max = "48h".parse().ok()))]
#[case::role_narrowed(|o: &mut Observed| o.role = Read::Found(role("")))]
#[case::role_widened_and_kept(|o: &mut Observed| {
    o.policies = changed(|p| p.spec.on_role_widened = Some(OnRoleWidened::Keep));
    o.role = Read::Found(role("get list"));
})]
#[case::an_obstacle_of_the_past(|o: &mut Observed| o.obstacle = Some(crate::grant::Obstacle { message: "503".into(), lasting: true }))]
fn a_right_stays(#[case] change: fn(&mut Observed)) {
    let mut observed = active();
    change(&mut observed);
    let plan = decide(&observed, time(NOW));
    assert_eq!((plan.actions, plan.status), (vec![], None));
    assert_eq!(plan.wake_at, Some(time(EXPIRES_AT - 600)), "the first warning");
}

/// A look-up that failed revokes nothing, but what it hides is looked for again soon.
#[rstest]
#[case::request(|o: &mut Observed| o.request = Read::Failed("timeout".into()))]
#[case::decisions(|o: &mut Observed| o.decisions = Read::Failed("timeout".into()))]
#[case::policy(|o: &mut Observed| o.policies = Read::Failed("timeout".into()))]
#[case::role(|o: &mut Observed| o.role = Read::Failed("timeout".into()))]
#[case::binding(|o: &mut Observed| o.objects[0].1 = Read::Failed("timeout".into()))]
fn a_look_up_that_failed_ends_nothing(#[case] change: fn(&mut Observed)) {
    let mut observed = active();
    change(&mut observed);
    let plan = decide(&observed, time(NOW));
    assert_eq!((plan.actions, plan.status), (vec![], None));
    assert_eq!(plan.wake_at, Some(time(NOW + 1)), "an end is no later than that");
    assert!(observed.is_unsure(GrantPhase::Active, time(NOW)));
    let late = decide(&observed, time(EXPIRES_AT - 1));
    assert_eq!(late.wake_at, Some(time(EXPIRES_AT)));
    // The end follows from the grant alone.
    let end = decide(&observed, time(EXPIRES_AT)).status.unwrap();
    assert_eq!(end.end_reason, Some(EndReason::Expired));
}

/// A Deny whose key is not known yet ends nothing, and is looked for again soon; once it is known it ends the right.
#[test]
fn a_deny_that_cannot_be_verified_yet_is_not_lost() {
    let mut observed = active();
    let said = decision(Verdict::Deny, bob(), 50);
    observed.says(of_unknown_key(said.clone(), 50));
    let plan = decide(&observed, time(NOW));
    assert_eq!((plan.actions, plan.status, plan.wake_at), (vec![], None, Some(time(NOW + 1))));
    // A made-up key causes no more looks in the end.
    assert!(decide(&observed, time(50 + 601)).wake_at > Some(time(50 + 601 + 1)));
    observed.decisions = Read::Found(vec![said]);
    let plan = decide(&observed, time(NOW + 5));
    assert_eq!(plan.status.unwrap().end_reason, Some(EndReason::Revoked));
    assert!(!plan.actions.is_empty());
}

#[test]
fn an_end_is_told_from_the_first_step_to_the_last() {
    let mut observed = active_in(&["shop", "shop-staging"]);
    observed.objects[1].1 = Read::Failed("timeout".into());
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-0)
    Ending
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: It expired at 2026-11-18T12:06:50.000000Z.
    looks again at 3611 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 1)), @r"
    Ending
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: It expired at 2026-11-18T12:06:50.000000Z.
    looks again at 3612 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 2)), @r"
    (nothing new)
    looks again at 3613 s
    ");
    observed.objects[1].1 = Read::Found(intact(&observed.objects[1].0, "binding-1"));
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 3)), @r"
    delete RoleBinding shop-staging/lapse:shop-fix-checkout-4a49acf8a6 (binding-1)
    (nothing new)
    looks again at 3614 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 4)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 5)), @"(nothing new)");
}

/// A deletion that fails leaves the status reported, and is tried again with the first cause kept.
#[test]
fn a_deletion_that_failed_is_tried_again() {
    let mut observed = active();
    deny(&mut observed);
    let plan = decide(&observed, time(NOW));
    observed.report(&plan);
    expire(&mut observed);
    insta::assert_snapshot!(tell::grant(&decide(&observed, time(NOW + 1))), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-0)
    (nothing new)
    looks again at 102 s
    ");
}

/// What is concluded from the bindings is written down with the first step: the deletions make the
/// other bindings look as if somebody had removed them by hand.
#[test]
fn the_reason_outlives_the_deletion_of_what_it_was_seen_in() {
    let mut tampered = active_in(&["shop", "shop-staging"]);
    tamper(&mut tampered);
    ends_with(&mut tampered, EndReason::BindingChanged);

    let mut gone = active_in(&["shop", "shop-staging"]);
    gone.surroundings.namespaces.insert("shop-staging".into(), Read::Missing);
    unbind(&mut gone, 1);
    ends_with(&mut gone, EndReason::TargetDeleted);
    insta::assert_snapshot!(gone.status().conditions[0].message, @"Namespace shop-staging was deleted.");

    let mut removed = active_in(&["shop", "shop-staging"]);
    unbind(&mut removed, 1);
    ends_with(&mut removed, EndReason::BindingDeleted);
    insta::assert_snapshot!(removed.status().conditions[0].message, @"RoleBinding shop-staging/lapse:shop-fix-checkout-4a49acf8a6 was deleted.");
}

/// A process that has just started sees that the bindings are gone before it has listed the word by which another took them.
#[test]
fn why_a_right_went_of_which_nothing_stands_waits_for_what_people_said() {
    let mut observed = active_in(&["shop", "shop-staging"]);
    unbind(&mut observed, 0);
    observed.decisions = Read::Failed("not listed yet".into());
    ends_with(&mut observed, EndReason::BindingDeleted);

    let mut observed = active_in(&["shop", "shop-staging"]);
    unbind(&mut observed, 0);
    unbind(&mut observed, 1);
    let listed = std::mem::replace(&mut observed.decisions, Read::Failed("not listed yet".into()));
    let plan = decide(&observed, time(NOW));
    assert_eq!((plan.actions, plan.status), (vec![], None));
    assert_eq!(plan.wake_at, Some(time(NOW + 1)), "it looks again");
    observed.decisions = listed;
    end(&mut observed);
    ends_with(&mut observed, EndReason::EndedByRequester);
}

/// Somebody deleted the binding and made another of its name: it is theirs.
#[test]
fn a_binding_of_somebody_else_is_left_alone() {
    let mut observed = active();
    let mut theirs = intact(&observed.objects[0].0, "theirs");
    theirs.grant_uid = None;
    observed.objects[0].1 = Read::Found(theirs);
    let plan = decide(&observed, time(EXPIRES_AT));
    let delete = |action: &Action| matches!(action, Action::Delete { .. });
    assert!(!plan.actions.iter().any(delete), "{plan:?}");
    assert_eq!(plan.status.unwrap().phase, GrantPhase::Ended);
}
