//! A store with a request and what was said about it, and what was seen of that.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_engine::attest::KeySet;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::index::{Index, all_is_listed, testing_settings};
use crate::watch::Revision;
use crate::{Reader, Stored};

pub(crate) fn metadata(name: &str, version: &str) -> Value {
    json!({
        "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"),
        "resourceVersion": version, "creationTimestamp": "2026-11-28T10:00:00Z",
    })
}

pub(crate) fn request(version: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest", "metadata": metadata("fix", version),
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "reason": "Checkout fails", "requester": {"username": "alice", "groups": []},
        },
    })
}

pub(crate) fn approval(name: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision", "metadata": metadata(name, "8"),
        "spec": {"request": {"name": "fix", "uid": "uid-of-fix"}, "verdict": "Approve"},
    })
}

/// An API server whose store has these objects, by the last part of their path, and nothing else.
pub(crate) fn api_server(stored: Vec<(&'static str, Value)>) -> Client {
    api_server_telling(stored, |_| {})
}

/// The same, which tells what it is asked.
pub(crate) fn api_server_telling(
    stored: Vec<(&'static str, Value)>,
    tell: impl Fn(&Request<Body>) + Send + 'static,
) -> Client {
    let service = tower::service_fn(move |asked: Request<Body>| {
        tell(&asked);
        let last = asked.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let found = stored.iter().find(|(name, _)| *name == last);
        let (code, body) = found.map_or_else(
            || {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": "not found", "details": {"name": last},
                });
                (404, status)
            },
            |(_, object)| (200, object.clone()),
        );
        let body = Body::from(body.to_string().into_bytes());
        let answer = Response::builder().status(code).body(body).unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    Client::new(service, "default")
}

pub(crate) fn stored<K: serde::de::DeserializeOwned>(object: &Value) -> Stored<K> {
    serde_json::from_str(&object.to_string()).unwrap()
}

/// A reader whose index has seen a request in version 7 and two approvals.
pub(crate) fn reader(client: Client) -> Reader {
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(testing_settings(), keys.clone(), true);
    all_is_listed(&index);
    index.apply_request(&stored(&request("7")));
    for name in ["yes", "also"] {
        index.apply_decision(&stored(&approval(name)));
    }
    let revision = Revision::new({
        let index = index.clone();
        move || index.doubt()
    });
    Reader::new(client, index, keys).noticing(Arc::new(revision.0))
}
