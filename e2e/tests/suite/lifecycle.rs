//! The main path, and the ways in which a request is not granted.

use lapse_crds::{CheckName, CheckOutcome, EndReason, GrantPhase, RequestPhase};
use serde_json::json;

use crate::world::{World, refused};

#[tokio::test]
async fn asked_approved_held_and_expired() {
    let world = World::shared("main-path").await;
    assert!(!world.can_write(&world.alice).await);

    world.ask("fix", json!({"duration": "20s"})).await;
    let pending = world.phase("fix", RequestPhase::Pending).await;
    let waiting = pending.approval.unwrap().waiting_for.unwrap();
    assert_eq!(waiting, "1 of group main-path-managers");
    assert!(!world.can_write(&world.alice).await, "a pending request gives nothing");

    let decision = world.approve(&world.bob, "fix").await.unwrap();
    assert_eq!(decision.spec.decider.unwrap().username, world.bob.name);
    let active = world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    assert!(!world.can_write(&world.bob).await, "nobody else holds it");
    let held = active.expires_at.unwrap().time() - active.starts_at.unwrap().time();
    assert_eq!(held.num_seconds(), 20);
    assert_eq!(
        active.approval.unwrap().stages[0].approved_by,
        std::slice::from_ref(&world.bob.name)
    );

    let ended = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::Expired));
    world.locked_out(&world.alice).await;
    assert!(ended.ended_at.unwrap() >= ended.expires_at.unwrap(), "not before its time");
    assert_eq!(world.bindings().await, Vec::<String>::new());
    let grant = world.grant("fix").await.status.unwrap();
    assert_eq!(grant.phase, GrantPhase::Ended);
    assert_eq!(grant.conditions.last().unwrap().reason, "Verified");
}

#[tokio::test]
async fn self_service_needs_nobody() {
    let world = World::shared("self-service").await;
    world.self_service().await;
    world.ask("look", json!({"duration": null})).await;
    let active = world.phase("look", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    let held = active.expires_at.unwrap().time() - active.starts_at.unwrap().time();
    assert_eq!(held.num_minutes(), 5, "the policy's default");
}

#[tokio::test]
async fn what_policy_does_not_allow_is_denied_with_a_reason() {
    let world = World::shared("denied").await;
    let cases = [
        ("long", json!({"duration": "2h"}), "at most 1h is allowed"),
        (
            "role",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "admin"}}}}),
            "but JitPolicy denied offers",
        ),
        (
            "elsewhere",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["denied", "default"]}}}),
            "ClusterRole edit in default, denied was requested",
        ),
        (
            "system",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["kube-system"]}}}),
            "is protected by the installation",
        ),
        (
            "own",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["lapse-system"]}}}),
            "installation's own namespace",
        ),
        (
            "cluster",
            json!({"target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": true}}}),
            "in the whole cluster was requested",
        ),
        ("nameless", json!({"policy": "no-such-policy"}), "There is no JitPolicy no-such-policy"),
    ];
    for (name, changes, words) in cases {
        world.ask(name, changes).await;
        let status = world.phase(name, RequestPhase::Denied).await;
        let failed: Vec<_> =
            status.checks.iter().filter(|check| check.outcome == CheckOutcome::Fail).collect();
        assert!(failed.iter().any(|check| check.message.contains(words)), "{name}: {failed:?}");
        world.told(name, "ChecksFailed").await;
        refused(world.approve(&world.bob, name).await, "already Denied");
    }
    assert!(!world.can_write(&world.alice).await);
}

#[tokio::test]
async fn who_is_not_a_requester_is_denied() {
    let world = World::shared("stranger").await;
    let request = world.request("let-me-in", json!({}));
    let api = world.api(&world.mallory);
    api.create(&kube::api::PostParams::default(), &request).await.unwrap();
    let status = world.phase("let-me-in", RequestPhase::Denied).await;
    let evaluated = &status.conditions[0];
    assert!(evaluated.message.contains("is not among the requesters"), "{evaluated:?}");
    assert!(!world.can_write(&world.mallory).await);
}

