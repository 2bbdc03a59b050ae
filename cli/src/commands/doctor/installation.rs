//! Where Lapse is installed, and with which settings.

use lapse_cluster::WebhookConfigurations;
use lapse_engine::Settings;
use lapse_engine::admission::ExpectedAdmission;

use super::finding::{Check, Finding};
use crate::fault::Fault;
use crate::installation::{self, ALLOWED, SETTINGS, USUAL, allowed, entry};
use crate::session::Session;

/// The webhook configurations, which several checks are about.
pub(super) type Webhooks = Result<WebhookConfigurations, Fault>;

/// What is known of the installation.
pub(super) struct Installation {
    pub(super) namespace: String,
    /// What it allows, if that could be read.
    pub(super) settings: Option<Settings>,
    /// The admission objects of its chart, if they could be read.
    pub(super) expected: Option<Vec<ExpectedAdmission>>,
}

/// Finds it: where it is named, or where Helm says that it has installed the webhook.
pub(super) async fn find(
    session: &Session,
    webhooks: &Webhooks,
    named: Option<&str>,
) -> (Installation, Vec<Finding>) {
    let (namespace, mut found) = match named {
        Some(name) => (name.to_owned(), Vec::new()),
        None => match installed_in(webhooks) {
            Ok(namespace) => (namespace.unwrap_or_else(|| USUAL.to_owned()), Vec::new()),
            Err(finding) => (USUAL.to_owned(), vec![finding]),
        },
    };
    let mut installation = Installation { namespace, settings: None, expected: None };
    match settings(session, &installation.namespace).await {
        Ok((settings, expected)) => {
            let message = format!("Lapse is installed in namespace {}", installation.namespace);
            found.push(Check::Installation.ok(message));
            installation.settings = Some(settings);
            installation.expected = Some(expected);
        }
        Err(finding) => found.push(finding),
    }
    (installation, found)
}

fn installed_in(webhooks: &Webhooks) -> Result<Option<String>, Finding> {
    let what = "read MutatingWebhookConfigurations, so namespace lapse-system is assumed";
    let right = "get on mutatingwebhookconfigurations, or name the namespace with --installation";
    let webhooks = webhooks.as_ref();
    let webhooks = webhooks.map_err(|fault| Check::Installation.unread(what, right, fault))?;
    Ok(webhooks.mutating.as_ref().and_then(installation::namespace_of))
}

async fn settings(
    session: &Session,
    namespace: &str,
) -> Result<(Settings, Vec<ExpectedAdmission>), Finding> {
    let check = Check::Installation;
    let what = format!("read ConfigMap {SETTINGS} in namespace {namespace}");
    let right = format!("ClusterRole view in namespace {namespace}");
    let call = installation::settings(session, namespace);
    let map = check.look(&what, &right, call).await?.ok_or_else(|| {
        check.problem(
            format!("there is no ConfigMap {SETTINGS} in namespace {namespace}: Lapse is not installed there"),
            "name its namespace with --installation, or install it (docs/operations.md)",
        )
    })?;
    let settings = allowed(&map).map_err(|why| broken(ALLOWED, &why))?;
    let expected = serde_json::from_str(entry(&map, "admission.json"))
        .map_err(|error| broken("admission.json", &error.to_string()))?;
    Ok((settings, expected))
}

fn broken(key: &str, why: &str) -> Finding {
    Check::Installation.problem(
        format!("{key} in ConfigMap {SETTINGS} cannot be read: {why}"),
        "use the kubectl jit of the installed release, or run helm upgrade if somebody has changed it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::shown;
    use super::*;

    #[test]
    fn settings_of_another_release_are_told() {
        let found = broken(ALLOWED, "unknown field `grants`");
        insta::assert_snapshot!(shown([&found]), @r"
        Installation problem: settings.yaml in ConfigMap lapse-settings cannot be read: unknown field `grants`
          → use the kubectl jit of the installed release, or run helm upgrade if somebody has changed it
        ");
    }
}
