//! A token of the webhook.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, RequestPhase};
use serde_json::json;

use super::{audited, forbidden, moved_to, right_of, thief};
use crate::world::{World, typed};

/// The webhook says who somebody is, and that is all: it gives no right, and makes nothing.
#[tokio::test]
async fn of_the_webhook_gives_nothing_and_says_nothing_for_others() {
    let world = World::shared("stolen-webhook").await;
    world.granted("held", json!({})).await;
    world.ask("asked", json!({})).await;
    let held = world.grant("held").await;
    let client = thief(&world, "lapse-webhook").await;
    let (post, params, ns) = (PostParams::default(), PatchParams::default(), &world.ns);
    let no = "cannot";

    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), ns);
    forbidden(bindings.create(&post, &right_of(&held)).await, no);
    let grants: Api<Grant> = Api::all(client.clone());
    forbidden(grants.create(&post, &moved_to(&world, &held, "asked").await).await, no);
    let status = Patch::Merge(json!({"status": {"phase": "Ended"}}));
    forbidden(
        grants.patch_status(&held.name_any(), &params, &status).await,
        "written by Lapse alone",
    );
    // It says which pods the holder goes into, and takes nothing of that back.
    let entered = |pods: &[&str], tracked: bool, more: &str| {
        let at = "2026-01-01T00:00:00Z";
        let all = pods.iter().map(|pod| {
            json!({
                "namespace": world.ns, "pod": pod, "username": world.alice.name, "streams": ["Exec"],
                "firstAt": at, "lastAt": at, "tracked": tracked,
            })
        });
        let mut status = json!({"entered": all.collect::<Vec<_>>()});
        if !more.is_empty() {
            status[more] = json!("2026-01-01T00:00:00Z");
        }
        Patch::Merge(json!({"status": status}))
    };
    let name = held.name_any();
    let words = "written by Lapse alone";
    grants.patch_status(&name, &params, &entered(&["web"], true, "")).await.unwrap();
    forbidden(grants.patch_status(&name, &params, &entered(&[], true, "")).await, words);
    forbidden(grants.patch_status(&name, &params, &entered(&["web"], false, "")).await, words);
    forbidden(grants.patch_status(&name, &params, &entered(&["other"], true, "")).await, words);
    forbidden(
        grants.patch_status(&name, &params, &entered(&["web"], true, "endedAt")).await,
        words,
    );
    let requests: Api<AccessRequest> = Api::namespaced(client.clone(), ns);
    let as_alice = json!({"requester": {"username": world.alice.name}});
    forbidden(requests.create(&post, &world.request("forged", as_alice)).await, no);
    forbidden(requests.patch_status("asked", &params, &status).await, no);
    let decisions: Api<AccessDecision> = Api::namespaced(client.clone(), ns);
    let approval: AccessDecision = typed(json!({
        "metadata": {"name": "forged"},
        "spec": {
            "request": {"name": "asked"}, "verdict": "Approve", "decider": {"username": world.bob.name},
        },
    }));
    forbidden(decisions.create(&post, &approval).await, no);
    let policies: Api<JitPolicy> = Api::all(client.clone());
    let off = Patch::Merge(json!({"spec": {"approval": {"stages": []}}}));
    forbidden(policies.patch(ns, &params, &off).await, no);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), ns);
    forbidden(secrets.list(&ListParams::default()).await, no);
    let own: Api<Secret> = Api::namespaced(client.clone(), "lapse-system");
    forbidden(own.list(&ListParams::default()).await, no);
    let maps: Api<ConfigMap> = Api::namespaced(client, "lapse-system");
    let settings = Patch::Merge(json!({"data": {"settings.yaml": ""}}));
    forbidden(maps.patch("lapse-settings", &params, &settings).await, no);

    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    let late = grants.patch_status(&name, &params, &entered(&["web", "late"], true, "")).await;
    forbidden(late, words);
    assert_eq!(world.status("asked").await.phase, RequestPhase::Pending);
    assert!(audited(&world, "lapse-webhook", &held.name_any()) >= 1);
    assert!(audited(&world, "lapse-webhook", "lapse-settings") >= 1);
}
