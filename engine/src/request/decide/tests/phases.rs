//! The rows of the table of phases, and what a person reads in each.

use lapse_crds::{
    AccessDecision, Approval, CheckOutcome, PolicyEffect, PolicyMode, RequestPhase, Verdict,
};
use rstest::rstest;

use crate::Read;
use crate::attest::{AttestationError, Attested};
use crate::policy::Policies;
use crate::request::{Observed, decide};
use crate::role::RoleRules;
use crate::testing::life::{
    approved, asked, bob, decision, of_unknown_key, role, time, unattested, with_panicked,
};
use crate::testing::{group, person, stage, tell, user};

const DAY: i64 = 24 * 3600;

fn decisions_of(observed: &mut Observed) -> &mut Vec<Attested<AccessDecision>> {
    match &mut observed.decisions {
        Read::Found(decisions) => decisions,
        _ => panic!("the decisions of the fixture cannot be read"),
    }
}

fn phase_at(observed: &Observed, now: i64) -> RequestPhase {
    let plan = decide(observed, time(now));
    let known = observed.request.object.status.as_ref();
    let status = plan.status.as_ref().or(known);
    status.map(|status| status.phase).unwrap_or_default()
}

/// Each case changes the request that waits for its approval, after it was reported on once.
#[rstest]
#[case::nothing(|_: &mut Observed| {}, 20, RequestPhase::Pending)]
#[case::deny(|o: &mut Observed| o.says(decision(Verdict::Deny, bob(), 15)), 20, RequestPhase::Denied)]
#[case::deny_before_approval(|o: &mut Observed| {
    o.says(decision(Verdict::Approve, bob(), 15));
    o.says(decision(Verdict::Deny, person("olga", &[]), 16));
}, 20, RequestPhase::Denied)]
#[case::deny_after_the_time_out(|o: &mut Observed| o.says(decision(Verdict::Deny, bob(), 15)), DAY + 1, RequestPhase::Denied)]
#[case::unattested_deny(|o: &mut Observed| o.says(unattested(decision(Verdict::Deny, bob(), 15))), 20, RequestPhase::Pending)]
#[case::deny_of_another_request(|o: &mut Observed| {
    let mut other = decision(Verdict::Deny, bob(), 15);
    other.object.spec.request.uid = Some("uid-2".into());
    o.says(other);
}, 20, RequestPhase::Pending)]
#[case::end_by_the_requester(|o: &mut Observed| o.says(decision(Verdict::End, person("alice", &[]), 15)), 20, RequestPhase::Withdrawn)]
#[case::end_by_another(|o: &mut Observed| o.says(decision(Verdict::End, bob(), 15)), 20, RequestPhase::Pending)]
#[case::just_before_the_time_out(|_: &mut Observed| {}, DAY - 1, RequestPhase::Pending)]
#[case::time_out(|_: &mut Observed| {}, DAY, RequestPhase::TimedOut)]
#[case::approved_and_never_given(|o: &mut Observed| o.says(decision(Verdict::Approve, bob(), 15)), 15 + 3600, RequestPhase::TimedOut)]
#[case::policy_deleted(|o: &mut Observed| o.policies = Read::Found(Policies::default()), 20, RequestPhase::Denied)]
#[case::policy_disabled(|o: &mut Observed| o.policy_becomes(|p| p.spec.mode = PolicyMode::Disabled), 20, RequestPhase::Denied)]
#[case::policy_broken(|o: &mut Observed| o.policy_becomes(|p| p.spec.duration.as_mut().unwrap().max = "48h".parse().ok()), 20, RequestPhase::Denied)]
#[case::requester_removed(|o: &mut Observed| o.policy_becomes(|p| p.spec.requesters = vec![user("carol")]), 20, RequestPhase::Denied)]
#[case::longest_lowered(|o: &mut Observed| o.policy_becomes(|p| p.spec.duration.as_mut().unwrap().max = "45m".parse().ok()), 20, RequestPhase::Denied)]
#[case::role_deleted(|o: &mut Observed| o.role = Read::Missing, 20, RequestPhase::Denied)]
#[case::namespace_deleted(|o: &mut Observed| { o.surroundings.namespaces.insert("shop".into(), Read::Missing); }, 20, RequestPhase::Denied)]
#[case::policies_unreadable(|o: &mut Observed| o.policies = Read::Failed("timeout".into()), DAY, RequestPhase::Pending)]
#[case::a_policy_may_forbid_it(|o: &mut Observed| o.policies = with_panicked(Some(PolicyEffect::Deny)), DAY, RequestPhase::Pending)]
#[case::a_policy_of_no_effect_may_forbid_it(|o: &mut Observed| o.policies = with_panicked(None), DAY, RequestPhase::Pending)]
#[case::another_that_allows_is_not_known(|o: &mut Observed| o.policies = with_panicked(Some(PolicyEffect::Allow)), DAY, RequestPhase::TimedOut)]
#[case::denied_whatever_is_not_known(|o: &mut Observed| {
    o.policies = with_panicked(None);
    o.says(decision(Verdict::Deny, bob(), 15));
}, 20, RequestPhase::Denied)]
#[case::decisions_unreadable(|o: &mut Observed| o.decisions = Read::Failed("timeout".into()), DAY, RequestPhase::Pending)]
#[case::role_unreadable(|o: &mut Observed| o.role = Read::Failed("timeout".into()), DAY, RequestPhase::Pending)]
#[case::namespace_unreadable(|o: &mut Observed| { o.surroundings.namespaces.insert("shop".into(), Read::Failed("timeout".into())); }, DAY, RequestPhase::Pending)]
#[case::grant_unreadable(|o: &mut Observed| o.grant = Read::Failed("timeout".into()), DAY, RequestPhase::Pending)]
fn a_waiting_request_becomes(
    #[case] change: fn(&mut Observed),
    #[case] now: i64,
    #[case] expected: RequestPhase,
) {
    let mut observed = asked();
    observed.step(1);
    change(&mut observed);
    assert_eq!(phase_at(&observed, now), expected);
}

