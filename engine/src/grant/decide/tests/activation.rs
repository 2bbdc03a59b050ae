//! From a written Grant to a right that is held, or to none.

use lapse_crds::{EndReason, GrantPhase, PolicyMode, RbacKind, RequestPhase, RoleRule, Verdict};
use rstest::rstest;

use crate::Read;
use crate::grant::{Action, LiveContent, LiveObject, ObjectSpec, Observed, Obstacle, decide};
use crate::policy::Policies;
use crate::rules::testing::rule;
use crate::testing::life::{
    EXPIRES_AT, active_in, bob, decision, intact, of_unknown_key, pending, pending_in, role, state,
    time, with_panicked,
};
use crate::testing::{policy, tell};

#[test]
fn missing_bindings_are_made_and_then_the_right_is_held() {
    let mut observed = pending_in(&["shop", "shop-staging"]);
    insta::assert_snapshot!(tell::grant(&observed.step(12)), @r"
    create RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6
    create RoleBinding shop-staging/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Pending: It is being created.
    looks again at 3610 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(13)), @r"
    Active
    Active=True Given: Held until 2026-11-18T12:06:50.000000Z.
    looks again at 3010 s
    ");
    let status = observed.status();
    let recorded: Vec<_> = status.bindings.iter().map(|binding| &*binding.uid).collect();
    assert_eq!(recorded, ["binding-0", "binding-1"]);
    assert_eq!(status.activated_at.unwrap().time(), time(13));
    insta::assert_snapshot!(tell::grant(&observed.step(14)), @r"
    (nothing new)
    looks again at 3010 s
    ");
}

#[test]
fn what_an_earlier_try_made_is_recorded_and_only_the_rest_is_made() {
    let mut observed = pending_in(&["shop", "shop-staging"]);
    let there = intact(&observed.objects[0].0, "earlier");
    observed.objects[0].1 = Read::Found(there);
    insta::assert_snapshot!(tell::grant(&observed.step(12)), @r"
    create RoleBinding shop-staging/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Pending: It is being created.
    looks again at 3610 s
    ");
    observed.step(13);
    assert_eq!(observed.status().bindings[0].uid, "earlier");
    assert_eq!(observed.status().phase, GrantPhase::Active);
}

/// Each case is a binding under the name that the grant needs and that it did not make.
#[rstest]
#[case::another_role(|live: &mut crate::grant::LiveObject| live.role().1 = "admin".into(), true)]
#[case::another_kind_of_role(|live: &mut crate::grant::LiveObject| live.role().0 = "Role".into(), true)]
#[case::another_subject(|live: &mut crate::grant::LiveObject| live.subjects()[0].2 = "mallory".into(), true)]
#[case::a_second_subject(|live: &mut crate::grant::LiveObject| live.subjects().push(("User".into(), None, "mallory".into())), true)]
#[case::no_subject(|live: &mut crate::grant::LiveObject| live.subjects().clear(), true)]
#[case::a_group(|live: &mut crate::grant::LiveObject| live.subjects()[0].0 = "Group".into(), true)]
#[case::no_grant(|live: &mut crate::grant::LiveObject| live.grant_uid = None, false)]
#[case::another_grant(|live: &mut crate::grant::LiveObject| live.grant_uid = Some("grant-2".into()), false)]
fn a_name_that_is_taken_gives_nothing_and_nothing_is_adopted(
    #[case] change: fn(&mut crate::grant::LiveObject),
    #[case] says_ours: bool,
) {
    let mut observed = pending_in(&["shop", "shop-staging"]);
    let mut theirs = intact(&observed.objects[1].0, "theirs");
    change(&mut theirs);
    observed.objects[1].1 = Read::Found(theirs);
    observed.objects[0].1 = Read::Found(intact(&observed.objects[0].0, "ours"));
    let plan = observed.step(12);
    let deleted: Vec<&str> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Delete { uid, .. } => &**uid,
            other => panic!("{other:?}"),
        })
        .collect();
    // One that says it was made for this grant is taken back; somebody else's never is.
    let expected: &[&str] = if says_ours { &["ours", "theirs"] } else { &["ours"] };
    assert_eq!(deleted, expected);
    let status = plan.status.unwrap();
    assert_eq!((status.phase, status.end_reason), (GrantPhase::Ending, None));

    let status = observed.step(13).status.unwrap();
    assert_eq!((status.phase, status.end_reason), (GrantPhase::Ended, None));
    assert_eq!(observed.objects[1].1.found().is_some(), !says_ours);
}

