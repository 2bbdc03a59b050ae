//! Webhooks that die, keys that are lost, configurations that are reset: nothing gets in that should
//! not, and what can mend itself does.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use lapse_crds::{ATTESTATION, AccessRequest, JitPolicy};
use lapse_e2e::plane::eventually;
use lapse_e2e::plane::install::NAMESPACE;
use lapse_engine::attest::{Attestation, PublicKey};
use serde_json::{Value, json};

use crate::town::{SOON, Town, patch_cluster};

/// Creates a request as alice, as soon as that works.
async fn ask_soon(town: &Town, name: &str) -> AccessRequest {
    eventually("a request to be let in", SOON, async || {
        let request = town.request(name, &json!({}));
        let made = town.create::<AccessRequest>(&town.alice, &request).await;
        made.map(Some).map_err(anyhow::Error::msg)
    })
    .await
    .unwrap()
}

/// A request that is not signed with the key of this one. A webhook that has not read yet that its key was
/// replaced signs with it once more, in vain.
async fn signed_by_another(town: &Town, request: &AccessRequest) -> AccessRequest {
    eventually("a request signed with another key", SOON, async || {
        let name = format!("new-{}", getrandom::u32()?);
        let made =
            town.create::<AccessRequest>(&town.alice, &town.request(&name, &json!({}))).await;
        let made = made.map_err(anyhow::Error::msg)?;
        Ok((key_of(&made) != key_of(request)).then_some(made))
    })
    .await
    .unwrap()
}

fn key_of(request: &AccessRequest) -> String {
    let annotation = &request.metadata.annotations.as_ref().unwrap()[ATTESTATION];
    serde_json::from_str::<Attestation>(annotation).unwrap().key
}

async fn published(town: &Town) -> BTreeMap<String, PublicKey> {
    let maps: Api<ConfigMap> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    let data = maps.get("lapse-attestation-keys").await.unwrap().data.unwrap_or_default();
    data.into_iter().map(|(id, text)| (id, serde_json::from_str(&text).unwrap())).collect()
}

#[tokio::test]
async fn webhooks_come_and_go() {
    let town = Town::own("outages").await;
    let [first, second] = &town.lapse.webhooks[..] else { panic!("two webhooks") };

    // Both sign with one key.
    let key = key_of(&town.ask("one").await);
    first.process.kill();
    assert_eq!(key_of(&ask_soon(&town, "two").await), key);
    first.process.start().unwrap();
    first.ready().await.unwrap();
    let stopped = second.process.terminate(SOON).await.unwrap();
    assert!(stopped.success(), "{stopped:?}");
    assert_eq!(key_of(&ask_soon(&town, "three").await), key);
    let keys = published(&town).await;
    // Both may have made one at the start; only one was ever used.
    let in_force = keys.iter().filter(|(_, it)| it.retired_at.is_none());
    assert_eq!(in_force.map(|(id, _)| id).collect::<Vec<_>>(), [&key]);

    // Without any, nothing gets in.
    first.process.kill();
    let request = town.request("four", &json!({}));
    let error = town.create::<AccessRequest>(&town.alice, &request).await.unwrap_err();
    assert!(error.contains("failed calling webhook"), "{error}");
    let error = town.decide(&town.bob, "one", json!({})).await.unwrap_err();
    assert!(error.contains("failed calling webhook"), "{error}");
    let spec = json!({"spec": {"requesters": [{"kind": "User", "name": "mallory"}]}});
    let error = patch_cluster::<JitPolicy>(&town.admin.client, "outages", spec).await.unwrap_err();
    assert!(error.contains("failed calling webhook"), "{error}");

    // Started again, they go on where they were.
    second.process.start().unwrap();
    second.ready().await.unwrap();
    assert_eq!(key_of(&ask_soon(&town, "four").await), key);
    for name in ["one", "two", "three", "four"] {
        town.attested::<AccessRequest>(name).await.unwrap();
    }
}