#[rstest]
#[case(RequestPhase::Denied)]
#[case(RequestPhase::Withdrawn)]
#[case(RequestPhase::TimedOut)]
#[case(RequestPhase::Failed)]
#[case(RequestPhase::Ended)]
fn a_phase_that_is_final_stays(#[case] phase: RequestPhase) {
    let mut observed = approved();
    observed.step(5);
    observed.request.object.status.as_mut().unwrap().phase = phase;
    let plan = decide(&observed, time(20));
    assert_eq!((plan.create, plan.status, plan.notice), (None, None, None));
    assert_eq!(plan.wake_at, None);
}

/// What could not be looked up is shown, and looked up again soon.
#[rstest]
#[case::policies(|o: &mut Observed| o.policies = Read::Failed("timeout".into()), "The policies cannot be read: timeout")]
#[case::decisions(|o: &mut Observed| o.decisions = Read::Failed("timeout".into()), "The decisions cannot be read: timeout")]
#[case::role(|o: &mut Observed| o.role = Read::Failed("timeout".into()), "ClusterRole edit cannot be read: timeout.")]
#[case::namespace(|o: &mut Observed| { o.surroundings.namespaces.insert("shop".into(), Read::Failed("timeout".into())); }, "Namespace shop cannot be read: timeout.")]
#[case::grant(|o: &mut Observed| o.grant = Read::Failed("timeout".into()), "The Grant cannot be read: timeout")]
fn an_error_means_no_and_is_shown(#[case] change: fn(&mut Observed), #[case] words: &str) {
    let mut observed = approved();
    change(&mut observed);
    let plan = observed.step(20);
    assert_eq!(plan.create, None);
    assert_eq!(plan.wake_at, Some(time(25)));
    let status = plan.status.unwrap();
    let evaluated = &status.conditions[0];
    assert_eq!(evaluated.message, words);
    assert_eq!(evaluated.reason, "LookupFailed");
    assert_eq!(observed.step(25).status, None, "it is said once");
}