#[test]
fn why_a_right_is_not_given_is_told() {
    let mut taken = pending();
    let mut theirs = intact(&taken.objects[0].0, "theirs");
    theirs.grant_uid = None;
    taken.objects[0].1 = Read::Found(theirs);
    insta::assert_snapshot!(tell::grant(&taken.step(12)), @r"
    Ended
    Active=False NotGiven: The name is taken: RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 exists and was not created for this grant.
    Ended=True Verified: The name is taken: RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 exists and was not created for this grant.
    ");

    let mut changed = pending();
    changed.role = Read::Found(role("get list"));
    insta::assert_snapshot!(tell::grant(&changed.step(12)), @r"
    Ended
    because RoleWidened
    Active=False RoleWidened: The role has gained list pods since the approval.
    Ended=True Verified: The role has gained list pods since the approval.
    ");

    let mut gone = pending();
    gone.role = Read::Missing;
    insta::assert_snapshot!(tell::grant(&gone.step(12)), @r"
    Ended
    Active=False NotGiven: The role no longer exists.
    Ended=True Verified: The role no longer exists.
    ");

    let mut refused = pending();
    refused.obstacle = Some(Obstacle {
        message: "creating RoleBinding shop/x: the role cannot be bound (403)".into(),
        lasting: true,
    });
    insta::assert_snapshot!(tell::grant(&refused.step(12)), @r"
    Ended
    Active=False NotGiven: creating RoleBinding shop/x: the role cannot be bound (403)
    Ended=True Verified: creating RoleBinding shop/x: the role cannot be bound (403)
    ");
}

/// A lasting obstacle is known to the process that met it alone. When half of the bindings stood,
/// taking them back must not lead to making them again.
#[test]
fn a_right_that_cannot_be_given_whole_is_not_tried_in_circles() {
    let mut observed = pending_in(&["shop", "shop-staging"]);
    observed.objects[0].1 = Read::Found(intact(&observed.objects[0].0, "half"));
    observed.obstacle = Some(Obstacle { message: "403".into(), lasting: true });
    let plan = observed.step(12);
    assert!(plan.report_always, "{plan:?}");
    observed.obstacle = None;
    insta::assert_snapshot!(tell::grant(&observed.step(13)), @r"
    Ended
    Active=False NotGiven: 403
    Ended=True Verified: 403
    ");
}

#[test]
fn an_obstacle_that_may_pass_is_told_and_it_is_tried_again() {
    let mut observed = pending();
    observed.obstacle =
        Some(Obstacle { message: "creating RoleBinding: 503".into(), lasting: false });
    let plan = decide(&observed, time(12));
    insta::assert_snapshot!(tell::grant(&plan), @r"
    create RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Refused: creating RoleBinding: 503
    looks again at 3610 s
    ");
    observed.report(&plan);
    let again = decide(&observed, time(13));
    assert_eq!((again.status, again.actions), (None, plan.actions));
}

/// Each case hides a reason not to give: it waits, looks again soon, and says why.
#[rstest]
#[case::request(|o: &mut Observed| o.request = Read::Failed("timeout".into()))]
#[case::decisions(|o: &mut Observed| o.decisions = Read::Failed("timeout".into()))]
#[case::policy(|o: &mut Observed| o.policies = Read::Failed("timeout".into()))]
#[case::role(|o: &mut Observed| o.role = Read::Failed("timeout".into()))]
#[case::binding(|o: &mut Observed| o.objects[1].1 = Read::Failed("timeout".into()))]
fn a_look_up_that_failed_gives_nothing(#[case] change: fn(&mut Observed)) {
    let mut observed = pending_in(&["shop", "shop-staging"]);
    change(&mut observed);
    let plan = observed.step(12);
    assert_eq!(plan.actions, []);
    assert_eq!(plan.wake_at, Some(time(17)));
    let status = plan.status.unwrap();
    assert_eq!(status.phase, GrantPhase::Pending);
    assert_eq!(status.conditions[0].message, "It waits for a look-up to succeed: timeout");
    assert_eq!(observed.step(17).status, None, "it is said once");
    // Just before the end nothing is put off beyond it.
    assert_eq!(observed.step(EXPIRES_AT - 1).wake_at, Some(time(EXPIRES_AT)));
}

#[test]
fn a_decision_that_cannot_be_verified_yet_gives_nothing() {
    let mut observed = pending();
    observed.says(of_unknown_key(decision(Verdict::Deny, bob(), 11), 11));
    let plan = observed.step(12);
    assert_eq!((plan.actions, plan.wake_at), (vec![], Some(time(17))));
    assert_ne!(observed.step(11 + 601).actions, [], "a made-up key blocks nothing for ever");
}

#[test]
fn a_policy_that_cannot_be_compiled_gives_nothing_more() {
    let mut observed = pending();
    let mut broken = policy("shop-debug");
    broken.spec.duration.as_mut().unwrap().max = "48h".parse().ok();
    observed.policies = Read::Found([state(&broken)].into());
    insta::assert_snapshot!(tell::grant(&observed.step(12)), @r"
    Pending
    Active=False Pending: It waits for JitPolicy shop-debug to be fixed: spec.duration.max is 48h, but the installation allows 5m..24h; change it, or the chart's value duration
    looks again at 3610 s
    ");

    // What stood before it broke is held, and is said to be.
    observed.bind();
    assert_eq!(observed.step(13).status.unwrap().phase, GrantPhase::Active);
}

/// Each case ends a grant that has given nothing yet: nothing is made.
#[rstest]
#[case::denied(|o: &mut Observed| o.says(decision(Verdict::Deny, bob(), 11)), Some(EndReason::Revoked))]
#[case::policy_disabled(|o: &mut Observed| {
    let mut disabled = policy("shop-debug");
    disabled.spec.mode = PolicyMode::Disabled;
    o.policies = Read::Found([state(&disabled)].into());
}, Some(EndReason::PolicyDisabled))]
#[case::policy_deleted(|o: &mut Observed| o.policies = Read::Found(Policies::default()), Some(EndReason::PolicyDeleted))]
#[case::request_deleted(|o: &mut Observed| o.request = Read::Missing, Some(EndReason::RequestDeleted))]
#[case::request_over(Observed::request_is_over, Some(EndReason::Revoked))]
#[case::request_denied_in_a_race(|o: &mut Observed| {
    o.request_is_over();
    let Read::Found(request) = &mut o.request else { unreachable!() };
    request.status.as_mut().unwrap().phase = RequestPhase::Denied;
}, Some(EndReason::Revoked))]
#[case::had_its_right(|o: &mut Observed| {
    let Read::Found(request) = &mut o.request else { unreachable!() };
    request.status.get_or_insert_default().grant = Some(lapse_crds::GrantRef {
        name: "earlier".into(),
        uid: "grant-0".into(),
    });
}, Some(EndReason::GrantDeleted))]
fn a_grant_that_ends_before_it_is_given(
    #[case] change: fn(&mut Observed),
    #[case] reason: Option<EndReason>,
) {
    let mut observed = pending();
    change(&mut observed);
    let plan = observed.step(12);
    assert_eq!(plan.actions, []);
    let status = plan.status.unwrap();
    assert_eq!((status.phase, status.end_reason), (GrantPhase::Ended, reason));
}

