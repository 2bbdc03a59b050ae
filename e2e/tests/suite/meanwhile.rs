//! A right that ends while it is being given, by another replica: what is stored after that does not stand.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::ListParams;
use lapse_crds::RequestPhase;
use lapse_e2e::plane::api_proxy::{Call, Fault};
use lapse_e2e::plane::proxy::{Behaviour, Proxy};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{SOON, World};

/// How long somebody else's webhook keeps a binding, after Lapse's own has let it through.
const KEPT: Duration = Duration::from_secs(2);

/// Has bindings in the namespace of this test wait for a webhook that never answers, and is done without.
async fn bindings_are_kept(world: &World, webhook: &Proxy) {
    webhook.set_behaviour(Behaviour::Hold);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "others"},
        "webhooks": [{
            "name": "bindings.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore", "timeoutSeconds": KEPT.as_secs(),
            "clientConfig": {"url": format!("https://127.0.0.1:{}", webhook.port())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.ns}},
            "rules": [{
                "apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["rolebindings"],
            }],
        }],
    });
    let apply = ["apply", "--filename", "-"];
    world.kubectl(&world.admin, &apply, Some(&configuration.to_string())).await.unwrap();
    let create = ["create", "rolebinding", "probe", "--clusterrole=view", "--user=probe"];
    let create = [&create[..], &["--dry-run=server", "--namespace", &world.ns]].concat();
    eventually("the webhook to be asked", SOON, async || {
        let begun = Instant::now();
        world.kubectl(&world.admin, &create, None).await?;
        Ok((begun.elapsed() >= KEPT).then_some(()))
    })
    .await
    .unwrap();
}

/// The binding is stored after the other replica saw that there is none, and before it has written that the right has
/// ended: nobody who looks at one of them finds anything wrong.
#[tokio::test]
async fn a_binding_that_is_stored_while_its_right_ends_goes_at_once() {
    let options =
        InstallOptions { controllers: 2, behind_proxy: true, ..InstallOptions::default() };
    let world = World::own("meanwhile", options).await;
    let webhook = Proxy::start().unwrap();
    bindings_are_kept(&world, &webhook).await;
    let api = world.lapse.api.as_ref().unwrap();
    let leader = world.leader().await;
    let says = move |by_leader: bool| {
        move |call: &Call| {
            let is_status = call.path.contains("/grants/") && call.path.ends_with("/status");
            is_status && call.is_write() && (call.caller == leader) == by_leader
        }
    };
    api.fault(Fault::Delay(KEPT + Duration::from_secs(3)), says(true));
    api.fault(Fault::Delay(KEPT + Duration::from_secs(1)), says(false));
    world.ask("fix", json!({})).await;
    world.phase("fix", RequestPhase::Pending).await;
    let grants = world.grants();
    world.approve(&world.bob, "fix").await.unwrap();
    let grant = eventually("a Grant", SOON, async || {
        let grants = grants.list(&ListParams::default()).await?.items;
        Ok(grants.into_iter().next().map(|grant| grant.name_any()))
    })
    .await
    .unwrap();
    world.decide(&world.bob, "fix", json!({"verdict": "Deny"})).await.unwrap();

    eventually("the binding to be stored", SOON, async || {
        Ok((!world.bindings().await.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    let stored = Instant::now();
    world.ended(&grant).await;
    let ended = Instant::now();
    eventually("the binding to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    println!("stored {:?} before the end was, gone {:?} after it", ended - stored, ended.elapsed());
    // The sweep would come on it, too, within twenty seconds.
    assert!(ended.elapsed() < Duration::from_secs(5));
    assert!(!world.can_write(&world.alice).await);
    world.phase("fix", RequestPhase::Ended).await;
}
