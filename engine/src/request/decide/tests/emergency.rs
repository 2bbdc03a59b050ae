//! Break-glass: at once and without approval, and everything else as ever.

use chrono::TimeDelta;
use lapse_crds::{
    Condition, ConditionRule, Grant, GrantPhase, JitPolicy, PolicyEffect, PolicyMode, PolicyTarget,
    RequestPhase, ReviewOutcome, Schedule, TicketRule, Verdict, Window,
};
use rstest::rstest;

use crate::Read;
use crate::peers::Peers;
use crate::request::{Observed, Plan, decide};
use crate::role::RoleRules;
use crate::testing::life::{
    EXPIRES_AT, REVIEW_BY, active_emergency, asked, bob, carol, decision, review, state, time,
};
use crate::testing::{emergency, group, person, policy, tell};

/// Alice calls an emergency; her policy wants a manager otherwise.
fn called(change: impl FnOnce(&mut JitPolicy)) -> Observed {
    let mut observed = asked();
    observed.request.object.spec.emergency = true;
    observed.policy_becomes(|policy| {
        policy.metadata.generation = Some(1);
        policy.spec.emergency = Some(emergency());
        change(policy);
    });
    observed
}

/// Hours that the request does not lie in: it is made on a Wednesday at noon.
fn closed() -> Schedule {
    let days = vec![lapse_crds::Weekday::Sun];
    let window = Window { days, start: "08:00".into(), end: "09:00".into() };
    Schedule { time_zone: "UTC".into(), windows: vec![window] }
}

