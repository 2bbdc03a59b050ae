//! When a right is given, once, and for how long.

use chrono::TimeDelta;
use lapse_crds::{GRANT_FINALIZER, PolicyMode, Verdict};
use rstest::rstest;

use crate::Read;
use crate::request::{Observed, decide};
use crate::testing::life::{
    approved, asked, bob, decision, deleted_at, reference, role, time, written,
};
use crate::testing::{person, tell};

#[test]
fn an_approved_request_is_granted() {
    let plan = decide(&approved(), time(20));
    insta::assert_snapshot!(tell::request(&plan), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Everybody who must approve has approved.
    Granted=False Pending: The grant is being created.
    grants 10 s to 3610 s
    looks again at 3610 s
    ");
    let grant = plan.create.unwrap();
    insta::assert_debug_snapshot!(grant.spec, @r#"
    GrantSpec {
        request: RequestRef {
            namespace: "shop",
            name: "fix-checkout",
            uid: "uid-1",
        },
        policy: PolicyRef {
            name: "shop-debug",
            uid: "uid-of-shop-debug",
            generation: 1,
        },
        subject: Subject {
            kind: User,
            name: "alice",
            namespace: None,
            endpoint: None,
        },
        username: Some(
            "alice",
        ),
        target: Target {
            kubernetes: Some(
                KubernetesTarget {
                    role: Some(
                        RoleRef {
                            kind: ClusterRole,
                            name: "edit",
                        },
                    ),
                    rules: [],
                    namespaces: [
                        "shop",
                    ],
                    cluster_wide: false,
                },
            ),
            endpoint: None,
        },
        starts_at: Timestamp(
            2026-11-18T11:06:50Z,
        ),
        expires_at: Timestamp(
            2026-11-18T12:06:50Z,
        ),
        emergency: false,
        review_by: None,
        approved_by: [
            "bob",
        ],
        ticket: None,
        rules_hash: "sha256:16ce3e85db2b3de6812f5b9dd70433ea686f0f2043a0d26017bd741bc21187e0",
        rules: [
            RecordedRules {
                namespace: None,
                rules: [
                    RoleRule {
                        api_groups: [
                            "",
                        ],
                        resources: [
                            "pods",
                        ],
                        resource_names: [],
                        non_resource_urls: [],
                        verbs: [
                            "get",
                        ],
                    },
                ],
            },
        ],
        session: Some(
            GrantSession {
                guard: Enforce,
                started_workloads: None,
                open_streams: None,
                local_sessions: None,
                changes: None,
                record: None,
                warnings: None,
                max_grace_period: None,
                impersonates: [],
            },
        ),
    }
    "#);
    assert_eq!(grant.metadata.finalizers, Some(vec![GRANT_FINALIZER.to_owned()]));
    assert!(grant.metadata.name.unwrap().starts_with("shop-fix-checkout-"), "a name for people");
}

/// The right starts with the decision that completed the approval, whenever it is looked at.
#[rstest]
#[case(11)]
#[case(3000)]
fn the_completing_decision_starts_the_right(#[case] now: i64) {
    let mut observed = asked();
    observed.policy_becomes(|p| {
        p.metadata.generation = Some(1);
        p.spec.approval.as_mut().unwrap().stages[0].required = 2;
    });
    observed.says(decision(Verdict::Approve, bob(), 7));
    assert_eq!(decide(&observed, time(now)).create, None);
    observed.says(decision(Verdict::Approve, person("ben", &["shop-managers"]), 10));
    let late = person("eve", &["shop-managers"]);
    observed.says(decision(Verdict::Approve, late, 11));
    let grant = decide(&observed, time(now)).create.unwrap();
    assert_eq!(grant.spec.starts_at.time(), time(10));
    assert_eq!(grant.spec.expires_at.time(), time(3610));
}

#[test]
fn an_approval_from_the_future_starts_now() {
    let grant = decide(&approved(), time(3)).create.unwrap();
    assert_eq!(grant.spec.starts_at.time(), time(3));
}

/// Durations that the two approvers set, and what is given when an hour was asked for.
#[rstest]
#[case::nobody(None, None, "1h")]
#[case::shorter(Some("30m"), None, "30m")]
#[case::the_shortest(Some("30m"), Some("20m"), "20m")]
#[case::longer_for_one_alone(Some("2h"), None, "1h")]
#[case::longer_for_all(Some("3h"), Some("2h"), "2h")]
fn the_shortest_approved_duration_applies(
    #[case] bobs: Option<&str>,
    #[case] bens: Option<&str>,
    #[case] expected: &str,
) {
    let mut observed = asked();
    observed.policy_becomes(|p| {
        p.metadata.generation = Some(1);
        p.spec.approval.as_mut().unwrap().stages[0].required = 2;
    });
    for (name, set) in [("bob", bobs), ("ben", bens)] {
        let mut approval = decision(Verdict::Approve, person(name, &["shop-managers"]), 10);
        approval.object.spec.duration = set.map(|text| text.parse().unwrap());
        observed.says(approval);
    }
    let spec = decide(&observed, time(20)).create.unwrap().spec;
    let given = spec.expires_at.time() - spec.starts_at.time();
    let expected: lapse_crds::GrantDuration = expected.parse().unwrap();
    assert_eq!(given, expected.delta());
}

#[test]
fn self_service_needs_nobody_and_starts_with_the_request() {
    let mut observed = asked();
    observed.policy_becomes(|p| p.spec.approval = None);
    let plan = observed.step(5);
    insta::assert_snapshot!(tell::request(&plan), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True SelfService: The policy requires no approval.
    Granted=False Pending: The grant is being created.
    grants 0 s to 3600 s
    looks again at 3600 s
    ");
    assert_eq!(plan.create.unwrap().spec.policy, reference(2));

    observed.request.object.spec.duration = None;
    let spec = decide(&observed, time(5)).create.unwrap().spec;
    let given = spec.expires_at.time() - spec.starts_at.time();
    assert_eq!(given, TimeDelta::minutes(30), "the policy's default");
}

#[test]
fn what_stopped_the_last_try_is_shown_and_it_is_tried_again() {
    let mut observed = approved();
    observed.obstacle = Some("creating Grant x: 503".into());
    let plan = observed.step(20);
    insta::assert_snapshot!(tell::request(&plan), @r"
    Pending
    Evaluated=True ChecksPassed: Every check passed.
    Approved=True Complete: Everybody who must approve has approved.
    Granted=False Refused: creating Grant x: 503
    grants 10 s to 3610 s
    looks again at 3610 s
    ");
    let again = observed.step(21);
    assert_eq!((again.status, again.create.is_some()), (None, true));
}

/// The same name, whoever tries and however often; the API server takes it once.
#[test]
fn two_tries_make_the_same_grant() {
    let early = decide(&approved(), time(20)).create.unwrap();
    let late = decide(&approved(), time(900)).create.unwrap();
    assert_eq!(early, late);
}

/// Each case is approved and yet must not be granted.
#[rstest]
#[case::a_grant_stands(|o: &mut Observed| o.grant = Read::Found(written()))]
#[case::it_is_not_known_whether_one_stands(|o: &mut Observed| o.grant = Read::Failed("timeout".into()))]
#[case::the_request_was_deleted(|o: &mut Observed| {
    o.request.object.metadata.deletion_timestamp = Some(deleted_at());
})]
#[case::the_policy_was_switched_off(|o: &mut Observed| o.policy_becomes(|p| {
    p.metadata.generation = Some(1);
    p.spec.mode = PolicyMode::Disabled;
}))]
#[case::another_generation(|o: &mut Observed| o.policy_becomes(|_| {}))]
#[case::own_approval(|o: &mut Observed| {
    o.decisions = Read::Found(vec![decision(Verdict::Approve, person("alice", &["shop-managers"]), 10)]);
})]
#[case::not_an_approver(|o: &mut Observed| {
    o.decisions = Read::Found(vec![decision(Verdict::Approve, person("mallory", &["shop-developers"]), 10)]);
})]
#[case::approval_of_another_request(|o: &mut Observed| {
    let mut other = decision(Verdict::Approve, bob(), 10);
    other.object.spec.request.uid = Some("uid-2".into());
    o.decisions = Read::Found(vec![other]);
})]
#[case::approval_without_uid(|o: &mut Observed| {
    let mut other = decision(Verdict::Approve, bob(), 10);
    other.object.spec.request.uid = None;
    o.decisions = Read::Found(vec![other]);
})]
#[case::approval_of_another_role(|o: &mut Observed| {
    let mut other = decision(Verdict::Approve, bob(), 10);
    other.object.spec.rules_hash = Some(role("list").hash());
    other.object.spec.rules = role("list").to_keep();
    o.decisions = Read::Found(vec![other]);
})]
fn nothing_is_given_when(#[case] change: fn(&mut Observed)) {
    let mut observed = approved();
    change(&mut observed);
    assert_eq!(decide(&observed, time(20)).create, None);
}
