//! Where Lapse is installed, and the settings of it that people may read.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};
use lapse_engine::Settings;

use crate::fault::Fault;
use crate::session::Session;

/// Where the chart is installed unless something says otherwise.
pub(crate) const USUAL: &str = "lapse-system";
/// The config map of what the programs read at their start.
pub(crate) const SETTINGS: &str = "lapse-settings";
/// Its entry with what the installation allows.
pub(crate) const ALLOWED: &str = "settings.yaml";
/// What Helm writes on everything that it installs.
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// The config map of its settings, if there is one.
pub(crate) async fn settings(
    session: &Session,
    namespace: &str,
) -> Result<Option<ConfigMap>, Fault> {
    let api: Api<ConfigMap> = Api::namespaced(session.client.clone(), namespace);
    session.call("reading the settings of Lapse", api.get_opt(SETTINGS)).await
}

/// What the installation allows, or why that cannot be read.
pub(crate) fn allowed(map: &ConfigMap) -> Result<Settings, String> {
    serde_saphyr::from_str(entry(map, ALLOWED)).map_err(|error| error.to_string())
}

/// An entry of it; nothing if it is absent.
pub(crate) fn entry<'a>(map: &'a ConfigMap, key: &str) -> &'a str {
    map.data.as_ref().and_then(|data| data.get(key)).map_or("", String::as_str)
}

/// Its namespace, as far as the configuration of its webhooks says it.
pub(crate) fn namespace_of(configuration: &MutatingWebhookConfiguration) -> Option<String> {
    let by_helm = configuration.annotations().get(HELM_NAMESPACE).cloned();
    let mut webhooks = configuration.webhooks.iter().flatten();
    by_helm.or_else(|| {
        webhooks.find_map(|webhook| Some(webhook.client_config.service.as_ref()?.namespace.clone()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn helm_says_where_it_is_and_then_the_service() {
        let mut configuration: MutatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": {"name": "lapse", "annotations": {"meta.helm.sh/release-namespace": "jit"}},
            "webhooks": [{
                "name": "stamp.lapse.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"name": "lapse-webhook", "namespace": "access"}},
            }],
        }))
        .unwrap();
        assert_eq!(namespace_of(&configuration).as_deref(), Some("jit"));
        configuration.metadata.annotations = None;
        assert_eq!(namespace_of(&configuration).as_deref(), Some("access"));
        configuration.webhooks = None;
        assert_eq!(namespace_of(&configuration), None);
    }
}
