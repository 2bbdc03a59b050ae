//! What stands between `kubectl jit` and the API server: it passes on what one person calls, and holds what it is told to.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{Method, Uri};
use axum::response::Response;
use kube::Client;
use kube::client::Body;
use lapse_e2e::plane::{User, eventually};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::SOON;

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It never arrives.
    Call,
    /// It takes effect, and is never answered.
    Answer,
}

type When = fn(&Method, &Uri) -> bool;
/// Answers in the API server's place, if it does.
type Instead = fn(&Method, &Uri) -> Option<Response>;

struct Shared {
    client: Client,
    rule: Mutex<Option<(Held, When)>>,
    instead: Instead,
    held: watch::Sender<usize>,
}

pub(super) struct Between {
    /// A kubeconfig of this person that leads here.
    pub(super) kubeconfig: PathBuf,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Between {
    /// Passes everything on.
    pub(super) async fn of(user: &User) -> Self {
        Self::answering(user, |_, _| None).await
    }

    /// Passes on what it does not answer itself.
    pub(super) async fn answering(user: &User, instead: Instead) -> Self {
        let held = watch::Sender::new(0);
        let (client, rule) = (user.client.clone(), Mutex::new(None));
        let shared = Arc::new(Shared { client, rule, instead, held });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&shared);
        let router =
            Router::new().fallback(move |request: Request| answer(Arc::clone(&serving), request));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
            "users": [{"name": "here", "user": {}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { kubeconfig, shared, server, _folder: folder }
    }

    /// Holds the calls of which `when` says so, from now on.
    pub(super) fn hold(&self, what: Held, when: When) {
        *self.shared.rule.lock().unwrap() = Some((what, when));
    }

    /// Passes on what comes from now on. What is held stays so.
    pub(super) fn heal(&self) {
        *self.shared.rule.lock().unwrap() = None;
    }

    /// Waits until so many calls are held.
    pub(super) async fn holds(&self, count: usize) {
        let held = self.shared.held.subscribe();
        eventually("a call to be held", SOON, async || Ok((*held.borrow() >= count).then_some(())))
            .await
            .unwrap();
    }
}

async fn answer(shared: Arc<Shared>, request: Request) -> Response {
    if let Some(answer) = (shared.instead)(request.method(), request.uri()) {
        return answer;
    }
    let rule = *shared.rule.lock().unwrap();
    let held = rule.filter(|(_, when)| when(request.method(), request.uri())).map(|(held, _)| held);
    if held == Some(Held::Call) {
        return hold(&shared).await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(HOST);
    parts.headers.remove(AUTHORIZATION);
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let answer = shared.client.send(Request::from_parts(parts, Body::from(body))).await.unwrap();
    if held == Some(Held::Answer) {
        return hold(&shared).await;
    }
    answer.map(axum::body::Body::new)
}

async fn hold(shared: &Shared) -> Response {
    shared.held.send_modify(|count| *count += 1);
    std::future::pending().await
}
