//! Reviews that the API server did not send: the webhook's port is open to whoever reaches it.

use std::net::SocketAddr;

use http::{Request, Uri};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use lapse_crds::{ATTESTATION, AccessDecision, AccessRequest, RequestPhase};
use lapse_e2e::plane::User;
use lapse_engine::attest::Attestation;
use serde_json::{Value, json};

use crate::world::{World, refused, typed};

/// Posts a review to the webhook as a pod could: by its address, without a client certificate.
async fn post(address: SocketAddr, path: &str, review: &Value) -> kube::Result<Value> {
    let uri: Uri = format!("https://{address}").parse().unwrap();
    let mut config = Config::new(uri);
    config.accept_invalid_certs = true;
    let client = Client::try_from(config)?;
    let request = Request::post(path).header("content-type", "application/json");
    client.request(request.body(review.to_string().into_bytes()).unwrap()).await
}

/// A review that says that this person makes this object here.
fn review(world: &World, who: &User, kind: &str, object: &Value) -> Value {
    let kind = json!({"group": "lapse.dev", "version": "v1alpha1", "kind": kind});
    let resource = json!({"group": "lapse.dev", "version": "v1alpha1", "resource": "any"});
    let extra = json!({"authentication.kubernetes.io/credential-id": ["X509SHA256=00"]});
    let groups = [format!("{}-developers", world.ns), format!("{}-managers", world.ns)];
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": kind, "resource": resource, "namespace": world.ns, "operation": "CREATE",
        "name": object["metadata"]["name"], "object": object, "dryRun": false,
        "userInfo": {"username": who.name, "groups": groups, "extra": extra},
    }})
}

/// The object as the webhook would have it stored.
fn signed(object: &Value, answer: &Value) -> Value {
    assert_eq!(answer["response"]["allowed"], json!(true), "{answer}");
    let patch: Vec<u8> = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).unwrap();
    object
}

fn nonce(object: &Value) -> String {
    let annotation = object["metadata"]["annotations"][ATTESTATION].as_str().unwrap();
    serde_json::from_str::<Attestation>(annotation).unwrap().nonce
}

/// Who does not know the path gets nothing, and is counted. Who does (from a webhook configuration that leaked)
/// gets a signature: what it says is stored for whom it names alone.
#[tokio::test]
async fn a_review_that_somebody_posts_gives_nothing() {
    let world = World::shared("posted").await;
    world.ask("fix", json!({})).await;
    let webhook = &world.lapse.webhooks[0];
    let address = webhook.served.unwrap();
    let wrong_paths =
        async || webhook.counted("lapse_webhook_wrong_path_requests_total", &[]).await.unwrap();

    let asked = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "mine", "namespace": "posted"},
        "spec": world.request("mine", json!({})).spec,
    });
    let approved = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "mine", "namespace": "posted"},
        "spec": {"request": {"name": "fix"}, "verdict": "Approve"},
    });
    let by_alice = review(&world, &world.alice, "AccessRequest", &asked);
    let by_bob = review(&world, &world.bob, "AccessDecision", &approved);
    let before = wrong_paths().await;
    for path in ["/mutate", "/", "/0000/mutate"] {
        let error = post(address, path, &by_alice).await.unwrap_err();
        assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{error}");
    }
    assert!(wrong_paths().await >= before + 3.0);

    let configurations: Api<MutatingWebhookConfiguration> = Api::all(world.admin.client.clone());
    let configuration = configurations.get("lapse").await.unwrap();
    let url = configuration.webhooks.unwrap()[0].client_config.url.clone().unwrap();
    let path = url.parse::<Uri>().unwrap().path().to_owned();
    let asked = signed(&asked, &post(address, &path, &by_alice).await.unwrap());
    let approved = signed(&approved, &post(address, &path, &by_bob).await.unwrap());

    let api: Api<AccessRequest> = world.api(&world.mallory);
    let made = api.create(&PostParams::default(), &typed(asked.clone())).await.unwrap();
    assert_eq!(made.spec.requester.as_ref().unwrap().username, world.mallory.name);
    assert_ne!(nonce(&serde_json::to_value(&made).unwrap()), nonce(&asked), "it was signed anew");
    world.phase("mine", RequestPhase::Denied).await;
    let api: Api<AccessDecision> = world.api(&world.mallory);
    let made = api.create(&PostParams::default(), &typed(approved)).await;
    refused(made.map_err(Into::into), "is not an approver");
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending);
    assert!(!world.can_write(&world.alice).await);
    assert!(!world.can_write(&world.mallory).await);
}
