//! An API server for tests, by what it answers to each call.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::Layer as _;

use crate::session::{Session, beginning};

/// What a call asks for.
pub(crate) struct Asked {
    pub(crate) path: String,
    query: String,
}

impl Asked {
    /// A parameter of the query, as it is written there.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = self.query.split('&').filter_map(|pair| pair.split_once('='));
        parameters.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    }

    /// The last part of the path: the name of an object, or the kind of a list.
    pub(crate) fn last(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// A session in namespace `shop` with an API server that answers so, or never where that is `None`. People wait for at most
/// so many seconds.
pub(crate) fn session(
    seconds: u64,
    answer: impl Fn(&Asked) -> Option<Value> + Send + 'static,
) -> Session {
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default().to_owned();
        let answer = answer(&Asked { path: uri.path().to_owned(), query });
        async move {
            let Some(body) = answer else { return std::future::pending().await };
            let code = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let response = Response::builder().status(code.unwrap_or(200));
            let response = response.body(Body::from(body.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let limit = Duration::from_secs(seconds);
    Session::testing(Client::new(beginning(limit).layer(service), "shop"), limit)
}

/// That the state of a list is not kept any more, and what asks for the rest of it, if that is offered.
pub(crate) fn expired(rest: Option<&str>) -> Value {
    let message = "the continue token is too old";
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
        "message": message, "metadata": {"continue": rest},
    })
}

/// That a call is refused, or fails.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message,
    })
}

/// A page of a list, and what asks for the next.
pub(crate) fn page(items: &[Value], next: &str) -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": next}, "items": items})
}

/// A request that alice made at the end of 2025, for this target.
pub(crate) fn request(name: &str, target: &Value) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"),
            "creationTimestamp": "2025-12-31T12:00:00Z",
        },
        "spec": {
            "target": target, "duration": "10m", "reason": "Checkout fails",
            "requester": {"username": "alice", "groups": ["developers"]},
        },
    })
}
