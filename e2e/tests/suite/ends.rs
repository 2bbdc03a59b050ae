//! Every way in which a right ends before its time.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use lapse_crds::{EndReason, JitPolicy, RequestPhase};
use lapse_e2e::plane::eventually;
use serde_json::json;

use crate::world::{SOON, World};

#[tokio::test]
async fn ended_early_by_its_requester() {
    let world = World::shared("end-early").await;
    world.granted("fix", json!({})).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn revoked_by_a_deny() {
    let world = World::shared("revoke").await;
    world.granted("fix", json!({})).await;
    world.decide(&world.ben, "fix", json!({"verdict": "Deny"})).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Revoked));
    world.locked_out(&world.alice).await;
}

/// Whoever gives the right is still writing down that it is held when somebody says no.
#[tokio::test]
async fn revoked_in_the_moment_in_which_it_is_given() {
    let world = World::shared("revoke-at-once").await;
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse");
    for round in 0..8 {
        let name = format!("fix-{round}");
        world.ask(&name, json!({})).await;
        world.phase(&name, RequestPhase::Pending).await;
        world.approve(&world.bob, &name).await.unwrap();
        eventually("the binding to stand", SOON, async || {
            Ok((!bindings.list(&ours).await?.items.is_empty()).then_some(()))
        })
        .await
        .unwrap();
        world.decide(&world.ben, &name, json!({"verdict": "Deny"})).await.unwrap();
        let status = world.phase(&name, RequestPhase::Ended).await;
        assert_eq!(status.end_reason, Some(EndReason::Revoked));
        world.locked_out(&world.alice).await;
    }
}

#[tokio::test]
async fn two_overlapping_grants_do_not_end_one_another() {
    let world = World::shared("overlap").await;
    world.granted("long", json!({})).await;
    world.granted("short", json!({"duration": "20s"})).await;
    world.phase("short", RequestPhase::Ended).await;
    assert!(world.can_write(&world.alice).await, "the longer one is still held");
    world.decide(&world.alice, "long", json!({"verdict": "End"})).await.unwrap();
    world.phase("long", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn a_binding_that_somebody_deletes_is_not_made_again() {
    let world = World::shared("unbound").await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await;
    let binding = &grant.status.unwrap().bindings[0];
    let api: Api<RoleBinding> = world.api(&world.admin);
    api.delete(&binding.name, &DeleteParams::default()).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::BindingDeleted));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn a_policy_that_is_switched_off_ends_its_grants() {
    let world = World::shared("switched-off").await;
    world.granted("fix", json!({})).await;
    world.policy(json!({"mode": "Disabled"})).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::PolicyDisabled));
    world.locked_out(&world.alice).await;
    world.ask("again", json!({})).await;
    let status = world.phase("again", RequestPhase::Denied).await;
    let message = &status.conditions[0].message;
    assert_eq!(message, "Just-in-time requests are disabled.");
}

#[tokio::test]
async fn a_policy_that_is_deleted_ends_its_grants() {
    let world = World::shared("policy-gone").await;
    world.granted("fix", json!({})).await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    policies.delete(&world.ns, &DeleteParams::default()).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::PolicyDeleted));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn a_policy_that_no_longer_allows_the_requester_ends_the_grant() {
    let world = World::shared("not-allowed").await;
    world.granted("fix", json!({})).await;
    world.policy(json!({"requesters": []})).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::RequesterNotAllowed));
    world.locked_out(&world.alice).await;
}

/// A lower maximum bears on new requests only; a mistake in a policy ends nothing either.
#[tokio::test]
async fn a_lower_maximum_ends_nothing() {
    let world = World::shared("lower-max").await;
    world.granted("fix", json!({"duration": "30m"})).await;
    world.policy(json!({"duration": {"default": "5m", "max": "10m"}})).await;
    world.ask("marker", json!({"duration": "20m"})).await;
    world.phase("marker", RequestPhase::Denied).await;
    assert!(world.can_write(&world.alice).await);
}

/// A finalizer that somebody puts on the request does not keep the right.
#[tokio::test]
async fn a_deletion_that_hangs_ends_the_right_at_once() {
    let world = World::shared("hangs").await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await;
    let name = grant.metadata.name.unwrap();
    let patch = json!({"metadata": {"finalizers": ["lapse.dev/revoke", "example.com/keep"]}});
    let api = world.grants();
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap_err();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    world.locked_out(&world.alice).await;
    lapse_e2e::plane::eventually("the grant to go", SOON, async || {
        Ok(api.get_opt(&name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
}
