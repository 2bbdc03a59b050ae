//! An approval holds for what the role allowed: one that gains rules voids it, or ends the right.

use lapse_crds::{AccessDecision, Conditions as _, EndReason, RequestPhase};
use lapse_e2e::plane::InstallOptions;
use serde_json::{Value, json};

use crate::world::World;

/// The role `mend` of this namespace, with these verbs on configmaps.
async fn role(world: &World, verbs: Value) {
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "mend", "namespace": world.ns},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}],
        }))
        .await;
}

/// A policy that offers the role.
async fn offered(world: &World, on_role_widened: &str) {
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "Role", "name": "mend"}], "namespaces": {"names": [world.ns]},
    }}]);
    world.policy(json!({"targets": targets, "onRoleWidened": on_role_widened})).await;
}

fn mend() -> Value {
    json!({"target": {"kubernetes": {"role": {"kind": "Role", "name": "mend"}}}})
}

#[tokio::test]
async fn a_live_right_ends_when_its_role_gains_rules_and_not_when_it_loses_some() {
    let world = World::shared("widened").await;
    role(&world, json!(["create", "get"])).await;
    offered(&world, "End").await;
    world.granted("fix", mend()).await;
    role(&world, json!(["create"])).await;
    offered(&world, "Keep").await;
    world.granted("kept", mend()).await;
    role(&world, json!(["create", "list"])).await;
    world.told("kept", "Granted").await;
    assert!(world.can_write(&world.alice).await);

    offered(&world, "End").await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::RoleWidened));
    let status = world.phase("kept", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::RoleWidened));
    let ended = status.conditions.condition("Ended").unwrap();
    assert_eq!(ended.message, "The role has gained list configmaps in widened since the approval.");
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn an_approval_is_void_when_the_role_gains_rules_before_the_start() {
    let world = World::shared("widened-early").await;
    role(&world, json!(["create", "get"])).await;
    offered(&world, "Keep").await;
    let managers = json!([{"kind": "Group", "name": "widened-early-managers"}]);
    let stages = json!([{"name": "manager", "required": 2, "approvers": managers}]);
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "Role", "name": "mend"}], "namespaces": {"names": [world.ns]},
    }}]);
    world.policy(json!({"targets": targets, "approval": {"stages": stages}})).await;
    world.ask("fix", mend()).await;
    let decision: AccessDecision = world.approve(&world.bob, "fix").await.unwrap();
    let rules = serde_json::to_value(&decision.spec.rules).unwrap();
    assert_eq!(rules[0]["namespace"], json!(world.ns));
    assert_eq!(rules[0]["rules"][0]["verbs"], json!(["create", "get"]));

    role(&world, json!(["*"])).await;
    world.waits(
        "fix",
        "2 of group widened-early-managers. The approval by bob-widened-early no longer counts: the role has gained \
         any verb on configmaps in widened-early since the approval.",
    )
    .await;
    // What it lost does not matter, and who approved may approve again.
    role(&world, json!(["create"])).await;
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}

/// A role that takes over the rules of others gains some without being written by anybody.
#[tokio::test]
async fn a_live_right_ends_when_its_role_gains_rules_by_aggregation() {
    let world = World::own("aggregated", InstallOptions::default()).await;
    world.granted("fix", json!({})).await;
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "widgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
            "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["delete"]}],
        }))
        .await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::RoleWidened));
    world.locked_out(&world.alice).await;
}

/// An approval is for the policy as it stood, and not for another that reads the same again.
#[tokio::test]
async fn an_approval_is_void_when_the_policy_changed_and_changed_back() {
    let world = World::shared("and-back").await;
    let managers = json!([{"kind": "Group", "name": "and-back-managers"}]);
    let asking = |required: u32| json!({"approval": {"stages": [{"name": "manager", "required": required, "approvers": managers}]}});
    world.policy(asking(2)).await;
    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    for required in [1, 2] {
        world.policy(asking(required)).await;
    }
    world.approve(&world.ben, "fix").await.unwrap();
    world.waits("fix", "1 of group and-back-managers").await;
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

/// A ban on a role is one on what it allows, also of what it allows only later, and whoever spelled it out.
#[tokio::test]
async fn a_right_by_rules_ends_when_a_denied_role_gains_them() {
    let world = World::shared("gains").await;
    role(&world, json!(["get"])).await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    let within = json!({"names": [world.ns]});
    let targets = json!([{"kubernetes": {"rules": rules, "namespaces": within}}]);
    world.policy(json!({"targets": targets})).await;
    let mend = json!([{"kind": "Role", "name": "mend"}]);
    let denied = json!([{"kubernetes": {"roles": mend, "namespaces": within}}]);
    let developers = json!([{"kind": "Group", "name": "gains-developers"}]);
    world
        .apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "gains-ban"},
            "spec": {"effect": "Deny", "requesters": developers, "targets": denied},
        }))
        .await;
    world.granted("fix", json!({"target": {"kubernetes": {"rules": rules}}})).await;
    assert!(world.can_write(&world.alice).await);

    role(&world, json!(["create", "get"])).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::DeniedByPolicy));
    world.locked_out(&world.alice).await;
}
