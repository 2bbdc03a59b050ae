//! Fixtures of the tests: keys, an admission that knows them, and what the API server sends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use kube::core::admission::AdmissionReview;
use kube::{Client, Config};
use lapse_cluster::index::Index;
use lapse_cluster::{Reader, clock};
use lapse_engine::attest::KeySet;
use lapse_engine::{ControllerSettings, InstallationBounds, Settings};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::admission::Admission;
use crate::asked::Request;
use crate::keeper::State;
use crate::keys::{self, Keys, Material, Standing, Stored};
use crate::metrics::Metrics;
use crate::stamp;

/// The time in the tests.
pub(crate) fn now() -> DateTime<Utc> {
    at("2026-11-21T12:00:00Z")
}

pub(crate) fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// Everything, made at this time for these names.
pub(crate) fn material(names: &[&str], now: DateTime<Utc>) -> Material {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let stored = Stored::default();
    let (webhook, gateway) = (keys::normalize(&names), BTreeSet::new());
    let names = keys::Names { webhook: &webhook, gateway: &gateway };
    let renewal = keys::next(&stored, Standing::Absent, names, now).unwrap();
    keys::make(stored, &renewal, now).unwrap()
}

/// Keys for 127.0.0.1, and the set that verifies what they sign.
pub(crate) fn keys(now: DateTime<Utc>) -> (Arc<Keys>, KeySet) {
    let material = material(&["127.0.0.1"], now);
    let mut published = BTreeMap::new();
    keys::publish(&mut published, &material.signing.verifying_key(), now).unwrap();
    let (key_set, errors) = KeySet::read(&published);
    assert!(errors.is_empty(), "{errors:?}");
    (Arc::new(Keys::new(material).unwrap()), key_set)
}

pub(crate) fn settings() -> Settings {
    Settings {
        namespace: "lapse-system".into(),
        bindable_roles: Vec::new(),
        grantable_rules: Vec::new(),
        allow_cluster_wide: false,
        protected_namespaces: Vec::new(),
        duration: InstallationBounds { min: "5m".parse().unwrap(), max: "24h".parse().unwrap() },
        controller: ControllerSettings {
            service_account: "lapse-controller".into(),
            ends_workloads: false,
        },
        has_gateway: false,
        host_requests: Some("shop".into()),
    }
}

/// Admission with these keys, and a cluster that does not answer.
pub(crate) fn admission(keys: Arc<Keys>, key_set: KeySet) -> Admission {
    let nowhere = Config::new("http://127.0.0.1:1/".parse().unwrap());
    admission_of(Client::try_from(nowhere).unwrap(), keys, key_set)
}

/// Admission with these keys, in the cluster of this client.
pub(crate) fn admission_of(client: Client, keys: Arc<Keys>, key_set: KeySet) -> Admission {
    let (key_set_sender, key_set) = watch::channel(key_set);
    let index = Index::new(settings(), key_set.clone(), false);
    let reader = Reader::new(client, index, key_set);
    let metrics = Metrics::new(&mut Registry::default());
    Admission::new(reader, key_set_sender, state(keys), metrics)
}

/// The same, with keys that are made now.
pub(crate) fn signing() -> Admission {
    let (keys, key_set) = keys(clock::now());
    admission(keys, key_set)
}

/// The request of alice as it is stored after stamping, with what the API server adds.
pub(crate) async fn stamped(admission: &Admission) -> Value {
    let mut object = access_request();
    let admitted = stamp::request(admission, &request(&object, &json!({}))).await.unwrap();
    json_patch::patch(&mut object, &admitted.patch.unwrap()).unwrap();
    object["metadata"]["creationTimestamp"] = json!(clock::now().to_rfc3339());
    object
}

/// Keys in force.
pub(crate) fn state(keys: Arc<Keys>) -> watch::Receiver<Option<State>> {
    watch::channel(Some(State::of(keys, now()))).1
}

/// A review as the API server sends it: alice creates `object`; `change` is merged over it.
pub(crate) fn review(object: &Value, change: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = format!("{}s", kind.to_lowercase());
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4",
            "kind": {"group": "lapse.dev", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "lapse.dev", "version": "v1alpha1", "resource": plural},
            "name": object["metadata"]["name"].as_str().unwrap_or_default(),
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "alice",
                "uid": "a-1",
                "groups": ["shop-developers", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=abc"]},
            },
            "object": object,
            "oldObject": null,
            "dryRun": false,
        },
    });
    json_patch::merge(&mut review["request"], change);
    review
}

/// The request of a review.
pub(crate) fn request(object: &Value, change: &Value) -> Request {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_value(review(object, change)).unwrap();
    review.try_into().unwrap()
}

/// What alice asks for.
pub(crate) fn access_request() -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1",
        "kind": "AccessRequest",
        "metadata": {"name": "fix-checkout", "namespace": "shop"},
        "spec": {
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "duration": "1h",
            "reason": "Checkout fails for EU cards",
        },
    })
}
