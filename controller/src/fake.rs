//! What unit tests need: an API server that answers as a test says, and rights that are held.

use std::io;
use std::sync::Arc;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_cluster::Reader;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::watch::Revision;
use lapse_crds::Grant;
use lapse_engine::attest::KeySet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::context::Context;
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::queue::Queue;
use crate::touched::Touched;

/// A client of an API server that answers each request with a status code and a body.
pub(crate) fn api_server<F>(
    answer: impl Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
) -> Client
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    reached_at_times(move |request| {
        let answer = answer(request);
        async move { Some(answer.await) }
    })
}

/// The same of one to which no connection can be made where there is no answer.
pub(crate) fn reached_at_times<F>(
    answer: impl Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
) -> Client
where
    F: Future<Output = Option<(u16, Value)>> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answer = answer(request);
        async move {
            let Some((code, body)) = answer.await else {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            };
            let body = Body::from(body.to_string().into_bytes());
            let answer = Response::builder().status(code).body(body);
            Ok(answer.expect("a code that there is"))
        }
    });
    Client::new(service, "default")
}

/// How the API server says no.
pub(crate) fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason,
        "details": {"name": "x"},
    });
    (code, status)
}

/// How it says that something is gone.
pub(crate) fn gone() -> (u16, Value) {
    (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
}

/// What events bear on, with nothing known yet.
pub(crate) fn touched() -> Touched {
    touched_by(Clock::default())
}

fn touched_by(clock: Clock) -> Touched {
    let settings = serde_json::from_value(json!({
        "namespace": "lapse-system", "bindableRoles": [], "grantableRules": [],
        "allowClusterWide": false, "protectedNamespaces": [],
        "duration": {"min": "5m", "max": "24h"},
        "controller": {"serviceAccount": "lapse-controller", "endsWorkloads": false},
    }))
    .unwrap();
    let (_, keys) = watch::channel(KeySet::default());
    let index = Index::new(settings, keys, true);
    Touched::new(Queue::new(clock.clone()), index, clock)
}

/// What reconcilers work with, in front of this API server.
pub(crate) fn context(client: Client) -> Context {
    let clock = Clock::default();
    let touched = touched_by(clock.clone());
    let (_, keys) = watch::channel(KeySet::default());
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let revision = Arc::new(Revision::new(|| ()).0);
    let (_, leadership) = Candidate::new(&client, "lapse-system", "me", &metrics, &revision);
    Context {
        reader: Reader::new(client.clone(), touched.index.clone(), keys),
        clock,
        leadership,
        notifier: Notifier::new(client, "me", Counter::default()).0,
        metrics,
        touched,
    }
}

/// A right that is held: by a binding of its name in the namespace `shop`, until then.
pub(crate) fn held(name: &str, until: &str) -> Grant {
    serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "1"},
        "spec": {
            "request": {"namespace": "shop", "name": name, "uid": format!("request-of-{name}")},
            "policy": {"name": "shop-debug", "uid": "p", "generation": 1},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "startsAt": "2026-01-01T00:00:00Z", "expiresAt": until, "rulesHash": "x",
        },
        "status": {
            "phase": "Active",
            "bindings": [
                {"kind": "RoleBinding", "namespace": "shop", "name": format!("lapse:{name}"), "uid": "b"},
            ],
        },
    }))
    .unwrap()
}
