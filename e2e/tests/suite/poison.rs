//! One object that nobody can read stops nothing, and says what is wrong with it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use lapse_crds::{JitPolicy, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use crate::world::{SOON, World};

/// As after a release that knew more: the schema takes what these programs cannot read.
#[tokio::test]
async fn a_policy_that_cannot_be_read() {
    let world = World::own("poison", InstallOptions::default()).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(world.admin.client.clone());
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let patch: json_patch::Patch = serde_json::from_value(json!([
        {"op": "replace", "path": schema, "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    ]))
    .unwrap();
    let patch = Patch::Json::<()>(patch);
    definitions.patch("jitpolicies.lapse.dev", &PatchParams::default(), &patch).await.unwrap();

    // The webhook refuses what it cannot read; this one came before, or past it.
    let hooks: Api<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration> =
        Api::all(world.admin.client.clone());
    hooks.delete("lapse", &kube::api::DeleteParams::default()).await.unwrap();
    let resource = ApiResource::erase::<JitPolicy>(&());
    let policies: Api<DynamicObject> = Api::all_with(world.admin.client.clone(), &resource);
    let mut poison = DynamicObject::new("a-poison", &resource);
    poison.data = json!({"spec": {"requesters": "everybody", "targets": 7}});
    eventually("the schema to be loose", SOON, async || {
        Ok(Some(policies.create(&PostParams::default(), &poison).await?))
    })
    .await
    .unwrap();

    let told = eventually("the poison to say what is wrong with it", SOON, async || {
        let found = policies.get("a-poison").await?;
        let condition = found.data.pointer("/status/conditions/0").cloned();
        Ok(condition.filter(|condition| condition["type"] == "Ready"))
    })
    .await
    .unwrap();
    assert_eq!(told["reason"], Value::from("Unreadable"));
    assert!(told["message"].as_str().unwrap().contains("cannot be read"), "{told}");

    // Everything else goes on, also for a request that looks at all policies.
    world.ask("fix", json!({"policy": null})).await;
    let status = world.phase("fix", RequestPhase::Pending).await;
    assert_eq!(status.policy.unwrap().name, "poison");
    let shown = status.candidates.iter().find(|candidate| candidate.policy == "a-poison").unwrap();
    assert!(shown.reason.contains("cannot be read"), "{shown:?}");
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    assert!(world.can_write(&world.alice).await);
}
