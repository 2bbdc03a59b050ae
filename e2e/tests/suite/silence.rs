//! What a webhook means that is dead, slow, answers rubbish or shows an expired certificate: for who holds
//! a right, and for everybody else. Nothing gets in by it, and nobody is locked out who holds no right.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::impersonation::impersonating;
use crate::rbac;
use crate::world::{SOON, World, refused, typed};

/// What answers in the place of the webhook.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Impostor {
    /// Nobody listens.
    Dead,
    /// It takes the call and says nothing.
    Slow,
    /// It answers, and not what was asked.
    Rubbish,
    /// It says yes to everything, under a certificate that has expired.
    Expired,
}

impl Impostor {
    /// What the API server says of it.
    fn complaint(self) -> &'static str {
        match self {
            Self::Dead => "connection refused",
            Self::Slow => "deadline exceeded",
            Self::Rubbish => "couldn't get version/kind",
            Self::Expired => "certificate has expired",
        }
    }
}

/// Says yes to a review, whatever it asks: the UID must be that of the question.
fn yes(request: &str) -> String {
    let body = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let review: Value = serde_json::from_str(body).unwrap_or_default();
    let response = json!({"uid": review["request"]["uid"], "allowed": true});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        .to_string()
}

/// Listens, and returns its port and the authority that it asks to be trusted.
async fn listen(kind: Impostor) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    if kind == Impostor::Expired {
        leaf.not_after = date_time_ymd(2020, 1, 1);
    }
    let leaf_key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    if kind == Impostor::Dead {
        return (port, root.pem());
    }
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 1 << 20];
                let read = stream.read(&mut request).await.unwrap_or_default();
                let body = match kind {
                    Impostor::Rubbish => "<html>It works!</html>".to_owned(),
                    _ => yes(&String::from_utf8_lossy(&request[..read])),
                };
                if kind == Impostor::Slow {
                    tokio::time::sleep(Duration::from_mins(2)).await;
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, root.pem())
}

/// Has the API server call somebody else.
async fn redirect<K>(client: &Client, port: u16, authority: &str)
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let standing = serde_json::to_value(api.get("lapse").await.unwrap()).unwrap();
    let entries = standing["webhooks"].as_array().unwrap().len();
    let replace = |index: usize| {
        let at = format!("/webhooks/{index}/clientConfig");
        let url = format!("https://127.0.0.1:{port}/");
        json!({"op": "replace", "path": at, "value": {"url": url, "caBundle": BASE64.encode(authority)}})
    };
    let patch: Value = (0..entries).map(replace).collect();
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    api.patch("lapse", &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_lets_nothing_in_and_locks_nobody_out() {
    let world = World::own("silence", InstallOptions::default()).await;
    let labels = json!({"lapse.dev/track-workloads": "true"});
    let namespace = json!({"name": world.ns, "labels": labels});
    world.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})).await;
    world.standing_admin("alice", &rbac::user(&world.alice.name)).await;
    world.standing_admin("mallory", &rbac::user(&world.mallory.name)).await;
    world.granted("fix", json!({})).await;
    world.marked(&world.alice, true).await;
    let admin = &world.admin.client;
    world.lapse.webhooks[0].process.kill();
    let (binding, words) = world.ways_to_stay().swap_remove(0);
    world.standing_admin("default", &rbac::account("default", "default")).await;
    let container = json!([{"name": "c", "image": "busybox"}]);
    let there = json!({"metadata": {"name": "there"}, "spec": {"containers": container}});
    let elsewhere: Api<Pod> = Api::namespaced(world.admin.client.clone(), "default");
    elsewhere.create(&PostParams::default(), &typed(there)).await.unwrap();
    let account = "system:serviceaccount:default:default";
    let elsewhere = impersonating(&world.mallory, account).await;

    for kind in [Impostor::Dead, Impostor::Slow, Impostor::Rubbish, Impostor::Expired] {
        let (port, authority) = listen(kind).await;
        redirect::<ValidatingWebhookConfiguration>(admin, port, &authority).await;
        redirect::<MutatingWebhookConfiguration>(admin, port, &authority).await;
        // Nobody asks, and nobody decides.
        let name = format!("{kind:?}").to_lowercase();
        let requests: Api<AccessRequest> = world.api(&world.mallory);
        let request = world.request(&name, json!({}));
        // The API server learns of another address a moment later.
        eventually("the API server to call somebody else", SOON, async || {
            let made = requests.create(&PostParams::default(), &request).await;
            let why = format!("{:?}", made.unwrap_err());
            assert!(why.contains("failed calling webhook"), "{kind:?}: {why}");
            Ok(why.contains(kind.complaint()).then_some(()))
        })
        .await
        .unwrap();
        refused(
            world.decide(&world.bob, "fix", json!({"verdict": "Deny"})).await,
            "failed calling webhook",
        );
        // The guard needs no webhook.
        refused(world.tries(&world.alice.client, &binding).await, words);
        // Who holds a right works on, but starts nothing that could not be marked.
        assert!(world.can_write(&world.alice).await, "{kind:?}");
        refused(world.starts(&world.alice, &name).await.map(drop), "started.lapse.dev");
        // Nobody else is asked anything.
        world.tries(&world.mallory.client, &binding).await.unwrap();
        world.tries(&elsewhere, &binding).await.unwrap();
        world.starts(&world.mallory, &name).await.unwrap();
        // Nor is anything entered that could not be recorded, but where nobody asked for that.
        let enter = ["exec", &name, "--", "id"];
        let said = world.enters(&world.alice, &enter).await;
        assert!(said.contains("entered.lapse.dev"), "{kind:?}: {said}");
        let said = world.enters_in("default", &world.alice, &["exec", "there", "--", "id"]).await;
        assert!(said.contains("does not have a host assigned"), "{kind:?}: {said}");
    }

    // Taking it back needs no webhook either.
    let grant = world.grant("fix").await.metadata.name.unwrap();
    let params = DeleteParams { propagation_policy: None, ..DeleteParams::default() };
    world.grants().delete(&grant, &params).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.marked(&world.alice, false).await;
    world.tries(&world.alice.client, &binding).await.unwrap();
}
