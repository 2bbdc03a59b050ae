//! Whether the admission policies of the chart stand. Nothing can refuse that somebody takes one away, who may
//! write admission policies: the API server calls neither webhooks nor policies for them. So it is noticed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use lapse_cluster::{CallError, bounded};
use tracing::{error, info};

/// What every object of the chart is labelled with.
const OF_THE_CHART: &str = "app.kubernetes.io/part-of=lapse";

/// The admission policies that ought to stand, and what was last said of them.
pub(crate) struct Guards {
    expected: Vec<String>,
    missing: BTreeSet<String>,
}

impl Guards {
    /// These ought to stand.
    pub(crate) fn new(expected: Vec<String>) -> Self {
        Self { expected, missing: BTreeSet::new() }
    }

    /// How many of them do not, or are not enforced. Says which, when that changes.
    pub(crate) async fn missing(&mut self, client: &Client) -> Result<usize, CallError> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        let of_the_chart = ListParams::default().labels(OF_THE_CHART);
        let (policies, bindings) = tokio::try_join!(
            bounded("listing the admission policies", policies.list_metadata(&of_the_chart)),
            bounded("listing what enforces them", bindings.list(&of_the_chart)),
        )?;
        let standing = policies.items.iter().map(kube::ResourceExt::name_any).collect();
        let enforced = bindings.items.iter().map(|binding| (binding.name_any(), enforces(binding)));
        let missing = without(&self.expected, &standing, &enforced.collect());
        if missing != self.missing {
            if missing.is_empty() {
                info!("every admission policy stands again");
            } else {
                error!(?missing, "admission policies do not stand: install the chart again");
            }
            self.missing.clone_from(&missing);
        }
        Ok(missing.len())
    }
}

/// Whether a binding puts the policy of its name to work, everywhere.
fn enforces(binding: &ValidatingAdmissionPolicyBinding) -> bool {
    binding.spec.as_ref().is_some_and(|spec| {
        spec.policy_name.as_ref() == binding.metadata.name.as_ref()
            && spec.match_resources.is_none()
            && spec.validation_actions.as_ref().is_some_and(|actions| !actions.is_empty())
    })
}

fn without(
    expected: &[String],
    standing: &BTreeSet<String>,
    enforced: &BTreeMap<String, bool>,
) -> BTreeSet<String> {
    let is_missing =
        |name: &&String| !standing.contains(*name) || enforced.get(*name) != Some(&true);
    expected.iter().filter(is_missing).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_needs_what_enforces_it() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = names(&["a", "b", "c", "d"]);
        let standing = names(&["a", "b", "c"]).into_iter().collect();
        let enforced = [("a", true), ("b", false), ("d", true)];
        let enforced = enforced.map(|(name, is)| (name.to_owned(), is)).into_iter().collect();
        let missing = without(&expected, &standing, &enforced);
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["b", "c", "d"]);
    }
}