fn why_not(plan: &Plan) -> String {
    assert_eq!(plan.create, None);
    let status = plan.status.as_ref().unwrap();
    assert_eq!(status.phase, RequestPhase::Denied);
    let failed = status.checks.iter().filter(|c| c.outcome == lapse_crds::CheckOutcome::Fail);
    let told = failed.map(|check| format!("{:?}: {}", check.name, check.message));
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn it_is_given_at_once_and_at_any_hour() {
    let mut observed = called(|policy| policy.spec.schedule = Some(closed()));
    let plan = observed.step(5);
    insta::assert_snapshot!(tell::request(&plan), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Emergency: It is an emergency: it needs no approval, and somebody must review it.
    Granted=False Pending: The grant is being created.
    grants 0 s to 3600 s
    looks again at 3600 s
    ");
    let checks = &plan.status.as_ref().unwrap().checks;
    let told = |name| {
        let check = checks.iter().find(|check| check.name == name).unwrap();
        format!("{:?}: {}", check.outcome, check.message)
    };
    insta::assert_snapshot!(told(lapse_crds::CheckName::Duration), @"Pass: 1h is within 5m..1h in an emergency.");
    insta::assert_snapshot!(told(lapse_crds::CheckName::Schedule), @"NotApplicable: The policy's schedule does not apply to an emergency.");
    let spec = plan.create.unwrap().spec;
    assert!(spec.emergency);
    assert_eq!(spec.review_by.unwrap().time(), spec.starts_at.time() + TimeDelta::hours(24));
    assert_eq!(spec.expires_at.time(), spec.starts_at.time() + TimeDelta::hours(1));
    assert_eq!(plan.status.unwrap().approval, None, "nobody is asked");
}

#[test]
fn what_is_no_emergency_is_not_marked() {
    let mut observed = called(|policy| policy.spec.approval = None);
    observed.request.object.spec.emergency = false;
    let spec = observed.step(5).create.unwrap().spec;
    assert_eq!((spec.emergency, spec.review_by), (false, None));
}

#[rstest]
#[case::the_default_is_cut(None, "10m", Some("10m"))]
#[case::the_default_is_shorter(None, "1h", Some("30m"))]
#[case::as_long_as_it_may_be(Some("10m"), "10m", Some("10m"))]
#[case::longer(Some("10m1s"), "10m", None)]
#[case::shorter_than_the_policy_allows(Some("4m59s"), "10m", None)]
#[case::longer_than_an_approval_gives(Some("9h"), "9h", Some("9h"))]
fn it_has_a_bound_of_its_own(
    #[case] asked: Option<&str>,
    #[case] most: &str,
    #[case] expected: Option<&str>,
) {
    let mut observed = called(|policy| {
        policy.spec.emergency.as_mut().unwrap().max_duration = most.parse().unwrap();
    });
    observed.request.object.spec.duration = asked.map(|text| text.parse().unwrap());
    // Approvals set nothing here, however they came in.
    let mut longer = decision(Verdict::Approve, bob(), 1);
    longer.object.spec.duration = "8h".parse().ok();
    observed.says(longer);
    let given = observed.step(5).create.map(|grant| {
        let seconds = (grant.spec.expires_at.time() - grant.spec.starts_at.time()).num_seconds();
        lapse_crds::GrantDuration::from_seconds(seconds.try_into().unwrap()).unwrap()
    });
    assert_eq!(given, expected.map(|text| text.parse().unwrap()));
}

type Change = fn(&mut JitPolicy);

#[rstest]
#[case::no_break_glass(|p: &mut JitPolicy| p.spec.emergency = None, "Policy: JitPolicy shop-debug offers no emergency access; request without spec.emergency, or under a policy that does.")]
#[case::not_a_requester(|p: &mut JitPolicy| p.spec.requesters = vec![group("others")], "Requester:")]
#[case::not_a_target(|p: &mut JitPolicy| p.spec.targets.clear(), "Target:")]
#[case::reason(|p: &mut JitPolicy| p.spec.reason.as_mut().unwrap().min_length = Some(100), "Reason:")]
#[case::ticket(|p: &mut JitPolicy| p.spec.ticket = Some(TicketRule { required: true, pattern: None }), "Ticket:")]
#[case::condition(|p: &mut JitPolicy| p.spec.conditions = vec![ConditionRule {
    expression: "!request.emergency".into(), message: "No emergencies".into(),
}], "Conditions: No emergencies.")]
#[case::switched_off(|p: &mut JitPolicy| p.spec.mode = PolicyMode::Disabled, "Policy: Just-in-time requests are disabled.")]
fn it_passes_every_other_check(#[case] change: Change, #[case] expected: &str) {
    let why = why_not(&called(change).step(5));
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_role_that_climbs_stays_refused() {
    let mut observed = called(|_| {});
    let rule = serde_json::json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    observed.role = Read::Found(RoleRules::of_cluster_role(serde_json::from_value(rule).unwrap()));
    assert!(why_not(&observed.step(5)).starts_with("Risk:"));
}

#[test]
fn a_deny_policy_wins() {
    let mut observed = called(|_| {});
    let mut ban = policy("freeze");
    ban.spec.effect = PolicyEffect::Deny;
    ban.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
    let Read::Found(policies) = &mut observed.policies else { unreachable!() };
    policies.insert(state(&ban));
    assert!(why_not(&observed.step(5)).starts_with("Policy: JitPolicy freeze denies"));
}

#[test]
fn somebody_denies_it_before_it_is_given() {
    let mut observed = called(|_| {});
    observed.says(decision(Verdict::Deny, carol(), 1));
    let plan = observed.step(5);
    assert_eq!((plan.create, plan.status.unwrap().phase), (None, RequestPhase::Denied));
}

/// Of the policies that match, one that offers break-glass decides.
#[test]
fn without_a_name_a_policy_that_offers_it_decides() {
    let mut observed = called(|_| {});
    observed.request.object.spec.policy = None;
    let mut first = policy("a-first");
    first.spec.priority = 1;
    let Read::Found(policies) = &mut observed.policies else { unreachable!() };
    policies.insert(state(&first));
    let plan = observed.step(5);
    assert_eq!(plan.create.unwrap().spec.policy.name, "shop-debug");
    let candidates = plan.status.unwrap().candidates;
    assert_eq!(
        (&*candidates[0].policy, &*candidates[0].reason),
        ("a-first", "it offers no emergency access")
    );

    observed.policy_becomes(|policy| policy.spec.emergency = None);
    insta::assert_snapshot!(why_not(&decide(&observed, time(5))), @"Policy: No policy lets alice request ClusterRole edit in shop in an emergency; status.candidates says why for each. Request something that a policy offers, or ask the owners of the policies.");
}

#[test]
fn on_trial_it_says_what_would_have_happened() {
    let observed = called(|policy| policy.spec.mode = PolicyMode::Audit);
    let plan = decide(&observed, time(5));
    let status = plan.status.unwrap();
    assert!(plan.create.is_none());
    insta::assert_snapshot!(status.conditions[0].message, @"JitPolicy shop-debug is in audit mode: the request would have been granted for 1h without approval.");
}

/// Another emergency of alice, by another policy.
fn earlier(index: i64, due: i64) -> Grant {
    let mut grant = active_emergency().grant;
    if index > 0 {
        grant.spec.policy.name = format!("policy-{index}");
    }
    grant.spec.request.uid = format!("other-{index}");
    grant.spec.request.name = format!("other-{index}");
    grant.spec.review_by = Some(time(due).into());
    grant.status.as_mut().unwrap().phase = GrantPhase::Ended;
    grant.status.as_mut().unwrap().end_reason = Some(lapse_crds::EndReason::Expired);
    grant
}

fn owing(grants: &[Grant], most: u32) -> Observed {
    let mut observed = called(|policy| {
        policy.spec.emergency.as_mut().unwrap().max_unreviewed = Some(most);
    });
    observed.peers = Read::Found(Peers::of(&[], grants));
    observed
}

#[test]
fn debts_are_counted_over_all_policies() {
    assert!(owing(&[], 1).step(5).create.is_some());
    insta::assert_snapshot!(why_not(&owing(&[earlier(0, 60)], 1).step(5)), @"Limits: You have 1 emergency whose review is awaited, and JitPolicy shop-debug allows 1 at once: other-0 in shop, due 2026-11-18T11:07:40.000000Z, by group security. Ask for the review first, or request without spec.emergency.");
    assert!(owing(&[earlier(0, 60)], 2).step(5).create.is_some());
    let two = vec![earlier(1, 90), earlier(0, 60)];
    insta::assert_snapshot!(why_not(&owing(&two, 2).step(5)), @"Limits: You have 2 emergencies whose review is awaited, and JitPolicy shop-debug allows 2 at once: other-0 in shop, due 2026-11-18T11:07:40.000000Z, by group security; other-1 in shop, due 2026-11-18T11:08:10.000000Z, by somebody who holds the verb review on jitpolicies/policy-1. Ask for the review first, or request without spec.emergency.");
    let seven: Vec<_> = (0..7).map(|index| earlier(index, 60)).collect();
    assert!(why_not(&owing(&seven, 3).step(5)).contains("; and 2 more. "));
}

#[test]
fn one_that_is_overdue_blocks_whatever_the_policy_allows() {
    let grants = vec![earlier(0, 5), earlier(1, 60)];
    insta::assert_snapshot!(why_not(&owing(&grants, 9).step(5)), @"Limits: You have 1 emergency whose review is overdue: other-0 in shop, due 2026-11-18T11:06:45.000000Z, by group security. Ask for the review first, or request without spec.emergency.");
    let mut no_emergency = owing(&grants, 9);
    no_emergency.request.object.spec.emergency = false;
    let plan = no_emergency.step(5);
    assert_eq!(plan.status.unwrap().phase, RequestPhase::Pending, "who is asked may say yes");
}

#[rstest]
#[case::reviewed(|grant: &mut Grant| {
    let review = grant.status.as_mut().unwrap().review.as_mut().unwrap();
    review.reviewed_by = Some("carol".into());
})]
#[case::never_given(|grant: &mut Grant| grant.status.as_mut().unwrap().end_reason = None)]
#[case::approved(|grant: &mut Grant| grant.spec.review_by = None)]
#[case::of_somebody_else(|grant: &mut Grant| grant.spec.subject = crate::testing::user("bob"))]
fn what_is_owed_no_more_counts_no_more(#[case] change: fn(&mut Grant)) {
    let mut grant = earlier(0, 1);
    change(&mut grant);
    assert!(owing(&[grant], 1).step(5).create.is_some());
}