#[test]
fn nothing_is_given_when_its_time_is_up() {
    let mut observed = pending();
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    ");
}

#[test]
fn a_right_that_is_held_needs_nothing() {
    let observed = active_in(&["shop", "shop-staging"]);
    let first_warning = EXPIRES_AT - 600;
    for (now, wakes) in [(13, first_warning), (1000, first_warning), (EXPIRES_AT - 1, EXPIRES_AT)] {
        let plan = decide(&observed, time(now));
        assert_eq!((plan.actions, plan.status), (vec![], None));
        assert_eq!(plan.wake_at, Some(time(wakes)));
    }
}

/// The grant of a request that spells out its rules.
fn spelled_out() -> Observed {
    let mut observed = pending();
    let target = observed.grant.spec.target.kubernetes.as_mut().unwrap();
    target.role = None;
    target.rules = vec![rule("get", "", "pods", "").into()];
    let objects = ObjectSpec::all_of(&observed.grant, "lapse-system").into_iter();
    observed.objects = objects.map(|object| (object, Read::Missing)).collect();
    observed.policies = offered();
    observed
}

fn offered() -> Read<Policies> {
    let mut policy = policy("shop-debug");
    policy.spec.targets[0].kubernetes.as_mut().unwrap().rules =
        vec![rule("get list", "", "pods", "").into()];
    Read::Found([state(&policy)].into())
}

