//! A controller that lacks some of its rights, for a while or for good. Each test has a control plane of its own.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::PostParams;
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::rbac;
use crate::world::{SOON, World};

/// Takes a right from the controller.
async fn take_the_right_to(world: &World, verb: &str, resource: &str) {
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    let mut role = roles.get("lapse-controller").await.unwrap();
    let before = role.rules.take().unwrap_or_default();
    let without = before.into_iter().flat_map(|rule| {
        let all = rule.resources.clone().unwrap_or_default();
        let (this, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|known| known == resource);
        let verbs = rule.verbs.iter().filter(|known| *known != verb).cloned().collect();
        let others = PolicyRule { resources: Some(others), ..rule.clone() };
        [others, PolicyRule { resources: Some(this), verbs, ..rule }]
    });
    let is_one = |rule: &PolicyRule| {
        let resources = rule.resources.as_ref().is_some_and(|resources| !resources.is_empty());
        !rule.verbs.is_empty() && (resources || rule.non_resource_urls.is_some())
    };
    role.rules = Some(without.filter(is_one).collect());
    roles.replace("lapse-controller", &PostParams::default(), &role).await.unwrap();
    let controller = rbac::account("lapse-system", "lapse-controller");
    let group =
        if resource.ends_with("bindings") { "rbac.authorization.k8s.io" } else { "lapse.dev" };
    let taken = json!({"verb": verb, "group": group, "resource": resource});
    world.authorized(&[controller], &taken, false).await;
}

/// A right that can no longer be given (the controller lost the right to bind) fails with the reason,
/// and one that is held can still be taken.
#[tokio::test]
async fn without_the_right_to_bind_a_request_fails_and_says_so() {
    let world = World::own("no-bind", InstallOptions::default()).await;
    world.granted("held", json!({})).await;
    take_the_right_to(&world, "create", "rolebindings").await;
    let name = "fix";
    world.ask(name, json!({})).await;
    world.approve(&world.bob, name).await.unwrap();
    let status = world.phase(name, RequestPhase::Failed).await;
    let granted = status.conditions.iter().find(|c| c.r#type == "Granted").unwrap();
    assert!(granted.message.contains("forbidden"), "{granted:?}");
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

/// After an upgrade, say, an API server knows late what the controller may do.
#[tokio::test]
async fn a_refusal_that_passes_fails_no_request() {
    let world = World::own("passes", InstallOptions::default()).await;
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    let whole = roles.get("lapse-controller").await.unwrap().rules;
    take_the_right_to(&world, "create", "rolebindings").await;
    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    let requests: Api<AccessRequest> = world.api(&world.admin);
    eventually("the request to say what it waits for", SOON, async || {
        let status = requests.get("fix").await?.status.unwrap_or_default();
        let granted = status.conditions.iter().find(|known| known.r#type == "Granted");
        let said = granted.is_some_and(|known| known.message.contains("forbidden"));
        Ok((said && status.phase == RequestPhase::Pending).then_some(()))
    })
    .await
    .unwrap();
    let mut role = roles.get("lapse-controller").await.unwrap();
    role.rules = whole;
    roles.replace("lapse-controller", &PostParams::default(), &role).await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}

/// A refusal is final, so whoever asks right after a policy was stored is not refused for want of it, however far the
/// watch of policies lags behind.
#[tokio::test]
async fn a_policy_that_no_watch_has_shown_counts() {
    let world = World::own("unseen", InstallOptions::default()).await;
    take_the_right_to(&world, "watch", "jitpolicies").await;
    let controller = &world.lapse.controllers[0];
    // A watch that is open goes on without the right. Who stops in order leaves the lease.
    controller.process.terminate(SOON).await.unwrap();
    controller.process.start().unwrap();
    controller.ready().await.unwrap();
    let kubernetes = json!({
        "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": [world.ns]},
    });
    let spec = json!({
        "requesters": [{"kind": "User", "name": world.mallory.name}],
        "targets": [{"kubernetes": kubernetes}],
        "duration": {"default": "5m", "max": "1h"},
        "approval": {"stages": []},
    });
    let just_stored = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": "just-stored"}, "spec": spec,
    });
    world.apply(just_stored).await;
    let ask = async |name: &str, changes: serde_json::Value| {
        let mut request = world.request(name, changes);
        request.spec.policy = None;
        world.api(&world.mallory).create(&PostParams::default(), &request).await.unwrap();
    };
    ask("fix", json!({})).await;
    let status = world.phase("fix", RequestPhase::Active).await;
    assert_eq!(status.policy.unwrap().name, "just-stored");
    // What it does not offer is refused as before.
    let view = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}});
    ask("other", json!({"target": view})).await;
    world.phase("other", RequestPhase::Denied).await;
}

/// That a Grant was deleted ends a request for good, so it is not concluded from a list that has not come.
#[tokio::test]
async fn a_grant_that_is_not_listed_yet_is_not_taken_for_deleted() {
    let world = World::own("unlisted", InstallOptions::default()).await;
    world.granted("fix", json!({})).await;
    let controller = &world.lapse.controllers[0].process;
    controller.terminate(SOON).await.unwrap();
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    let whole = roles.get("lapse-controller").await.unwrap();
    take_the_right_to(&world, "list", "grants").await;
    controller.start().unwrap();
    // The requests are listed, and the lease is held.
    world.ask("again", json!({})).await;
    world.phase("again", RequestPhase::Pending).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.status("fix").await.phase, RequestPhase::Active);
    assert!(world.can_write(&world.alice).await, "the right goes on");
    let again = ClusterRole { rules: whole.rules, ..roles.get("lapse-controller").await.unwrap() };
    roles.replace("lapse-controller", &PostParams::default(), &again).await.unwrap();
    world.lapse.controllers[0].ready().await.unwrap();
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}
