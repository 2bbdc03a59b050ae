//! Whether the admission objects of the chart stand as it has them. Nothing can refuse that somebody changes one or
//! takes it away, who may write admission policies: the API server calls neither webhooks nor policies for them. So
//! it is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use lapse_cluster::{CallError, bounded};
use lapse_engine::admission::{AdmissionFaults, AdmissionKind, ExpectedAdmission, faults};
use serde::Serialize;
use serde_json::Value;
use tracing::{error, info};

/// What every object of the chart is labelled with.
const OF_THE_CHART: &str = "app.kubernetes.io/part-of=lapse";
/// The name of both webhook configurations.
const WEBHOOKS: &str = "lapse";

/// The admission objects that ought to stand, and what was last said of them.
pub(crate) struct Guards {
    expected: Vec<ExpectedAdmission>,
    told: AdmissionFaults,
}

type Standing = BTreeMap<(AdmissionKind, String), Value>;

impl Guards {
    /// Those that the chart wrote down in a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("reading admission objects {}", path.display()))?;
        let expected = serde_json::from_str(&text);
        let expected = expected.with_context(|| format!("admission objects {}", path.display()))?;
        Ok(Self { expected, told: AdmissionFaults::default() })
    }

    /// What is gone or changed. Says which, when that changes.
    pub(crate) async fn look(&mut self, client: &Client) -> Result<&AdmissionFaults, CallError> {
        let found = faults(&self.expected, &standing(client).await?);
        if found != self.told {
            let AdmissionFaults { missing, changed } = &found;
            if found == AdmissionFaults::default() {
                info!("every admission policy stands again");
            } else {
                error!(
                    ?missing,
                    ?changed,
                    "admission is not as the chart has it: delete what is changed, and run helm upgrade"
                );
            }
            self.told = found;
        }
        Ok(&self.told)
    }
}

/// What the API server holds.
async fn standing(client: &Client) -> Result<Standing, CallError> {
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
    let mut standing = Standing::new();
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
