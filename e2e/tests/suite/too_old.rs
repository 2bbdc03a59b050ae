//! A cluster that says that it is too old for Lapse, however Lapse came to run there.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::response::{IntoResponse as _, Response};
use kube::client::Body;
use kube::{Client, ResourceExt as _};
use lapse_crds::{EndReason, RequestPhase};
use lapse_e2e::plane::{InstallOptions, Process, eventually, http_status};
use serde_json::json;
use tokio::net::TcpListener;

use crate::world::{SOON, World};

/// The API server as a service account sees it, but for what it says of its version: 1 and this number.
async fn with_version(client: Client, minor: Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .fallback(move |request: Request| answer(client.clone(), Arc::clone(&minor), request));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(client: Client, minor: Arc<AtomicU32>, request: Request) -> Response {
    if request.uri().path() == "/version" {
        let minor = minor.load(Ordering::Relaxed).to_string();
        let mut version = json!({"major": "1", "minor": minor, "compiler": "", "platform": ""});
        for field in ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"] {
            version[field] = json!("");
        }
        return ([(CONTENT_TYPE, "application/json")], version.to_string()).into_response();
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(HOST);
    parts.headers.remove(AUTHORIZATION);
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let answer = client.send(Request::from_parts(parts, Body::from(body))).await.unwrap();
    answer.map(axum::body::Body::new)
}

#[tokio::test]
async fn nothing_is_given_and_what_was_given_ends() {
    let world = World::own("too-old", InstallOptions::default()).await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await.name_any();
    let controller = &world.lapse.controllers[0];
    controller.process.terminate(SOON).await.unwrap();
    let plane = world.lapse.plane();
    let account = plane.service_account("lapse-system", "lapse-controller").await.unwrap();
    let minor = Arc::new(AtomicU32::new(31));
    let server = with_version(account.client, Arc::clone(&minor)).await;
    let kubeconfig = plane.folder().join("too-old.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lapse",
        "clusters": [{"name": "lapse", "cluster": {"server": format!("http://{server}")}}],
        "contexts": [{"name": "lapse", "context": {"cluster": "lapse", "user": "lapse"}}],
        "users": [{"name": "lapse", "user": {}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let mut spec = controller.process.spec().clone();
    spec.name = "too-old".to_owned();
    spec.log = plane.folder().join("logs/too-old.log");
    spec.env.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
    let process = Process::spawn(spec).unwrap();

    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    eventually("it to be said", SOON, async || {
        let log = fs::read_to_string(&process.spec().log)?;
        let words = ["nothing is granted in this cluster", "Kubernetes 1.31, and Lapse needs 1.32"];
        Ok(words.iter().all(|words| log.contains(words)).then_some(()))
    })
    .await
    .unwrap();
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    let ended = world.ended(&held).await.status.unwrap();
    assert_eq!(ended.end_reason, Some(EndReason::EndedByRequester));
    world.locked_out(&world.alice).await;
    assert!(controller.counted("lapse_leader", &[]).await.unwrap().abs() < 0.5);
    assert_ne!(http_status(controller.metrics, "/readyz").await.unwrap(), 200);
    assert_eq!(world.status("fix").await.grant, None);

    // It is upgraded.
    minor.store(32, Ordering::Relaxed);
    world.phase("fix", RequestPhase::Active).await;
    eventually("it to be ready", SOON, async || {
        Ok((http_status(controller.metrics, "/readyz").await? == 200).then_some(()))
    })
    .await
    .unwrap();
    process.terminate(SOON).await.unwrap();
}
