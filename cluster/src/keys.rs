//! The published keys of the webhook, followed as they change.

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, Client};
use lapse_engine::attest::KeySet;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{CallError, bounded};

/// The config map with the public keys, which only the webhook writes.
pub const ATTESTATION_KEYS: &str = "lapse-attestation-keys";

fn read(map: &ConfigMap) -> KeySet {
    let (keys, errors) = KeySet::read(map.data.iter().flatten());
    for error in errors {
        warn!(%error, "a published key is left out");
    }
    keys
}

/// Reads the published keys once.
pub async fn read_keys(client: &Client, namespace: &str) -> Result<KeySet, CallError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let what = format!("reading ConfigMap {namespace}/{ATTESTATION_KEYS}");
    Ok(read(&bounded(what, maps.get(ATTESTATION_KEYS)).await?))
}

/// Follows the published keys until the receiver is dropped.
pub async fn follow_keys(client: Client, namespace: String, keys: watch::Sender<KeySet>) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = crate::watch::config().fields(&format!("metadata.name={ATTESTATION_KEYS}"));
    let events = crate::watch::events(maps, config);
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => {
                info!("read the published attestation keys");
                keys.send_replace(read(&map));
            }
            // Without keys nothing verifies, so nothing is granted; what is granted stays.
            Ok(watcher::Event::Delete(_)) => {
                warn!("the published attestation keys are gone: nothing is granted");
                keys.send_replace(KeySet::default());
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => warn!(%error, "following the attestation keys"),
        }
        if keys.is_closed() {
            return;
        }
    }
}
