//! The admission objects of the chart, as they stand.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use lapse_engine::admission::AdmissionKind;
use serde::Serialize;
use serde_json::Value;

use crate::call::{CallError, bounded};

/// What every object of the chart is labelled with.
const OF_THE_CHART: &str = "app.kubernetes.io/part-of=lapse";
/// The name of both webhook configurations.
pub const WEBHOOKS: &str = "lapse";

/// What is said by each object, by its kind and name.
pub type StandingAdmission = BTreeMap<(AdmissionKind, String), Value>;

/// What the API server holds of the chart's admission objects, as it is compared with what is expected.
pub async fn standing_admission(client: &Client) -> Result<StandingAdmission, CallError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let ours = ListParams::default().labels(OF_THE_CHART);
    let (policies, bindings, mutating, validating) = tokio::try_join!(
        bounded("listing the admission policies", policies.list(&ours)),
        bounded("listing what enforces them", bindings.list(&ours)),
        bounded("reading what stamps", mutating.get_opt(WEBHOOKS)),
        bounded("reading what judges", validating.get_opt(WEBHOOKS)),
    )?;
    let mut standing = StandingAdmission::new();
    for policy in policies {
        let key = (AdmissionKind::ValidatingAdmissionPolicy, policy.name_any());
        standing.insert(key, json(policy.spec));
    }
    for binding in bindings {
        let key = (AdmissionKind::ValidatingAdmissionPolicyBinding, binding.name_any());
        standing.insert(key, json(binding.spec));
    }
    if let Some(found) = mutating {
        let key = (AdmissionKind::MutatingWebhookConfiguration, found.name_any());
        let webhooks = found.webhooks.into_iter().flatten();
        standing
            .insert(key, webhooks.map(|webhook| (webhook.name.clone(), rest(webhook))).collect());
    }
    if let Some(found) = validating {
        let key = (AdmissionKind::ValidatingWebhookConfiguration, found.name_any());
        let webhooks = found.webhooks.into_iter().flatten();
        standing
            .insert(key, webhooks.map(|webhook| (webhook.name.clone(), rest(webhook))).collect());
    }
    Ok(standing)
}

fn json(said: impl Serialize) -> Value {
    serde_json::to_value(said).unwrap_or_default()
}

/// A webhook but for its name, and where it is called, which the webhook writes itself.
fn rest(webhook: impl Serialize) -> Value {
    let mut said = json(webhook);
    if let Value::Object(fields) = &mut said {
        fields.remove("name");
        fields.remove("clientConfig");
    }
    said
}