/// A decision whose key is not known yet may be a Deny: until it is, nothing is given and nothing is final.
#[rstest]
#[case::deny(Verdict::Deny)]
#[case::end(Verdict::End)]
#[case::approve(Verdict::Approve)]
fn what_cannot_be_verified_yet_is_no_absent_decision(#[case] verdict: Verdict) {
    let mut observed = approved();
    let said = decision(verdict, person("alice", &[]), 15);
    observed.says(of_unknown_key(said.clone(), 15));
    let plan = observed.step(20);
    assert_eq!((plan.create, plan.wake_at), (None, Some(time(25))));
    insta::allow_duplicates!(insta::assert_snapshot!(
        plan.status.unwrap().conditions[0].message.replace(&verdict.to_string(), "VERDICT"),
        @"AccessDecision VERDICT alice 15 cannot be verified yet: its attestation was signed by the key made-up, which is not published"
    ));
    assert_eq!(phase_at(&observed, 20), RequestPhase::Pending);
    // The key is known, and what was said counts.
    decisions_of(&mut observed)[1] = said;
    let expected = match verdict {
        Verdict::Deny => RequestPhase::Denied,
        Verdict::End => RequestPhase::Withdrawn,
        _ => RequestPhase::Pending,
    };
    assert_eq!(phase_at(&observed, 25), expected);
    assert_eq!(decide(&observed, time(25)).create.is_some(), verdict == Verdict::Approve);
}

/// Whoever gets a decision with a made-up key past admission holds up that one request, for ten minutes.
#[test]
fn a_made_up_key_blocks_nothing_for_ever() {
    let mut observed = approved();
    observed.says(of_unknown_key(decision(Verdict::Deny, person("mallory", &[]), 15), 15));
    assert!(decide(&observed, time(15 + 600)).create.is_none());
    assert!(decide(&observed, time(15 + 601)).create.is_some());
    // What says when it was made beyond all reason is no better.
    let mallory = decisions_of(&mut observed)[1].clone();
    decisions_of(&mut observed)[1] = of_unknown_key(mallory, DAY);
    assert!(decide(&observed, time(20)).create.is_some());
    // It keeps nobody from saying no…
    decisions_of(&mut observed)[1] =
        of_unknown_key(decision(Verdict::Deny, person("mallory", &[]), 15), 15);
    observed.says(decision(Verdict::Deny, bob(), 16));
    assert_eq!(phase_at(&observed, 20), RequestPhase::Denied);
    // …and one about another request holds up nothing here.
    let mut other = of_unknown_key(decision(Verdict::Deny, person("mallory", &[]), 15), 15);
    other.object.spec.request.uid = Some("uid-2".into());
    let mut observed = approved();
    observed.says(other);
    assert!(decide(&observed, time(20)).create.is_some());
}

#[test]
fn what_is_not_attested_is_not_honoured() {
    let mut observed = approved();
    observed.request = unattested(observed.request);
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Denied
    Evaluated=False NotAttested: The request is not accepted: it carries no attestation: it did not pass Lapse's admission webhook. Delete it and create it again.
    event Warning NotAttested: The request is not accepted: it carries no attestation: it did not pass Lapse's admission webhook. Delete it and create it again.
    ");

    // A key that is not published yet is a matter of time: nothing is final.
    let mut observed = approved();
    observed.request.attestation = Err(AttestationError::UnknownKey("abc".into()));
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=Unknown KeyNotPublished: The request cannot be verified yet: its attestation was signed by the key abc, which is not published.
    looks again at 25 s
    ");

    // An approval that is not attested is none.
    let mut observed = asked();
    observed.says(unattested(decision(Verdict::Approve, bob(), 10)));
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group shop-managers.
    event Normal Waiting: It waits for 1 of group shop-managers.
    looks again at 86400 s
    ");
}

