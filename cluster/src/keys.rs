//! The published keys of the webhook, followed as they change.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use lapse_engine::attest::KeySet;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::names::ATTESTATION_KEYS;
use crate::watch::{FIRST_LIST, FirstLists, Follow, Restarts};
use crate::{CallError, bounded};

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

/// Follows the published keys until the receiver is dropped. Like every watch it starts from the beginning when a list
/// hangs, and at each of the `restarts`: a key that was made after etcd was restored must be known, too.
pub async fn follow_keys(
    client: Client,
    namespace: String,
    restarts: Restarts,
    keys: watch::Sender<KeySet>,
) {
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let fields = format!("metadata.name={ATTESTATION_KEYS}");
    let events = || crate::watch::events(maps.clone(), crate::watch::config().fields(&fields));
    // Nobody waits for this list alone: without keys nothing verifies.
    let first_lists = FirstLists::new(1);
    let follow =
        Follow { what: "attestation keys", events, restarts, patience: FIRST_LIST, first_lists };
    let mut listed = None;
    let follow = follow.run(
        |event| match event {
            Event::Init => listed = None,
            Event::InitApply(map) => listed = Some(read(&map)),
            // What was distrusted while nobody saw it, by deletion of the map, is not trusted any more.
            Event::InitDone => replace(&keys, listed.take().unwrap_or_default()),
            Event::Apply(map) => replace(&keys, read(&map)),
            Event::Delete(_) => replace(&keys, KeySet::default()),
        },
        // What is trusted stays so: a right that is held is not touched by it, and none is given while the API server
        // cannot be asked.
        |_| {},
    );
    tokio::select! {
        () = follow => {}
        () = keys.closed() => {}
    }
}

/// Without keys nothing verifies, so nothing is granted; what is granted stays.
fn replace(keys: &watch::Sender<KeySet>, seen: KeySet) {
    if seen.is_empty() {
        warn!("there are no published attestation keys: nothing is granted");
    }
    let is_news = keys.send_if_modified(|known| {
        let is_news = *known != seen;
        *known = seen;
        is_news
    });
    if is_news {
        info!("read the published attestation keys");
    }
}

#[cfg(test)]
mod tests;
