//! What is taken of the installation where no cluster is asked.

use lapse_crds::JitPolicy;
use lapse_engine::Settings;

use crate::fault::Fault;

/// What the chart allows by default, and all that policies can offer.
const ASSUMED: &str = "\
namespace: lapse-system
bindableRoles: []
grantableRules: []
allowClusterWide: true
protectedNamespaces: [kube-*]
duration: {min: 5m, max: 24h}
controller: {serviceAccount: lapse-controller, endsWorkloads: true}
hasGateway: true
hostRequests: default
";

/// The settings of an installation that allows what these policies offer, and has the chart's defaults otherwise.
pub(crate) fn settings(policies: &[JitPolicy]) -> Result<Settings, Fault> {
    let mut settings: Settings = serde_saphyr::from_str(ASSUMED)
        .map_err(|error| Fault::Other(format!("the assumed settings: {error}")))?;
    let targets = policies.iter().flat_map(|policy| &policy.spec.targets);
    for target in targets.filter_map(|target| target.kubernetes.as_ref()) {
        settings.bindable_roles.extend(target.roles.iter().cloned());
        settings.grantable_rules.extend(target.rules.iter().cloned());
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chart's defaults are what is assumed.
    #[test]
    fn what_is_assumed_are_the_defaults_of_the_chart() {
        let values = include_str!("../../charts/lapse/values.yaml");
        let values: serde_json::Value = serde_saphyr::from_str(values).unwrap();
        let settings = settings(&[]).unwrap();
        assert_eq!(values["duration"]["min"], settings.duration.min.to_string());
        assert_eq!(values["duration"]["max"], settings.duration.max.to_string());
        assert_eq!(values["protectedNamespaces"], serde_json::json!(settings.protected_namespaces));
    }
}