#[test]
fn a_copy_of_a_decision_is_not_another() {
    let mut observed = asked();
    observed.policy_becomes(|p| {
        p.metadata.generation = Some(1);
        p.spec.approval.as_mut().unwrap().stages[0].required = 2;
    });
    let approval = decision(Verdict::Approve, bob(), 10);
    let mut copy = decision(Verdict::Approve, person("ben", &["shop-managers"]), 10);
    copy.attestation.clone_from(&approval.attestation);
    observed.says(approval);
    observed.says(copy);
    assert_eq!(observed.step(20).create, None);
}

#[test]
fn a_person_reads_why() {
    let mut observed = asked();
    insta::assert_snapshot!(tell::request(&observed.step(1)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group shop-managers.
    event Normal Waiting: It waits for 1 of group shop-managers.
    looks again at 86400 s
    ");

    let mut denied = observed.clone();
    let mut decided = decision(Verdict::Deny, bob(), 15);
    decided.object.spec.comment = Some("Use the runbook.".into());
    denied.says(decided);
    insta::assert_snapshot!(tell::request(&denied.step(20)), @r"
    Denied
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Denied: Denied by bob: Use the runbook.
    event Warning Denied: Denied by bob: Use the runbook.
    ");

    let mut withdrawn = observed.clone();
    withdrawn.says(decision(Verdict::End, person("alice", &[]), 15));
    insta::assert_snapshot!(tell::request(&withdrawn.step(20)), @r"
    Withdrawn
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Withdrawn: Withdrawn by alice.
    event Normal Withdrawn: Withdrawn by alice.
    ");

    let mut timed_out = observed.clone();
    insta::assert_snapshot!(tell::request(&timed_out.step(DAY)), @r"
    TimedOut
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False TimedOut: Nobody answered in time. It waits for 1 of group shop-managers. Request again if you still need it.
    event Normal TimedOut: Nobody answered in time. It waits for 1 of group shop-managers. Request again if you still need it.
    ");

    let mut too_late = observed.clone();
    too_late.says(decision(Verdict::Approve, bob(), 15));
    insta::assert_snapshot!(tell::request(&too_late.step(2 * 3600)), @r"
    TimedOut
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False TimedOut: It was approved, but it expired at 2026-11-18T12:06:55.000000Z before access could be granted. Request again if you still need it.
    event Normal TimedOut: It was approved, but it expired at 2026-11-18T12:06:55.000000Z before access could be granted. Request again if you still need it.
    ");

    let mut gone = observed.clone();
    gone.policies = Read::Found(Policies::default());
    insta::assert_snapshot!(tell::request(&gone.step(20)), @r"
    Denied
    Evaluated=False ChecksFailed: There is no JitPolicy shop-debug; `kubectl jit policies` lists those that are for you. Name one of them, or leave spec.policy out.
    Approved=False ChecksFailed: There is no JitPolicy shop-debug; `kubectl jit policies` lists those that are for you. Name one of them, or leave spec.policy out.
    event Warning ChecksFailed: There is no JitPolicy shop-debug; `kubectl jit policies` lists those that are for you. Name one of them, or leave spec.policy out.
    ");

    let mut refused = observed;
    refused.policy_becomes(|p| {
        p.spec.requesters = vec![user("carol")];
        p.spec.duration.as_mut().unwrap().max = "45m".parse().ok();
    });
    insta::assert_snapshot!(tell::request(&refused.step(20)), @r"
    Denied
    Evaluated=False ChecksFailed: alice is not among the requesters of JitPolicy shop-debug (user carol); request under another policy, or ask its owner to add you. 1h was requested, but at most 45m is allowed; request less, and request again if you need more.
    Approved=False ChecksFailed: alice is not among the requesters of JitPolicy shop-debug (user carol); request under another policy, or ask its owner to add you. 1h was requested, but at most 45m is allowed; request less, and request again if you need more.
    event Warning ChecksFailed: alice is not among the requesters of JitPolicy shop-debug (user carol); request under another policy, or ask its owner to add you. 1h was requested, but at most 45m is allowed; request less, and request again if you need more.
    ");
    let status = refused.request.object.status.unwrap();
    let failed = |check: &&lapse_crds::CheckStatus| check.outcome == CheckOutcome::Fail;
    assert_eq!(status.checks.iter().filter(failed).count(), 2);
}

#[test]
fn a_change_before_the_start_voids_the_approval_and_the_same_person_approves_again() {
    let dual = |p: &mut lapse_crds::JitPolicy| {
        let stages = &mut p.spec.approval.as_mut().unwrap().stages;
        stages.push(stage("owner", 1, vec![user("olga")]));
    };
    let mut observed = approved();
    observed.policy_becomes(dual);
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group shop-managers; 1 of user olga. The approval by bob no longer counts: JitPolicy shop-debug has changed since.
    event Normal Waiting: It waits for 1 of group shop-managers; 1 of user olga.
    looks again at 86400 s
    ");

    // The reason goes once he has approved what there is now; one that anybody replaced is not told.
    let mut again = decision(Verdict::Approve, bob(), 30);
    again.object.spec.policy.as_mut().unwrap().generation = 2;
    observed.says(again);
    insta::assert_snapshot!(tell::request(&observed.step(31)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of user olga.
    looks again at 86400 s
    ");

    // It is told, too, when the change took his right to approve away.
    let mut observed = approved();
    observed.policy_becomes(|p| {
        p.spec.approval = Some(Approval {
            stages: vec![stage("owner", 1, vec![user("olga")])],
            ..Approval::default()
        });
    });
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of user olga. The approval by bob no longer counts: JitPolicy shop-debug has changed since.
    event Normal Waiting: It waits for 1 of user olga.
    looks again at 86400 s
    ");

    // A role that allows more voids it as well, and one that allows less does not.
    let mut observed = approved();
    observed.role = Read::Found(RoleRules::of_cluster_role(vec![]));
    assert!(observed.clone().step(20).create.is_some());
    observed.role = Read::Found(role("get list delete"));
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group shop-managers. The approval by bob no longer counts: the role has gained list pods and delete pods since the approval.
    event Normal Waiting: It waits for 1 of group shop-managers.
    looks again at 86400 s
    ");
}

#[test]
fn without_a_name_the_policy_that_decides_may_change_and_voids_the_approval() {
    let mut observed = approved();
    observed.request.object.spec.policy = None;
    let mut first = crate::testing::policy("aaa");
    first.spec.approval.as_mut().unwrap().stages[0].approvers = vec![group("directors")];
    let policies = vec![
        crate::testing::life::state(&first),
        crate::testing::life::state(&crate::testing::policy("shop-debug")),
    ];
    observed.policies = Read::Found(policies.into());
    insta::assert_snapshot!(tell::request(&observed.step(20)), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=False Waiting: It waits for 1 of group directors. The approval by bob no longer counts: JitPolicy aaa decides now.
    event Normal Waiting: It waits for 1 of group directors.
    looks again at 86400 s
    ");
}

/// What the API server answers names a port, a duration, an attempt; to write it down at each would be a write each second.
#[test]
fn a_text_from_outside_that_varies_is_no_reason_to_write() {
    for change in [
        |o: &mut Observed, text: &str| o.policies = Read::Failed(text.to_owned()),
        |o: &mut Observed, text: &str| o.role = Read::Failed(text.to_owned()),
        |o: &mut Observed, text: &str| o.obstacle = Some(text.to_owned()),
    ] {
        let mut observed = approved();
        change(&mut observed, "dial tcp: from port 1");
        let said = observed.step(20).status.unwrap();
        change(&mut observed, "dial tcp: from port 2");
        assert_eq!(decide(&observed, time(21)).status, None, "{said:?}");
    }
}
