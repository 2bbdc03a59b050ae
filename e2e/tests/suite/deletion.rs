//! Deleting a request, a grant or a namespace ends the right, and nothing hangs.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use lapse_crds::{AccessRequest, EndReason, GrantPhase, RequestPhase};
use lapse_e2e::plane::eventually;
use rstest::rstest;
use serde_json::json;

use crate::world::{SOON, World, refused, typed};

#[tokio::test]
async fn of_the_request() {
    let world = World::shared("delete-request").await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await.metadata.name.unwrap();
    let api: Api<AccessRequest> = world.api(&world.alice);
    api.delete("fix", &DeleteParams::default()).await.unwrap();
    world.locked_out(&world.alice).await;
    let grant = world.ended(&grant).await;
    assert_eq!(grant.status.unwrap().end_reason, Some(EndReason::RequestDeleted));
}

#[rstest]
#[case::foreground("grant-foreground", PropagationPolicy::Foreground)]
#[case::background("grant-background", PropagationPolicy::Background)]
#[case::orphan("grant-orphan", PropagationPolicy::Orphan)]
#[tokio::test]
async fn of_the_grant(#[case] ns: &str, #[case] policy: PropagationPolicy) {
    let world = World::shared(ns).await;
    world.granted("fix", json!({})).await;
    let name = world.grant("fix").await.metadata.name.unwrap();
    let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    let api = world.grants();
    api.delete(&name, &params).await.unwrap();
    world.locked_out(&world.alice).await;
    assert_eq!(world.bindings().await, Vec::<String>::new());
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::GrantDeleted));
    eventually("the grant to go", SOON, async || {
        Ok(api.get_opt(&name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    refused(world.approve(&world.ben, "fix").await, "already Ended");
}

#[tokio::test]
async fn of_the_namespace() {
    let world = World::shared("delete-namespace").await;
    world.granted("fix", json!({})).await;
    let name = world.grant("fix").await.metadata.name.unwrap();
    let namespaces: Api<Namespace> = Api::all(world.admin.client.clone());
    namespaces.delete(&world.ns, &DeleteParams::default()).await.unwrap();
    let grant = world.ended(&name).await;
    assert_eq!(grant.status.unwrap().phase, GrantPhase::Ended);
    eventually("the namespace to go", SOON, async || {
        Ok(namespaces.get_opt(&world.ns).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
}

/// Kubernetes keeps the bindings of a namespace, and what they allow, until the last of its pods is gone.
#[tokio::test]
async fn of_a_namespace_in_which_a_pod_hangs() {
    let world = World::shared("delete-hanging").await;
    let target = "delete-hanging-target";
    world
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target}}))
        .await;
    let roles = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let here = json!({"roles": roles, "namespaces": {"names": [target]}});
    world.policy(json!({"targets": [{"kubernetes": here}]})).await;
    let there = json!({"target": {"kubernetes": {"role": roles[0], "namespaces": [target]}}});
    world.ask("fix", there.clone()).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.ask("waits", there.clone()).await;
    let pods: Api<Pod> = Api::namespaced(world.admin.client.clone(), target);
    let pod = json!({
        "metadata": {"name": "hangs", "finalizers": ["example.com/hangs"]},
        "spec": {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false},
    });
    let made = eventually("the pod to be made", SOON, async || {
        Ok(pods.create(&PostParams::default(), &typed(pod.clone())).await.ok())
    });
    made.await.unwrap();

    let namespaces: Api<Namespace> = Api::all(world.admin.client.clone());
    namespaces.delete(target, &DeleteParams::default()).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::TargetDeleted));
    let bindings: Api<RoleBinding> = Api::namespaced(world.admin.client.clone(), target);
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse");
    assert!(bindings.list(&ours).await.unwrap().items.is_empty());
    assert!(namespaces.get(target).await.is_ok(), "it hangs");
    world.waits("waits", "is being deleted").await;
    world.ask("late", there).await;
    world.waits("late", "is being deleted").await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("hangs", &PatchParams::default(), &free).await.unwrap();
}
