//! A cluster whose Lapse is of another release: what is not known is told, with both releases, and the rest goes on.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use lapse_e2e::plane::Answer;
use serde_json::{Value, json};

use super::assert_refused;
use super::between::Between;
use crate::world::World;

/// Of the workspace, as that of the programs.
const OURS: &str = env!("CARGO_PKG_VERSION");

impl World {
    /// What `kubectl jit` answers alice through what stands between.
    async fn jit_through(&self, between: &Between, args: &[&str]) -> Answer {
        let mut user = self.alice.clone();
        user.kubeconfig.clone_from(&between.kubeconfig);
        self.jit(&user, args).await
    }
}

fn said(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A request that is held, with this beside what it says.
fn request(name: &str, at: &str, value: Value) -> Value {
    let mut request = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {
            "name": name, "namespace": "jit-newer", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "requester": {"username": "anna"},
        },
        "status": {"phase": "Active", "expiresAt": "2100-01-01T00:00:00.000000Z"},
    });
    let (parent, field) = at.rsplit_once('/').unwrap();
    request.pointer_mut(parent).unwrap()[field] = value;
    request
}

fn tunnel() -> Value {
    request("tunnel", "/spec/target/kubernetes/tunnel", json!({"ports": [22]}))
}

/// What a newer Lapse has stored.
fn newer(method: &Method, uri: &Uri) -> Option<Response> {
    let path =
        uri.path().strip_prefix("/apis/lapse.dev/v1alpha1/namespaces/jit-newer/accessrequests")?;
    if method != Method::GET {
        return None;
    }
    let body = match path {
        "" => json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequestList", "metadata": {},
            "items": [
                request("plain", "/spec/reason", json!("It rains")),
                request("checked", "/status/checks", json!([{"name": "Weather", "outcome": "Pass", "message": "Dry"}])),
                request("paused", "/status/phase", json!("Paused")),
                tunnel(),
            ],
        }),
        "/tunnel" => tunnel(),
        _ => return None,
    };
    Some(said(StatusCode::OK, &body))
}

#[tokio::test]
async fn what_a_newer_one_has_stored_is_shown_as_far_as_it_is_known() {
    let world = World::shared("jit-newer").await;
    let between = Between::answering(&world.alice, newer).await;
    let list = world.jit_through(&between, &["list"]).await;
    assert!(list.success(), "{list:?}");
    for name in ["plain", "checked", "tunnel"] {
        assert!(list.stdout.contains(name), "{name}: {list:?}");
    }
    assert!(!list.stdout.contains("paused"), "{list:?}");
    let releases = format!(
        "the Lapse of this cluster is of release {OURS}, and this kubectl jit is of {OURS}"
    );
    for words in [
        "does not know all that 2 of these objects say, such as status.checks[0].name",
        "cannot read 1 of these objects, and leaves them out, such as AccessRequest paused (status.phase: unknown variant `Paused`)",
        &releases,
    ] {
        assert!(list.stderr.contains(words), "{words}: {list:?}");
    }
    // Nobody approves what they do not see.
    let refused = world.jit_through(&between, &["approve", "tunnel"]).await;
    let told = "request tunnel is not approved, as it asks for more than can be shown here (spec.target.kubernetes.tunnel): ";
    assert_refused(&refused, 1, &[told, &releases]);
}

/// What an older Lapse answers: it says nothing of what it offers, and does not know a field.
fn older(method: &Method, uri: &Uri) -> Option<Response> {
    let is_new = method == Method::POST && uri.path().ends_with("/accessrequests");
    let query = uri.query().filter(|_| is_new)?;
    if query.contains("dryRun") {
        let mut answer =
            request("offers", "/metadata/annotations", json!({"lapse.dev/offers": ""}));
        answer.as_object_mut().unwrap().remove("status");
        return Some(said(StatusCode::CREATED, &answer));
    }
    // By itself the API server would drop it.
    assert!(query.contains("fieldValidation=Strict"), "{query}");
    let message = "AccessRequest in version \"v1alpha1\" cannot be handled as a AccessRequest: strict decoding error: unknown \
                   field \"spec.target.endpoint.account\"";
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "BadRequest", "code": 400,
    });
    Some(said(StatusCode::BAD_REQUEST, &status))
}

#[tokio::test]
async fn what_an_older_one_does_not_know_is_refused_with_both_releases() {
    let world = World::shared("jit-older").await;
    let between = Between::answering(&world.alice, older).await;
    let releases =
        format!("does not say of which release it is, and this kubectl jit is of {OURS}");
    let refused = world.jit_through(&between, &["policies"]).await;
    assert_refused(&refused, 1, &["what policies offer you is not known", &releases]);
    let account = ["request", "--endpoint", "web-1", "--account", "enable"];
    let refused = world.jit_through(&between, &account).await;
    let told = "the Lapse of this cluster does not know spec.target.endpoint.account: ";
    assert_refused(&refused, 1, &[told, &releases]);
    let list = world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap();
    assert_eq!(list, "", "nothing was stored");
}

/// The real one knows what it does not know.
#[tokio::test]
async fn a_field_that_there_is_not_is_not_dropped() {
    let world = World::shared("jit-strict").await;
    let between = Between::of(&world.alice).await;
    let made = world.jit_through(&between, &["request", "edit", "--reason", "All is known"]).await;
    assert!(made.success() && !made.stderr.contains("unknown field"), "{made:?}");
}