fn reviewed(request: &Observed) -> Option<&Condition> {
    let status = request.request.object.status.as_ref()?;
    status.conditions.iter().find(|condition| condition.r#type == "Reviewed")
}

#[test]
fn the_request_tells_of_the_review_to_the_end() {
    let mut grant = active_emergency();
    let mut observed = called(|_| {});
    observed.grant = Read::Found(grant.grant.clone());
    insta::assert_snapshot!(tell::request(&observed.step(13)), @r"
    Active
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Emergency: Access can be granted.
    Granted=True Given: Access is held until 2026-11-18T12:06:50.000000Z.
    Reviewed=False Pending: A reviewer of JitPolicy shop-debug must review it by 2026-11-18T12:23:30.000000Z.
    event Warning EmergencyGranted: alice has ClusterRole edit in shop until 2026-11-18T12:06:50.000000Z, in an emergency and without approval; it must be reviewed by 2026-11-18T12:23:30.000000Z.
    ");
    grant.step(EXPIRES_AT);
    grant.step(EXPIRES_AT);
    observed.grant = Read::Found(grant.grant.clone());
    assert_eq!(observed.step(EXPIRES_AT).status.unwrap().phase, RequestPhase::Ended);
    assert_eq!(observed.step(EXPIRES_AT + 1).status, None);

    grant.step(REVIEW_BY);
    observed.grant = Read::Found(grant.grant.clone());
    assert!(observed.step(REVIEW_BY).status.is_some());
    assert_eq!(reviewed(&observed).unwrap().reason, "Overdue");

    let mut said = review(ReviewOutcome::Unjustified, carol(), REVIEW_BY + 1);
    said.object.spec.comment = Some("There was an approver".into());
    grant.says(said);
    grant.step(REVIEW_BY + 2);
    observed.grant = Read::Found(grant.grant.clone());
    insta::assert_snapshot!(tell::request(&observed.step(REVIEW_BY + 3)), @r"
    Ended
    because Expired
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Emergency: Access can be granted.
    Granted=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Reviewed=True Unjustified: carol found it unjustified: There was an approver.
    event Warning Reviewed: carol found it unjustified: There was an approver.
    ");
    let status = observed.request.object.status.clone().unwrap();
    assert_eq!(status.review, grant.status().review);
    assert_eq!(observed.step(REVIEW_BY + 4).status, None);
    observed.grant = Read::Missing;
    assert_eq!(observed.step(REVIEW_BY + 5).status, None);
}

#[test]
fn a_review_while_the_right_is_held_is_told_too() {
    let mut grant = active_emergency();
    let mut observed = called(|_| {});
    observed.grant = Read::Found(grant.grant.clone());
    observed.step(13);
    grant.says(review(ReviewOutcome::Justified, carol(), 20));
    grant.step(21);
    observed.grant = Read::Found(grant.grant);
    let notice = observed.step(22).notice.unwrap();
    assert_eq!((notice.warning, &*notice.message), (false, "carol found it justified."));
    let own = review(ReviewOutcome::Justified, person("alice", &["security"]), 30);
    observed.says(own);
    assert_eq!(observed.step(31).status, None);
}
