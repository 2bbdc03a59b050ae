//! The two webhook configurations named `lapse`: their path and certificate authority.
//!
//! The chart leaves both out. Whoever calls the path gets signatures, so it is a secret that the API
//! server alone is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{ApiResource, DynamicObject, PatchParams};
use kube::{Api, Client};
use lapse_cluster::{CallError, bounded};
use serde_json::{Value, json};
use tracing::info;

use crate::entry::{Half, Webhook};
use crate::keys::Keys;

/// Who the webhook is among the managers of fields.
pub(crate) const FIELD_MANAGER: &str = "lapse-webhook";
/// The name of both configurations.
pub(crate) const NAME: &str = "lapse";

/// Why a configuration is not as it must be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// It cannot be read or written.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It has no entry of ours.
    #[error("the {kind} {NAME} has no webhook {webhook}: install the chart again")]
    NoEntry {
        /// The kind of the configuration.
        kind: String,
        /// The entry.
        webhook: &'static str,
    },
    /// The entry names neither a service nor a URL.
    #[error(
        "the webhook {webhook} calls neither a service nor a usable URL: install the chart again"
    )]
    NoAddress {
        /// The entry.
        webhook: &'static str,
    },
}

impl ConfigurationError {
    /// Whether the configuration is known to be wrong, and not only out of reach.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            Self::Call(error) => error.is_lasting(),
            Self::NoEntry { .. } | Self::NoAddress { .. } => true,
        }
    }
}

/// Mends both configurations, if they differ.
pub(crate) async fn mend(client: &Client, keys: &Keys) -> Result<(), ConfigurationError> {
    mend_one(client, Half::Validating, keys).await?;
    mend_one(client, Half::Mutating, keys).await
}

async fn mend_one(client: &Client, half: Half, keys: &Keys) -> Result<(), ConfigurationError> {
    let kind = match half {
        Half::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
        Half::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let named = format!("{} {NAME}", kind.kind);
    let found = bounded(format!("reading {named}"), api.get(NAME)).await?;
    let mut changes = Vec::new();
    for webhook in Webhook::ALL.into_iter().filter(|webhook| webhook.half() == half) {
        let entry = webhook.entry();
        let Some(standing) = find(&found.data, entry) else {
            return Err(ConfigurationError::NoEntry { kind: kind.kind.clone(), webhook: entry });
        };
        let secret_path = keys.path_to(webhook.verb());
        changes.extend(difference(standing, entry, &secret_path, &keys.bundle)?.0);
    }
    if changes.is_empty() {
        return Ok(());
    }
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = kube::api::Patch::Json::<()>(Patch(changes));
    bounded(format!("writing {named}"), api.patch(NAME, &params, &patch)).await?;
    info!("wrote path and certificate authority into {named}");
    Ok(())
}

/// The place of our entry, and the entry.
fn find<'a>(configuration: &'a Value, webhook: &str) -> Option<(usize, &'a Value)> {
    let webhooks = configuration.get("webhooks")?.as_array()?;
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(webhook);
    let index = webhooks.iter().position(|entry| named(&entry))?;
    Some((index, &webhooks[index]))
}

/// What must be written. `add` also replaces; the chart ships neither field.
fn difference(
    (index, entry): (usize, &Value),
    webhook: &'static str,
    path: &str,
    bundle: &str,
) -> Result<Patch, ConfigurationError> {
    let client_config = &entry["clientConfig"];
    let at = |field: &str| {
        let index = index.to_string();
        let root = ["webhooks", &index].into_iter();
        PointerBuf::from_tokens(root.chain(field.split('/')))
    };
    let mut operations = Vec::new();
    let mut want = |field: &str, wanted: String| {
        let pointer = format!("/{}", field.trim_start_matches("clientConfig/"));
        if client_config.pointer(&pointer).and_then(Value::as_str) != Some(&wanted) {
            let value = Value::String(wanted);
            operations.push(PatchOperation::Add(AddOperation { path: at(field), value }));
        }
    };
    want("clientConfig/caBundle", BASE64.encode(bundle));
    if client_config.get("service").is_some_and(Value::is_object) {
        want("clientConfig/service/path", path.to_owned());
    } else {
        let url = client_config.get("url").and_then(Value::as_str);
        let host = url.and_then(host_of);
        let host = host.ok_or(ConfigurationError::NoAddress { webhook })?;
        want("clientConfig/url", format!("{host}{path}"));
    }
    if !operations.is_empty() {
        // Places shift when somebody else adds an entry at the same time.
        let (path, value) = (at("name"), json!(webhook));
        operations.insert(0, PatchOperation::Test(TestOperation { path, value }));
    }
    Ok(Patch(operations))
}

/// Scheme and host of a URL, without its path.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    Some(&url[.."https://".len() + host.len()])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PATH: &str = "/abc/mutate";

    fn patched(client_config: &Value) -> Result<Value, String> {
        let mut configuration = json!({"webhooks": [
            {"name": "other.example.com", "clientConfig": {"url": "https://other"}},
            {"name": "stamp.lapse.dev", "clientConfig": client_config},
        ]});
        let entry = find(&configuration, "stamp.lapse.dev").unwrap();
        let patch =
            difference(entry, "stamp.lapse.dev", PATH, "PEM").map_err(|error| error.to_string())?;
        json_patch::patch(&mut configuration, &patch).unwrap();
        let entry = find(&configuration, "stamp.lapse.dev").unwrap();
        let again = difference(entry, "stamp.lapse.dev", PATH, "PEM").unwrap();
        assert!(again.is_empty(), "a second time there is nothing to write");
        Ok(configuration["webhooks"][1]["clientConfig"].clone())
    }

    #[rstest]
    #[case::as_shipped(json!({"service": {"name": "s", "namespace": "n", "port": 443}}))]
    #[case::stale(json!({"service": {"name": "s", "namespace": "n", "port": 443, "path": "/unset/mutate"}, "caBundle": "b2xk"}))]
    fn a_service_gets_path_and_authority(#[case] config: Value) {
        let service = json!({"name": "s", "namespace": "n", "port": 443, "path": PATH});
        let expected = json!({"service": service, "caBundle": BASE64.encode("PEM")});
        assert_eq!(patched(&config).unwrap(), expected);
    }

    #[rstest]
    #[case("https://127.0.0.1:9443/unset/mutate", "https://127.0.0.1:9443/abc/mutate")]
    #[case("https://hook.example.com", "https://hook.example.com/abc/mutate")]
    #[case("https://[::1]:9443/", "https://[::1]:9443/abc/mutate")]
    fn a_url_keeps_its_host(#[case] url: &str, #[case] expected: &str) {
        let config = patched(&json!({"url": url})).unwrap();
        let expected = json!({"url": expected, "caBundle": BASE64.encode("PEM")});
        assert_eq!(config, expected);
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"url": "http://plain/unset"}))]
    #[case(json!({"url": "https:///unset"}))]
    fn nothing_to_call_is_an_error(#[case] config: Value) {
        let error = patched(&config).unwrap_err();
        assert!(error.contains("neither a service nor a usable URL"), "{error}");
    }

    #[test]
    fn an_entry_that_moved_is_not_overwritten() {
        let entry = json!({"name": "stamp.lapse.dev", "clientConfig": {"url": "https://h"}});
        let patch = difference((0, &entry), "stamp.lapse.dev", PATH, "PEM").unwrap();
        let mut moved = json!({"webhooks": [{"name": "other"}, entry]});
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }
}
