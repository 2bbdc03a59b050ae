//! A right that ends while it is being given, by another replica: what is stored after that does not stand.

use std::time::Duration;

use kube::ResourceExt;
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
    // On a busy machine the Deny may come before the binding is asked for, which is refused then.
    let mut told = Vec::new();
    for name in ["fix", "again", "once-more"] {
        match denied_meanwhile(&world, name).await {
            Some(stood) => {
                println!("the binding was gone {stood:?} after the end");
                // The sweep would come on it, too, within twenty seconds.
                assert!(stood < Duration::from_secs(10), "{stood:?}");
                return;
            }
            None => told.push(name),
        }
    }
    panic!("no binding was stored of any of {told:?}");
}

/// Has a right denied while its binding is kept. Returns how long the binding stood after its Grant had ended, if it was
/// stored.
async fn denied_meanwhile(world: &World, name: &str) -> Option<Duration> {
    world.ask(name, json!({})).await;
    world.phase(name, RequestPhase::Pending).await;
    let known: Vec<String> = grants(world).await;
    world.approve(&world.bob, name).await.unwrap();
    let grant = eventually("a Grant", SOON, async || {
        Ok(grants(world).await.into_iter().find(|grant| !known.contains(grant)))
    })
    .await
    .unwrap();
    world.decide(&world.bob, name, json!({"verdict": "Deny"})).await.unwrap();
    let is_stored = eventually("the binding to be stored, or the end", SOON, async || {
        let is_stored = !world.bindings().await.is_empty();
        let has_ended = world.status(name).await.phase == RequestPhase::Ended;
        Ok((is_stored || has_ended).then_some(is_stored))
    })
    .await
    .unwrap();
    world.ended(&grant).await;
    let ended = Instant::now();
    eventually("the binding to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let stood = ended.elapsed();
    world.locked_out(&world.alice).await;
    world.phase(name, RequestPhase::Ended).await;
    is_stored.then_some(stood)
}

async fn grants(world: &World) -> Vec<String> {
    let grants = world.grants().list(&ListParams::default()).await.unwrap();
    grants.iter().map(ResourceExt::name_any).collect()
}