#[tokio::test]
async fn an_approver_denies_before_anything_is_given() {
    let world = World::shared("deny-pending").await;
    world.ask("fix", json!({})).await;
    let deny = json!({"verdict": "Deny", "comment": "Not today"});
    world.decide(&world.bob, "fix", deny).await.unwrap();
    let status = world.phase("fix", RequestPhase::Denied).await;
    assert!(status.conditions.iter().any(|c| c.message.contains("Not today")), "{status:?}");
    refused(world.approve(&world.ben, "fix").await, "already");
    assert!(!world.can_write(&world.alice).await);
}

#[tokio::test]
async fn a_request_is_withdrawn_by_its_requester() {
    let world = World::shared("withdraw").await;
    world.ask("fix", json!({})).await;
    refused(world.decide(&world.bob, "fix", json!({"verdict": "End"})).await, "only its requester");
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Withdrawn).await;
    assert!(!world.can_write(&world.alice).await);
}

#[tokio::test]
async fn nobody_answers_and_it_times_out() {
    let world = World::shared("times-out").await;
    let stages = json!([{"name": "manager", "approvers": [{"kind": "Group", "name": "times-out-managers"}]}]);
    world.policy(json!({"approval": {"stages": stages, "timeout": "3s"}})).await;
    world.ask("fix", json!({})).await;
    let status = world.phase("fix", RequestPhase::TimedOut).await;
    assert!(status.grant.is_none());
    assert!(!world.can_write(&world.alice).await);
}

#[tokio::test]
async fn the_policy_with_the_lowest_number_decides_for_a_request_without_a_name() {
    let world = World::shared("by-priority").await;
    world.policy(json!({"priority": 50})).await;
    world
        .policy_named("by-priority-easy", json!({"priority": 60, "approval": {"stages": []}}))
        .await;
    world.policy_named("by-priority-other", json!({"priority": 10, "requesters": []})).await;
    world.ask("fix", json!({"policy": null})).await;
    let status = world.phase("fix", RequestPhase::Pending).await;
    assert_eq!(status.policy.unwrap().name, "by-priority");
    let reason = |name: &str| {
        let found = status.candidates.iter().find(|candidate| candidate.policy == name);
        found.unwrap().reason.clone()
    };
    assert!(reason("by-priority-easy").contains("by-priority comes first"));
    assert!(reason("by-priority-other").contains("is not among its requesters"));
}

#[tokio::test]
async fn the_whole_cluster_and_several_namespaces() {
    let world = World::shared("wide").await;
    world
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wide-two"}}))
        .await;
    let policy = |allow_escalation: bool| {
        json!({
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}],
                "namespaces": {"names": ["wide", "wide-two"]},
                "clusterWide": true,
                "allowEscalation": allow_escalation,
            }}],
            "approval": {"stages": []},
        })
    };
    world.policy(policy(false)).await;
    let role = json!({"kind": "ClusterRole", "name": "edit"});
    let both =
        json!({"target": {"kubernetes": {"role": role, "namespaces": ["wide", "wide-two"]}}});
    world.ask("both", both).await;
    world.phase("both", RequestPhase::Active).await;
    assert_eq!(world.grant("both").await.status.unwrap().bindings.len(), 2);
    world.decide(&world.alice, "both", json!({"verdict": "End"})).await.unwrap();
    world.phase("both", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;

    let all =
        json!({"target": {"kubernetes": {"role": role, "clusterWide": true}}, "duration": "20s"});
    // In every namespace at once, those of the system included, the role reaches everything.
    world.ask("refused", all.clone()).await;
    let refused = world.phase("refused", RequestPhase::Denied).await;
    let risk = refused.checks.iter().find(|check| check.name == CheckName::Risk).unwrap();
    assert!(risk.message.contains("allows privilege escalation"), "{}", risk.message);
    assert!(!world.can_write(&world.alice).await);

    world.policy(policy(true)).await;
    world.ask("all", all).await;
    world.phase("all", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    let ended = world.phase("all", RequestPhase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::Expired));
    world.locked_out(&world.alice).await;
}
