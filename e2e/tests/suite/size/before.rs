//! What is not held by the webhook, and what an earlier release let in.

use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, PropagationPolicy};
use lapse_crds::RequestPhase;
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use super::{entries, requests};
use crate::world::{SOON, World, refused, typed};

const NOTE: &str = "example.com/note";

/// A request that claims the stamp that the webhook would write.
fn claimed(world: &World, name: &str, spec: Value, metadata: &Value) -> DynamicObject {
    let mut request = serde_json::to_value(world.request(name, spec)).unwrap();
    let groups = [format!("{}-developers", world.ns), "system:authenticated".to_owned()];
    request["spec"]["requester"] = json!({"username": world.alice.name, "groups": groups});
    json_patch::merge(&mut request["metadata"], metadata);
    typed(request)
}

fn note(bytes: usize) -> Value {
    json!({"annotations": {NOTE: "x".repeat(bytes)}})
}

/// Creates it as soon as the API server has noticed what was taken away.
async fn stored(api: &Api<DynamicObject>, object: &DynamicObject) {
    eventually("the request to be stored", SOON, async || {
        Ok(Some(api.create(&PostParams::default(), object).await?))
    })
    .await
    .unwrap();
}

fn held<T: Debug>(result: kube::Result<T>, words: &str) {
    let result = result.map_err(Into::into);
    let error =
        format!("{:#}", result.as_ref().err().map(anyhow::Error::to_string).unwrap_or_default());
    assert!(error.contains("lapse-size"), "{error}");
    refused(result, words);
}

#[tokio::test]
async fn what_stands_may_stay_and_go_and_nothing_else_gets_in_without_the_webhook() {
    let world = World::own("size-before", InstallOptions::default()).await;
    let api = requests(&world, &world.alice);
    let admin = &world.admin.client;
    let gone = DeleteParams::default();
    Api::<MutatingWebhookConfiguration>::all(admin.clone()).delete("lapse", &gone).await.unwrap();
    Api::<ValidatingWebhookConfiguration>::all(admin.clone()).delete("lapse", &gone).await.unwrap();
    stored(&api, &claimed(&world, "small", json!({}), &json!({}))).await;

    // The admission policy alone.
    let post = PostParams::default();
    let rule = |values: usize, of: &str| {
        let names = vec![of; values];
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": names}])
    };
    let long = "x".repeat(512);
    let cases = [
        (json!({}), note(50_000), "metadata.annotations takes 50016 bytes"),
        (
            json!({}),
            json!({"annotations": entries(3000, 0)}),
            "metadata.annotations has 3000 entries",
        ),
        (json!({}), json!({"labels": entries(20_000, 1)}), "metadata.labels has 20000 entries"),
        (json!({}), json!({"labels": entries(32, 63)}), "metadata.labels takes 4320 bytes"),
        (
            json!({}),
            json!({"annotations": {"lapse.dev/attestation": "x".repeat(2000)}}),
            "never that large",
        ),
        (
            json!({"target": {"kubernetes": {"rules": rule(512, &long)}}}),
            json!({}),
            "the rules in its spec take more than 16384",
        ),
        (
            json!({"target": {"kubernetes": {"rules": vec![rule(512, "")[0].clone(); 32]}}}),
            json!({}),
            "the rules in its spec take more",
        ),
    ];
    for (spec, metadata, words) in cases {
        let large = claimed(&world, "large", spec, &metadata);
        held(api.create(&post, &large).await, words);
    }

    // Nor that: as an earlier release.
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin.clone());
    bindings.delete("lapse-size", &gone).await.unwrap();
    stored(&api, &claimed(&world, "large", json!({}), &note(200_000))).await;
    stored(&api, &claimed(&world, "larger", json!({}), &note(200_000))).await;
    world.lapse.upgrade(&[]).await.unwrap();
    let params = PatchParams::default();
    let with = async |bytes| {
        api.patch("large", &params, &Patch::Merge(json!({"metadata": note(bytes)}))).await
    };
    eventually("growth to be refused", SOON, async || {
        let grown = with(200_001).await;
        Ok(matches!(grown, Err(kube::Error::Api(status)) if status.message.contains("lapse-size"))
            .then_some(()))
    })
    .await
    .unwrap();
    eventually("what shrinks to be let through", SOON, async || Ok(Some(with(150_000).await?)))
        .await
        .unwrap();
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "shop"}}}));
    api.patch("large", &params, &labelled).await.unwrap();
    held(with(160_000).await, "metadata.annotations takes");

    // The controller reports on it, and Kubernetes' own take it away.
    let status = world.phase("large", RequestPhase::Denied).await;
    assert_eq!(status.conditions[0].reason, "NotAttested");
    for (name, policy) in
        [("large", PropagationPolicy::Foreground), ("larger", PropagationPolicy::Orphan)]
    {
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        api.delete(name, &params).await.unwrap();
        eventually("the request to go", SOON, async || {
            Ok(api.get_opt(name).await?.is_none().then_some(()))
        })
        .await
        .unwrap();
    }
}