#[test]
fn a_role_of_the_rules_is_made_before_its_binding_and_goes_after_it() {
    let mut observed = spelled_out();
    insta::assert_snapshot!(tell::grant(&observed.step(12)), @r"
    create Role shop/lapse:shop-fix-checkout-4a49acf8a6
    create RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6
    Pending
    Active=False Pending: It is being created.
    looks again at 3610 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(13)), @r"
    Active
    Active=True Given: Held until 2026-11-18T12:06:50.000000Z.
    looks again at 3010 s
    ");
    assert_eq!(observed.status().roles[0].kind, RbacKind::Role);
    assert_eq!(observed.status().bindings.len(), 1);
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    delete RoleBinding shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-1)
    delete Role shop/lapse:shop-fix-checkout-4a49acf8a6 (binding-0)
    Ending
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: It expired at 2026-11-18T12:06:50.000000Z.
    looks again at 3611 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 1)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    ");
}

#[rstest]
#[case::other_rules(|rules: &mut Vec<RoleRule>, _: &mut bool| rules[0].verbs = vec!["*".into()])]
#[case::more_rules(|rules: &mut Vec<RoleRule>, _: &mut bool| rules.push(rule("get", "", "secrets", "").into()))]
#[case::rules_of_others(|_: &mut Vec<RoleRule>, aggregates: &mut bool| *aggregates = true)]
fn a_role_that_was_changed_ends_the_right(#[case] change: fn(&mut Vec<RoleRule>, &mut bool)) {
    let mut observed = spelled_out();
    observed.step(12);
    observed.step(13);
    assert_eq!(observed.status().phase, GrantPhase::Active);
    let Read::Found(LiveObject { content: LiveContent::Role { rules, aggregates }, .. }) =
        &mut observed.objects[0].1
    else {
        panic!("the role comes first");
    };
    change(rules, aggregates);
    observed.step(14);
    assert_eq!(observed.status().end_reason, Some(EndReason::BindingChanged));
    observed.step(15);
    assert!(observed.objects.iter().all(|(_, live)| live.is_missing()), "both are gone");
}

/// What it forbids is not known, so nothing is given; and nothing that is held ends by that, but by all that is known.
#[test]
fn a_policy_over_which_the_program_panicked_may_forbid_everything() {
    let mut waiting = pending_in(&["shop"]);
    waiting.policies = with_panicked(None);
    let plan = decide(&waiting, time(12));
    assert_eq!(plan.actions, []);
    let message = plan.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("JitPolicy odd"), "{message}");
    let mut held = active_in(&["shop"]);
    held.policies = with_panicked(None);
    assert_eq!(decide(&held, time(20)).actions, []);
    let Read::Found(policies) = &mut held.policies else { unreachable!() };
    let mut off = policy("shop-debug");
    off.spec.mode = PolicyMode::Disabled;
    policies.insert(state(&off));
    let plan = held.step(20);
    assert!(!plan.actions.is_empty());
}

/// The first text stands, and another cause is told.
#[test]
fn a_text_from_outside_that_varies_is_no_reason_to_write() {
    let mut observed = pending_in(&["shop"]);
    let refused = |text: &str| Some(Obstacle { message: text.to_owned(), lasting: false });
    observed.obstacle = refused("creating RoleBinding: from port 1");
    let said = decide(&observed, time(12)).status.unwrap();
    assert_eq!(said.conditions[0].reason, "Refused");
    observed.grant.status = Some(said);
    observed.obstacle = refused("creating RoleBinding: from port 2");
    assert_eq!(decide(&observed, time(13)).status, None);
    for port in [3, 4] {
        observed.role = Read::Failed(format!("reading ClusterRole edit: from port {port}"));
        let plan = decide(&observed, time(14));
        if port == 3 {
            let said = plan.status.unwrap();
            assert_eq!(said.conditions[0].reason, "LookupFailed");
            assert!(said.conditions[0].message.ends_with("port 3"), "{said:?}");
            observed.grant.status = Some(said);
        } else {
            assert_eq!(plan.status, None);
        }
    }
}