#[tokio::test]
async fn lost_keys_are_replaced_and_what_they_signed_stands() {
    let town = Town::own("rotation").await;
    let secrets: Api<Secret> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    let old = town.ask("old").await;

    // The Secret is emptied: every key in it is distrusted from now on.
    let empty = json!([{"op": "remove", "path": "/data"}]);
    let empty: json_patch::Patch = serde_json::from_value(empty).unwrap();
    let params = PatchParams::default();
    secrets.patch("lapse-webhook-keys", &params, &Patch::Json::<()>(empty)).await.unwrap();
    let new = signed_by_another(&town, &old).await;
    eventually("the old key to be retired", SOON, async || {
        let keys = published(&town).await;
        let done =
            keys[&key_of(&old)].retired_at.is_some() && keys[&key_of(&new)].retired_at.is_none();
        Ok(done.then_some(()))
    })
    .await
    .unwrap();
    town.attested::<AccessRequest>("old").await.unwrap();
    town.attested::<AccessRequest>(&new.metadata.name.clone().unwrap()).await.unwrap();

    // The public key is taken away: it is never published again, and another takes its place.
    let maps: Api<ConfigMap> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    let taken = json!({"data": {key_of(&new): null}});
    maps.patch("lapse-attestation-keys", &params, &Patch::Merge(taken)).await.unwrap();
    eventually("a third key", SOON, async || {
        let keys = published(&town).await;
        let third = keys.iter().find(|(_, key)| key.retired_at.is_none());
        Ok(third.filter(|(id, _)| **id != key_of(&new)).map(drop))
    })
    .await
    .unwrap();
    assert!(!published(&town).await.contains_key(&key_of(&new)));
    let error =
        town.attested::<AccessRequest>(&new.metadata.name.clone().unwrap()).await.unwrap_err();
    assert!(error.contains("is not published"), "{error}");
    signed_by_another(&town, &new).await;

    // A reset configuration is mended, and an upgrade resets nothing.
    let reset = json!([
        {"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""},
        {"op": "replace", "path": "/webhooks/0/clientConfig/url",
         "value": format!("https://127.0.0.1:{}/unset/mutate", town.lapse.proxy.port())},
    ]);
    let reset: json_patch::Patch = serde_json::from_value(reset).unwrap();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(town.admin.client.clone());
    configurations.patch("lapse", &params, &Patch::Json::<()>(reset)).await.unwrap();
    ask_soon(&town, "after-the-reset").await;
    let before = configurations.get("lapse").await.unwrap().webhooks;
    town.lapse.upgrade(&["log.filter=debug"]).await.unwrap();
    assert_eq!(configurations.get("lapse").await.unwrap().webhooks, before);
    town.ask("after-the-upgrade").await;
}

/// Somebody deletes the webhook configurations: the admission policies still hold, and what gets in
/// when they are gone too is unsigned.
#[tokio::test]
async fn without_the_webhook_nothing_is_signed() {
    let town = Town::own("unguarded").await;
    let client = &town.admin.client;
    let params = DeleteParams::default();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let refused = async |name: &str, spec: Value, expected: &str| {
        eventually(expected, SOON, async || {
            let request = town.request(name, &spec);
            match town.create::<AccessRequest>(&town.alice, &request).await {
                Err(message) if message.contains(expected) => Ok(Some(())),
                Err(other) => Err(anyhow::Error::msg(other)),
                // The API server learns of the deletion a moment later.
                Ok(_) => Ok(town
                    .api::<AccessRequest>(&town.alice)
                    .delete(name, &params)
                    .await
                    .ok()
                    .and(None)),
            }
        })
        .await
        .unwrap();
    };
    let me = json!({"requester": {"username": "alice", "groups": ["shop-developers", "system:authenticated"]}});
    let olga = json!({"requester": {"username": "olga"}});

    mutating.delete("lapse", &params).await.unwrap();
    refused("plain", json!({}), "carries no stamp").await;
    refused("claim", me.clone(), "has not been stamped by Lapse").await;
    validating.delete("lapse", &params).await.unwrap();
    refused("other", olga.clone(), "spec.requester names olga, and you are alice").await;
    refused("plain", json!({}), "carries no stamp").await;

    // A name of one's own may be claimed; it is worth nothing without a signature.
    let request = town.request("claim", &me);
    let stored = eventually("the configuration to be gone", SOON, async || {
        let made = town.create::<AccessRequest>(&town.alice, &request).await;
        made.map(Some).map_err(anyhow::Error::msg)
    })
    .await
    .unwrap();
    assert_eq!(stored.metadata.annotations, None);
    assert!(town.attested::<AccessRequest>("claim").await.is_err());

    let policies: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    policies.delete_collection(&params, &ListParams::default()).await.unwrap();
    let request = town.request("forged", &olga);
    let stored = eventually("the policies to be gone", SOON, async || {
        let made = town.create::<AccessRequest>(&town.alice, &request).await;
        made.map(Some).map_err(anyhow::Error::msg)
    })
    .await
    .unwrap();
    assert_eq!(stored.spec.requester.unwrap().username, "olga");
    assert_eq!(stored.metadata.annotations, None);
    assert!(town.attested::<AccessRequest>("forged").await.is_err());
}
