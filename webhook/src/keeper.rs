//! Keeps keys, published keys and configurations as they must be, and the server informed.
//!
//! Each round reads everything live and mends what differs, so it does not matter which event began
//! it, nor which replica does it. Replicas agree through the version of the Secret: one of them
//! writes, the others read what it wrote.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use futures::stream::{BoxStream, select_all};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use lapse_cluster::process::Heartbeat;
use lapse_cluster::{
    ATTESTATION_KEYS, CallError, ENDPOINT_TRUST, bounded, clock, watch as watching,
};
use lapse_engine::attest::KeySet;
use lapse_engine::order::TrustError;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::configuration::{self, ConfigurationError, FIELD_MANAGER};
use crate::keys::{self, GatewayFiles, KeyMaterialError, Keys, Material, Names, Standing, Stored};

/// The Secret that the replicas share.
const SECRET: &str = "lapse-webhook-keys";
/// The Secret with the files of the gateway.
const GATEWAY_TLS: &str = "lapse-gateway-tls";
/// How often to look without an event: certificates grow old silently, and a watch may miss something.
const ROUND: Duration = Duration::from_mins(1);
/// How often to start over within a round when another replica was faster.
const TRIES: usize = 10;
/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why a round did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeeperError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The keys cannot be made or used.
    #[error(transparent)]
    Keys(#[from] KeyMaterialError),
    /// A public key cannot be written.
    #[error("writing a public key: {0}")]
    Publish(#[from] serde_json::Error),
    /// What hosts are to trust cannot be signed.
    #[error("signing what hosts trust: {0}")]
    Trust(#[from] TrustError),
    /// A configuration cannot be mended.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// Others kept changing what was read.
    #[error("the keys changed {TRIES} times while they were being read")]
    Contended,
}

/// What the rest of the webhook needs to know.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The keys in force.
    pub(crate) keys: Arc<Keys>,
    /// From when on the signing key is in force.
    pub(crate) key_valid_from: DateTime<Utc>,
    version: Option<String>,
}

#[cfg(test)]
impl State {
    /// Keys that were never stored.
    pub(crate) fn of(keys: Arc<Keys>, key_valid_from: DateTime<Utc>) -> Self {
        Self { keys, key_valid_from, version: None }
    }
}

/// Keeps keys and configurations.
pub(crate) struct Keeper {
    client: Client,
    namespace: String,
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    names: BTreeSet<String>,
    gateway_names: BTreeSet<String>,
    state: watch::Sender<Option<State>>,
    key_set: watch::Sender<KeySet>,
    settled: watch::Sender<bool>,
}

impl Keeper {
    /// A keeper that reports through these. `names` are those of the serving certificate, `gateway_names` those of the
    /// gateway's: none where there is none.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        names: BTreeSet<String>,
        gateway_names: BTreeSet<String>,
        state: watch::Sender<Option<State>>,
        key_set: watch::Sender<KeySet>,
        settled: watch::Sender<bool>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client.clone(), namespace),
            client,
            namespace: namespace.to_owned(),
            names,
            gateway_names,
            state,
            key_set,
            settled,
        }
    }

    /// Goes on for ever.
    pub(crate) async fn run(self, mut restarts: watching::Restarts, beats: Heartbeat) {
        let changed = Notify::new();
        let listen = async {
            loop {
                let mut events = self.events();
                loop {
                    tokio::select! {
                        event = events.next() => if event.is_none() { return },
                        // Etcd was restored: what is kept may be what it was then, and these watches wait for the future.
                        () = restarts.next() => break,
                    }
                    changed.notify_one();
                }
                changed.notify_one();
            }
        };
        let keep = async {
            let mut failures = 0;
            loop {
                beats.beat();
                let wait = match self.settle().await {
                    Ok(()) => {
                        failures = 0;
                        ROUND
                    }
                    Err(error) => {
                        warn!(%error, "keys and configurations are not as they must be");
                        // An API server that does not answer says nothing about its configuration:
                        // what was right when it was last seen still counts.
                        if matches!(&error, KeeperError::Configuration(why) if why.is_certain()) {
                            self.settled.send_replace(false);
                        }
                        failures += 1;
                        LONGEST_WAIT.min(Duration::from_millis(500) * (1 << failures.min(6)))
                    }
                };
                tokio::select! {
                    () = changed.notified() => {}
                    () = sleep(wait) => {}
                }
            }
        };
        tokio::join!(listen, keep);
    }

    /// An item whenever something that it keeps may have changed.
    fn events(&self) -> impl futures::Stream<Item = ()> + Send + Unpin + use<> {
        type Meta<K> = Api<PartialObjectMeta<K>>;
        let client = || self.client.clone();
        let secrets: Meta<Secret> = Api::namespaced(client(), &self.namespace);
        let maps: Meta<ConfigMap> = Api::namespaced(client(), &self.namespace);
        let mutating: Meta<MutatingWebhookConfiguration> = Api::all(client());
        let validating: Meta<ValidatingWebhookConfiguration> = Api::all(client());
        select_all([
            changes(secrets, SECRET),
            changes(maps, ATTESTATION_KEYS),
            changes(mutating, configuration::NAME),
            changes(validating, configuration::NAME),
        ])
    }

    /// One round.
    async fn settle(&self) -> Result<(), KeeperError> {
        self.settle_keys().await?;
        let keys = self.state.borrow().as_ref().map(|state| state.keys.clone());
        if let Some(keys) = keys {
            configuration::mend(&self.client, &keys).await?;
            self.settled.send_replace(true);
        }
        Ok(())
    }

    async fn settle_keys(&self) -> Result<(), KeeperError> {
        for _ in 0..TRIES {
            match self.try_settle_keys().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(KeeperError::Call(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeeperError::Contended)
    }

    /// Whether everything was as it must be. If not, something was mended, and all must be read
    /// again.
    async fn try_settle_keys(&self) -> Result<bool, KeeperError> {
        // First the published keys, then the Secret: a key is published before it is in the Secret,
        // so what stands in neither order of reading can be taken for an old key and retired.
        let map = self.read(&self.maps, ATTESTATION_KEYS).await?;
        let secret = self.read(&self.secrets, SECRET).await?;
        let (stored, problems) = Stored::read(&secret.data.clone().unwrap_or_default());
        for problem in problems {
            warn!(%problem, "part of the Secret {SECRET} is made anew");
        }
        let published = map.data.clone().unwrap_or_default();
        let now = clock::now();
        let signing = stored.signing.as_ref().map(SigningKey::verifying_key);
        let standing = signing.map(|key| keys::standing(&published, &key, now));
        let due = signing.filter(|_| standing == Some(Standing::Due));
        let standing = standing.unwrap_or(Standing::Absent);
        let names = Names { webhook: &self.names, gateway: &self.gateway_names };
        if let Some(renewal) = keys::next(&stored, standing, names, now) {
            let material = keys::make(stored, &renewal, now)?;
            if renewal.signing {
                let mut data = published;
                match due {
                    Some(due) => keys::retire_soon(&mut data, &due, now)?,
                    None => keys::end_handover(&mut data, now)?,
                }
                keys::publish(&mut data, &material.signing.verifying_key(), now)?;
                self.write_map(map, data).await?;
            }
            let mut secret = secret;
            material.write(secret.data.get_or_insert_default());
            self.replace(&self.secrets, SECRET, &secret).await?;
            info!(
                signing_key = renewal.signing,
                path = renewal.path,
                authority = renewal.authority,
                certificate = renewal.serving.is_some(),
                "made keys anew"
            );
            return Ok(false);
        }
        let Some(material) = stored.complete() else {
            return Ok(false);
        };
        let verifying = material.signing.verifying_key();
        let mut data = published.clone();
        if keys::retire_others(&mut data, &verifying, now)? {
            self.write_map(map, data).await?;
            info!("retired the public keys before this one");
            return Ok(false);
        }
        // The set before the key: what is signed must verify at once.
        let (key_set, errors) = KeySet::read(&published);
        for error in errors {
            warn!(%error, "a published key is left out");
        }
        self.key_set.send_replace(key_set);
        let version = secret.metadata.resource_version;
        let known = self.state.borrow().as_ref().map(|state| state.version.clone());
        let key_valid_from = keys::valid_from(&published, &verifying).unwrap_or(now);
        if !self.gateway_names.is_empty() {
            self.settle_gateway(&material, key_valid_from, now).await?;
        }
        if known != Some(version.clone()) {
            let keys = Arc::new(Keys::new(material)?);
            let certificate_expires = keys.certificate_expires.to_rfc3339();
            info!(certificate_expires, "keys are in force");
            self.state.send_replace(Some(State { keys, key_valid_from, version }));
        }
        Ok(true)
    }

    /// Gives the gateway its files, and hosts what they are to trust.
    async fn settle_gateway(
        &self,
        material: &Material,
        valid_from: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), KeeperError> {
        let mut map = self.read(&self.maps, ENDPOINT_TRUST).await?;
        let published = map.data.clone().unwrap_or_default();
        let data = keys::trust_of(&published, material, valid_from, now)?;
        if data != published {
            map.data = Some(data);
            self.replace(&self.maps, ENDPOINT_TRUST, &map).await?;
            info!("published what hosts are to trust");
        }
        if let Some(files) = GatewayFiles::of(material) {
            let mut secret = self.read(&self.secrets, GATEWAY_TLS).await?;
            if secret.data.as_ref() != Some(files.data()) {
                secret.data = Some(files.data().clone());
                self.replace(&self.secrets, GATEWAY_TLS, &secret).await?;
                info!("gave the gateway its certificate");
            }
        }
        Ok(())
    }

    async fn read<K>(&self, api: &Api<K>, name: &str) -> Result<K, CallError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let what = format!("reading {} {name}", K::kind(&()));
        bounded(what, api.get(name)).await
    }

    async fn write_map(
        &self,
        mut map: ConfigMap,
        data: std::collections::BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        map.data = Some(data);
        self.replace(&self.maps, ATTESTATION_KEYS, &map).await
    }

    /// Replaces what was read. Its version is sent along, so that two replicas that make keys at the
    /// same time end up with those of one of them.
    async fn replace<K>(&self, api: &Api<K>, name: &str, object: &K) -> Result<(), CallError>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + std::fmt::Debug,
    {
        let params =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let what = format!("writing {} {name}", K::kind(&()));
        bounded(what, api.replace(name, &params, object)).await.map(drop)
    }
}

/// An item whenever the object of this name changed.
fn changes<K>(api: Api<PartialObjectMeta<K>>, name: &str) -> BoxStream<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let config = watching::config().fields(&format!("metadata.name={name}"));
    watching::events(api, config)
        .inspect_err(|error| warn!(%error, "watching {}", K::kind(&())))
        .filter_map(async |event| match event {
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => None,
            Ok(_) => Some(()),
        })
        .boxed()
}

#[cfg(test)]
mod tests;
