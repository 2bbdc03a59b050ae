//! What watches show, and when.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_crds::{AccessRequest, OBJECT_PREFIX};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The state of what is no more.
const GONE: &str = "gone";
/// The state of what is there, where nothing more is told apart.
const THERE: &str = "there";

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: DateTime<Utc>,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: lapse_cluster::clock::now() }
    }

    /// How long after another, in milliseconds.
    pub(super) fn ms_after(self, earlier: Self) -> f64 {
        self.at.saturating_duration_since(earlier.at).as_secs_f64() * 1000.0
    }
}

/// Follows objects of one kind from now on. Dropping it stops that.
#[derive(Debug)]
pub(super) struct Seen {
    table: Arc<Table>,
    changed: watch::Receiver<()>,
    task: JoinHandle<()>,
}

/// The first moment at which each object was seen in each of its states.
#[derive(Debug, Default)]
struct Table(Mutex<HashMap<String, HashMap<String, Moment>>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Moment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: String, state: String) {
        self.lock().entry(name).or_default().entry(state).or_insert_with(Moment::now);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Seen {
    /// The bindings of Lapse in a namespace, by the names of their requests.
    pub(super) async fn bindings(client: Client, namespace: &str) -> Result<Self> {
        let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=lapse");
        let prefix = format!("{OBJECT_PREFIX}{namespace}-");
        let api: Api<RoleBinding> = Api::namespaced(client, namespace);
        Self::follow(api, config, move |binding| {
            let name = binding.name_any();
            // What follows the last dash is the hash of the request's UID.
            let (request, _) = name.strip_prefix(&prefix)?.rsplit_once('-')?;
            Some((request.to_owned(), THERE.to_owned()))
        })
        .await
    }

    /// The requests in a namespace, in their phases.
    pub(super) async fn requests(client: Client, namespace: &str) -> Result<Self> {
        let api: Api<AccessRequest> = Api::namespaced(client, namespace);
        Self::follow(api, watcher::Config::default(), |request| {
            Some((request.name_any(), request.status.as_ref()?.phase.to_string()))
        })
        .await
    }

    /// The config maps in a namespace.
    pub(super) async fn maps(client: Client, namespace: &str) -> Result<Self> {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        Self::follow(api, watcher::Config::default(), |map| {
            Some((map.name_any(), THERE.to_owned()))
        })
        .await
    }

    async fn follow<K>(
        api: Api<K>,
        config: watcher::Config,
        state: impl Fn(&K) -> Option<(String, String)> + Send + 'static,
    ) -> Result<Self>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let table = Arc::new(Table::default());
        let (sender, changed) = watch::channel(());
        let (listed, first_list) = tokio::sync::oneshot::channel();
        let noted = Arc::clone(&table);
        let task = tokio::spawn(async move {
            let mut events = Box::pin(watcher::watcher(api, config));
            let mut listed = Some(listed);
            while let Some(event) = events.next().await {
                // A watch that breaks begins anew by itself.
                let seen = match &event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => state(object),
                    Ok(Event::Delete(object)) => {
                        state(object).map(|(name, _)| (name, GONE.to_owned()))
                    }
                    Ok(Event::InitDone) => {
                        listed.take().map(|listed| listed.send(()));
                        None
                    }
                    Ok(Event::Init) | Err(_) => None,
                };
                if let Some((name, state)) = seen {
                    noted.note(name, state);
                    sender.send_replace(());
                }
            }
        });
        let limit = Duration::from_mins(5);
        tokio::time::timeout(limit, first_list).await.context("a watch does not begin")??;
        Ok(Self { table, changed, task })
    }

    /// Follows nothing any more.
    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// When an object was first seen; waits for it.
    pub(super) async fn there(&self, name: &str, limit: Duration) -> Result<Moment> {
        self.in_state(name, THERE, limit).await
    }

    /// When an object was seen to be gone; waits for it.
    pub(super) async fn gone(&self, name: &str, limit: Duration) -> Result<Moment> {
        self.in_state(name, GONE, limit).await
    }

    /// When an object was first seen in a state; waits for it.
    pub(super) async fn in_state(
        &self,
        name: &str,
        state: &str,
        limit: Duration,
    ) -> Result<Moment> {
        let mut changed = self.changed.clone();
        let found = async {
            loop {
                let found =
                    self.table.lock().get(name).and_then(|states| states.get(state)).copied();
                if let Some(found) = found {
                    return Ok(found);
                }
                changed.changed().await.context("a watch has ended")?;
            }
        };
        let found = tokio::time::timeout(limit, found).await;
        found.with_context(|| format!("waited {limit:?} in vain for {name} to be {state}"))?
    }

    /// Waits until all of these are there, or until nothing has changed for so long; returns when each
    /// came that did.
    pub(super) async fn all_there(
        &self,
        names: &[String],
        patience: Duration,
    ) -> Vec<Option<Moment>> {
        self.all_in(names, THERE, patience).await
    }

    /// The same for being gone.
    pub(super) async fn all_gone(
        &self,
        names: &[String],
        patience: Duration,
    ) -> Vec<Option<Moment>> {
        self.all_in(names, GONE, patience).await
    }

    /// The same for any state.
    pub(super) async fn all_in(
        &self,
        names: &[String],
        state: &str,
        patience: Duration,
    ) -> Vec<Option<Moment>> {
        let mut changed = self.changed.clone();
        let (mut known, mut last) = (0, Instant::now());
        loop {
            let found = self.moments(names, state);
            let count = found.iter().flatten().count();
            if count == names.len() || last.elapsed() > patience {
                return found;
            }
            if count > known {
                (known, last) = (count, Instant::now());
            }
            // Not at each event: looking takes time from what is measured.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = tokio::time::timeout(Duration::from_secs(1), changed.changed()).await;
        }
    }

    fn moments(&self, names: &[String], state: &str) -> Vec<Option<Moment>> {
        let table = self.table.lock();
        let of = |name: &String| table.get(name).and_then(|states| states.get(state)).copied();
        names.iter().map(of).collect()
    }
}
