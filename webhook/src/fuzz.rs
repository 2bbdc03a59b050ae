//! The fuzz target of admission: from the body of a review to the answer, without a cluster.

use std::cell::LazyCell;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use chrono::DateTime;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionReview, Operation};
use lapse_cluster::clock;
use lapse_crds::{ATTESTATION, GRANT_LABEL, GRANT_UID};
use lapse_engine::attest::{KeySet, Subject, verify};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::entry::Webhook;
use crate::keys::Keys;
use crate::server::router_of_nobody;
use crate::testing;

/// Admission with keys of its own, and a cluster that does not answer.
struct Setup {
    runtime: Runtime,
    router: Router,
    keys: Arc<Keys>,
    key_set: KeySet,
}

impl Setup {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (keys, key_set) = testing::keys(DateTime::UNIX_EPOCH);
        let within = runtime.enter();
        let admission = Arc::new(testing::admission(keys.clone(), key_set.clone()));
        drop(within);
        Self { runtime, router: router_of_nobody(admission), keys, key_set }
    }

    fn post(&self, webhook: Webhook, body: &[u8]) -> (StatusCode, Vec<u8>) {
        let path = self.keys.path_to(webhook.verb());
        let request = Request::post(path.as_str()).body(Body::from(body.to_vec())).unwrap();
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = answer.into_parts();
            (parts.status, to_bytes(body, usize::MAX).await.unwrap().to_vec())
        })
    }

    fn check(&self, body: &[u8]) {
        for webhook in Webhook::ALL {
            let (status, answer) = self.post(webhook, body);
            if status != StatusCode::OK {
                assert_eq!(status, StatusCode::BAD_REQUEST, "refused in words, never by breaking");
                assert!(!answer.is_empty() && answer.len() < body.len() + 1024);
                continue;
            }
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            // What was answered was a review.
            let asked: Value = serde_json::from_slice(body).unwrap();
            let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body).unwrap();
            let request = review.request.unwrap();
            let response = &answer["response"];
            assert_eq!(response["uid"], asked["request"]["uid"], "the answer is to what was asked");
            if response["allowed"] != json!(true) {
                assert!(response["status"]["code"].as_u64().is_some_and(|code| code >= 400));
                assert_ne!(response["status"]["message"].as_str().unwrap_or_default(), "");
                assert_eq!(response.get("patch"), None, "what is refused is not changed");
            } else if webhook == Webhook::Stamp {
                assert_eq!(request.operation, Operation::Create);
                self.check_stamped(&asked["request"], response);
            } else if matches!(webhook, Webhook::Started | Webhook::Copied) {
                check_unmarked(&asked["request"], response);
            } else {
                assert_eq!(response.get("patch"), None, "nothing else changes anything");
            }
        }
    }

    /// What is stamped and let through carries a patch that applies, a stamp that is the caller, and a signature
    /// only if it is to be stored.
    fn check_stamped(&self, request: &Value, response: &Value) {
        let mut object = request["object"].clone();
        if !apply(&mut object, response) && !object["spec"].is_object() {
            // The schema refuses it, and nobody gets what the client claims of itself.
            return;
        }
        let annotation = object["metadata"]["annotations"][ATTESTATION].as_str();
        let is_dry_run = request["dryRun"] == json!(true);
        assert!(!is_dry_run || annotation.is_none(), "dry runs are not signed");
        let Some(annotation) = annotation else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&request["kind"]["kind"]);
        assert_eq!(kind, "AccessRequest", "a decision is judged by what is stored, and nothing is");
        assert_eq!(object["spec"]["requester"]["username"], request["userInfo"]["username"]);
        let (name, generate_name) =
            (text(&object["metadata"]["name"]), text(&object["metadata"]["generateName"]));
        // A name that is to be generated is not known here.
        if name.is_empty() {
            return;
        }
        let subject = Subject {
            kind: &kind,
            namespace: &text(&request["namespace"]),
            name: &name,
            generate_name: &generate_name,
            spec: &object["spec"],
        };
        let verified = verify(&self.key_set, &subject, Some(annotation), clock::now());
        assert!(verified.is_ok(), "what is signed verifies: {verified:?}");
    }
}

/// Applies the patch of an answer, if it has one.
fn apply(object: &mut Value, response: &Value) -> bool {
    let Some(patch) = response.get("patch") else { return false };
    let patch: Vec<u8> = serde_json::from_value(patch.clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    // The API server's own object has these, as every object does.
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    json_patch::patch(object, &patch).unwrap();
    true
}

/// What is not started under a right loses every mark of one.
fn check_unmarked(request: &Value, response: &Value) {
    let mut object = request["object"].clone();
    apply(&mut object, response);
    // Those of a pod whose ephemeral containers are written are not the client's to write.
    if request["subResource"] != json!("ephemeralcontainers") {
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"].get(GRANT_LABEL), None);
        assert_eq!(metadata["annotations"].get(GRANT_UID), None);
    }
}

#[test]
fn review() {
    thread_local! {
        static SETUP: LazyCell<Setup> = LazyCell::new(Setup::new);
    }
    lapse_fuzz::fuzz!("review", |body: &[u8]| SETUP.with(|setup| setup.check(body)));
}

/// Without this the target could agree with everything.
#[test]
fn a_request_of_the_corpus_is_stamped_and_signed() {
    let setup = Setup::new();
    let body = include_bytes!("__fuzz__/review/corpus/request.json");
    let (status, answer) = setup.post(Webhook::Stamp, body);
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let patch: Vec<u8> = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains("requester") && patch.contains("attestation"), "{patch}");
}
