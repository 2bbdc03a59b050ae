//! The admission objects of the chart, as they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use lapse_engine::admission::AdmissionKind;
use serde::Serialize;
use serde_json::Value;

use crate::call::{CALL_LIMIT, CallError, bounded_by};

/// What every object of the chart is labelled with.
pub const OF_THE_CHART: &str = "app.kubernetes.io/part-of=lapse";
/// The name of both webhook configurations.
const WEBHOOKS: &str = "lapse";

/// What is said by each object, by its kind and name.
pub type StandingAdmission = BTreeMap<(AdmissionKind, String), Value>;

/// The webhook configurations, as far as there are any.
#[derive(Clone, Debug, Default)]
pub struct WebhookConfigurations {
    /// What stamps.
    pub mutating: Option<MutatingWebhookConfiguration>,
    /// What judges.
    pub validating: Option<ValidatingWebhookConfiguration>,
}

impl WebhookConfigurations {
    /// Reads both, for at most so long.
    pub async fn read(client: &Client, limit: Duration) -> Result<Self, CallError> {
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
        let (mutating, validating) = tokio::try_join!(
            bounded_by(limit, "reading what stamps", mutating.get_opt(WEBHOOKS)),
            bounded_by(limit, "reading what judges", validating.get_opt(WEBHOOKS)),
        )?;
        Ok(Self { mutating, validating })
    }

    /// Each webhook by its name, with where it is called and by which authority.
    pub fn calls(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
        let stamps = self.mutating.iter().flat_map(|found| found.webhooks.iter().flatten());
        let judges = self.validating.iter().flat_map(|found| found.webhooks.iter().flatten());
        let stamps = stamps.map(|webhook| (&*webhook.name, &webhook.client_config));
        stamps.chain(judges.map(|webhook| (&*webhook.name, &webhook.client_config)))
    }

    /// Both, as they are compared with what is expected.
    #[must_use]
    pub fn standing(&self) -> StandingAdmission {
        let mutating = self.mutating.as_ref().map(|found| {
            let key = (AdmissionKind::MutatingWebhookConfiguration, found.name_any());
            (key, by_name(found.webhooks.as_deref()))
        });
        let validating = self.validating.as_ref().map(|found| {
            let key = (AdmissionKind::ValidatingWebhookConfiguration, found.name_any());
            (key, by_name(found.webhooks.as_deref()))
        });
        mutating.into_iter().chain(validating).collect()
    }
}

/// What the API server holds of the chart's admission objects, as it is compared with what is expected.
pub async fn standing_admission(client: &Client) -> Result<StandingAdmission, CallError> {
    let (mut standing, webhooks) = tokio::try_join!(
        standing_policies(client, CALL_LIMIT),
        WebhookConfigurations::read(client, CALL_LIMIT),
    )?;
    standing.extend(webhooks.standing());
    Ok(standing)
}

/// The same of the admission policies and what enforces them, without the webhook configurations; each is listed for at most
/// so long.
pub async fn standing_policies(
    client: &Client,
    limit: Duration,
) -> Result<StandingAdmission, CallError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let ours = ListParams::default().labels(OF_THE_CHART);
    let (policies, bindings) = tokio::try_join!(
        bounded_by(limit, "listing the admission policies", policies.list(&ours)),
        bounded_by(limit, "listing what enforces them", bindings.list(&ours)),
    )?;
    let policies = policies.into_iter().map(|policy| {
        let key = (AdmissionKind::ValidatingAdmissionPolicy, policy.name_any());
        (key, json(policy.spec))
    });
    let bindings = bindings.into_iter().map(|binding| {
        let key = (AdmissionKind::ValidatingAdmissionPolicyBinding, binding.name_any());
        (key, json(binding.spec))
    });
    Ok(policies.chain(bindings).collect())
}

fn json(said: impl Serialize) -> Value {
    serde_json::to_value(said).unwrap_or_default()
}

/// The webhooks of a configuration by their names, without where they are called, which the webhook writes itself.
fn by_name<W: Serialize>(webhooks: Option<&[W]>) -> Value {
    let named = |webhook: &W| {
        let mut said = json(webhook);
        let fields = said.as_object_mut()?;
        fields.remove("clientConfig");
        let name = fields.remove("name")?.as_str()?.to_owned();
        Some((name, said))
    };
    webhooks.into_iter().flatten().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn webhooks_are_compared_by_name_and_not_by_where_they_are_called() {
        let webhook = |name: &str| {
            json!({
                "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": "https://127.0.0.1:1", "caBundle": "AAAA"},
            })
        };
        let mutating =
            json!({"metadata": {"name": "lapse"}, "webhooks": [webhook("stamp.lapse.dev")]});
        let validating = json!({"metadata": {"name": "lapse"}, "webhooks": [webhook("a.lapse.dev"), webhook("b.lapse.dev")]});
        let found = WebhookConfigurations {
            mutating: Some(serde_json::from_value(mutating).unwrap()),
            validating: Some(serde_json::from_value(validating).unwrap()),
        };
        let names: Vec<&str> = found.calls().map(|(name, _)| name).collect();
        assert_eq!(names, ["stamp.lapse.dev", "a.lapse.dev", "b.lapse.dev"]);
        let standing = found.standing();
        let rest = json!({"admissionReviewVersions": ["v1"], "sideEffects": "None"});
        let key = (AdmissionKind::ValidatingWebhookConfiguration, "lapse".to_owned());
        assert_eq!(standing[&key], json!({"a.lapse.dev": rest, "b.lapse.dev": rest}));
        assert_eq!(standing.len(), 2);
        assert!(WebhookConfigurations::default().standing().is_empty());
    }
}
