//! Shows that this process lives, looks whether the others do, and says of each Endpoint for which no connection speaks how
//! it stands. It costs one write in ten seconds for each process, however many hosts there are, and one for each host of
//! which there is something new to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_cluster::{GATEWAYS, bounded, clock};
use lapse_crds::{Conditions as _, Endpoint};
use lapse_engine::endpoint::BEAT;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::endpoints;
use crate::roll::Standing;
use crate::shared::Shared;
use crate::status::ready_of_connected;

/// How many Endpoints are looked at at once: of what connections say there is more, and it matters more.
const AT_ONCE: usize = 4;
/// How long saying good-bye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What keeps watch.
#[derive(Clone)]
pub(crate) struct Watchman {
    shared: Arc<Shared>,
    namespace: String,
    /// That a beat of this process was seen.
    seen: Arc<Notify>,
}

impl Watchman {
    /// Of the installation in this namespace.
    pub(crate) fn new(shared: Arc<Shared>, namespace: String) -> Self {
        Self { shared, namespace, seen: Arc::new(Notify::new()) }
    }

    /// Shows, for as long as it runs, that this process lives.
    pub(crate) async fn beat(self) {
        let own = self.shared.beats().own().to_owned();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1_u64.. {
            ticks.tick().await;
            if let Err(error) = self.write(json!({&own: number.to_string()})).await {
                warn!(error, "that this gateway lives is not written");
            }
        }
    }

    /// Looks around, for as long as it runs, whenever a beat was seen.
    pub(crate) async fn look_out(self) {
        loop {
            self.seen.notified().await;
            self.look().await;
        }
    }

    /// Leaves nothing behind.
    pub(crate) async fn leave(&self) {
        let own = self.shared.beats().own().to_owned();
        // Who does not hear it finds out.
        let _ = timeout(GOODBYE, self.write(json!({own: null}))).await;
    }

    /// The config map was seen.
    pub(crate) fn saw(&self, all: &BTreeMap<String, String>) {
        let (is_new, left) = {
            let mut beats = self.shared.beats();
            (beats.see(all), beats.left(all))
        };
        if !left.is_empty() {
            let watchman = self.clone();
            let gone: Map<String, Value> =
                left.into_iter().map(|name| (name, Value::Null)).collect();
            // If that fails, it is done at the next beat.
            tokio::spawn(async move { watchman.write(Value::Object(gone)).await });
        }
        if is_new {
            self.seen.notify_one();
        }
    }

    async fn write(&self, data: Value) -> Result<(), String> {
        let api: Api<ConfigMap> = Api::namespaced(self.shared.client.clone(), &self.namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(json!({"data": data})));
        let written = api.patch(GATEWAYS, &params, &patch);
        let written = bounded(format!("writing ConfigMap {GATEWAYS}"), written).await;
        written.map(drop).map_err(|error| error.to_string())
    }

    async fn look(&self) {
        let shared = &self.shared;
        let (mut silent, given_up, count) = {
            let (roll, mut beats) = (shared.roll(), shared.beats());
            let silent = roll.silent(|gateway| beats.is_dead(gateway), clock::now());
            (silent, roll.given_up(beats.own()), roll.count())
        };
        shared.metrics.count(&count);
        {
            // For these a connection speaks, as soon as it is its turn to be written down.
            let attached = shared.attached();
            silent.retain(|name| !attached.is_named(name));
        }
        silent.extend(given_up);
        let all = futures::stream::iter(silent);
        all.for_each_concurrent(AT_ONCE, |name| async move {
            if let Err(error) = self.say(&name).await {
                warn!(endpoint = name, error, "how an Endpoint stands is not written yet");
            }
        })
        .await;
    }

    /// Says how an Endpoint stands, as of now. Who writes at the same time knows better.
    async fn say(&self, name: &str) -> Result<(), String> {
        let shared = &self.shared;
        let _pen = shared.pens.routine().await;
        let live = endpoints::read(&shared.client, name).await;
        let Some(live) = live.map_err(|error| error.to_string())? else { return Ok(()) };
        let (standing, now) = (Standing::of(&live), clock::now());
        let generation = live.metadata.generation;
        let ready = if standing.is_given_up(shared.beats().own()) {
            if !self.is_here(&live) {
                return Ok(());
            }
            ready_of_connected(&live.status.clone().unwrap_or_default(), generation, now)
        } else {
            let is_dead =
                standing.connected_to().is_some_and(|gateway| shared.beats().is_dead(gateway));
            let Some(silence) = standing.silence(is_dead, now) else { return Ok(()) };
            silence.ready(generation, now)
        };
        let mut conditions = live.status.clone().unwrap_or_default().conditions;
        let reason = ready.reason.clone();
        conditions.set_condition(ready);
        let conditions = serde_json::to_value(conditions).map_err(|error| error.to_string())?;
        let status = Map::from_iter([
            ("observedGeneration".to_owned(), json!(generation)),
            ("conditions".to_owned(), conditions),
        ]);
        match endpoints::write(&shared.client, &live, &status).await {
            Ok(_) => {
                info!(endpoint = name, reason, "said of an Endpoint for which nobody speaks");
                Ok(())
            }
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the connection that stands on this Endpoint is one of this process.
    fn is_here(&self, live: &Endpoint) -> bool {
        let uid = live.metadata.uid.as_deref().unwrap_or_default();
        let connection = live.status.as_ref().and_then(|status| status.connection.as_ref());
        connection.is_some_and(|known| self.shared.attached().has(uid, &known.name))
    }
}
