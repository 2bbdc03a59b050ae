//! Events, for `kubectl describe` and `kubectl events`.
//!
//! They are for people and never decide anything, and where they are stored may be slow or down on its own. So nobody
//! waits for one: they are queued and written beside everything else, and what cannot be written in time is dropped and
//! counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource};
use lapse_cluster::process::caught_in;
use lapse_cluster::{CallError, bounded};
use lapse_crds::{AccessRequest, RequestRef, micro_time};
use lapse_engine::notice::{Notice, event_name};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

/// How much of a message an event takes (`k8s.io/api/events/v1`, field `note`).
const NOTE_LIMIT: usize = 1024;
const REPORTER: &str = "lapse-controller";
/// Where the events about what has no namespace stand, as Kubernetes' own do.
const OF_THE_CLUSTER: &str = "default";

/// How many events may wait to be written: some megabytes of them.
const WAITING: usize = 1024;
/// How many are written at once.
const AT_ONCE: usize = 4;
/// How soon one that could not be written is tried again, behind those that wait.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long an event is tried. It says when it was, so it may be late.
const PATIENCE: Duration = Duration::from_mins(2);

fn note(notice: &Notice) -> String {
    let mut note = notice.message.clone();
    note.truncate(note.floor_char_boundary(NOTE_LIMIT));
    note
}

/// The request of a right, as what an event is about: there people look.
pub(crate) fn about(of: &RequestRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(AccessRequest::api_version(&()).into_owned()),
        kind: Some(AccessRequest::kind(&()).into_owned()),
        namespace: Some(of.namespace.clone()),
        name: Some(of.name.clone()),
        uid: Some(of.uid.clone()),
        ..ObjectReference::default()
    }
}

/// A namespace and a name.
type Key = (String, String);

/// What becomes of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling(Arc<AtomicBool>);

impl Telling {
    /// Whether it was dropped, so that nobody was told.
    pub(crate) fn was_dropped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An event that waits to be written.
struct Waiting {
    key: Key,
    event: Event,
    since: Instant,
}

/// Has events written.
#[derive(Clone)]
pub(crate) struct Notifier {
    instance: String,
    waiting: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

struct Shared {
    /// What waits or is being written. Each look at a right tells what there is to tell of it.
    pending: Mutex<HashMap<Key, Telling>>,
    is_done: Notify,
    dropped: Counter,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, HashMap<Key, Telling>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, key: &Key) -> Option<Telling> {
        let telling = self.pending().remove(key);
        self.is_done.notify_waiters();
        telling
    }

    fn give_up(&self, key: &Key, why: &str) {
        warn!(namespace = %key.0, name = %key.1, %why, "an event could not be written");
        self.dropped.inc();
        if let Some(Telling(is_dropped)) = self.done(key) {
            is_dropped.store(true, Ordering::Relaxed);
        }
    }
}

impl Notifier {
    /// One whose events are written as [`Writers`] say; `dropped` counts those that are not.
    pub(crate) fn new(client: Client, identity: &str, dropped: Counter) -> (Self, Writers) {
        let (sender, waiting) = mpsc::channel(WAITING);
        let pending = Mutex::default();
        let shared = Arc::new(Shared { pending, is_done: Notify::new(), dropped });
        let again = sender.downgrade();
        let notifier = Self { instance: identity.to_owned(), waiting: sender, shared };
        let shared = notifier.shared.clone();
        (notifier, Writers { client, again, waiting: waiting.into(), shared })
    }

    pub(crate) fn tell<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        notice: &Notice,
        now: DateTime<Utc>,
    ) {
        self.tell_of(about, &(), notice, now);
    }

    /// The same, about an object whose kind is not a type of ours.
    pub(crate) fn tell_of<K: Resource>(
        &self,
        about: &K,
        kind: &K::DynamicType,
        notice: &Notice,
        now: DateTime<Utc>,
    ) {
        let about = about.object_ref(kind);
        let of = |field: &Option<String>| field.clone().unwrap_or_default();
        let name = event_name(&of(&about.name), &of(&about.uid), &notice.reason, now);
        drop(self.tell_once(&name, about, notice, now));
    }

    /// Has an event of this name written, unless there is one: whoever wrote it has told it.
    pub(crate) fn tell_once(
        &self,
        name: &str,
        about: ObjectReference,
        notice: &Notice,
        now: DateTime<Utc>,
    ) -> Telling {
        let namespace = about.namespace.clone().unwrap_or_else(|| OF_THE_CLUSTER.to_owned());
        let key = (namespace.clone(), name.to_owned());
        let telling = match self.shared.pending().entry(key.clone()) {
            Entry::Occupied(told) => return told.get().clone(),
            Entry::Vacant(new) => new.insert(Telling::default()).clone(),
        };
        let kind = if notice.warning { "Warning" } else { "Normal" };
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(namespace),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(kind.to_owned()),
            reason: Some(notice.reason.clone()),
            action: Some(notice.reason.clone()),
            note: Some(note(notice)),
            regarding: Some(about),
            event_time: Some(micro_time(now)),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let waiting = Waiting { key, event, since: Instant::now() };
        if let Err(error) = self.waiting.try_send(waiting) {
            self.shared.give_up(&error.into_inner().key, "too many wait");
        }
        telling
    }

    /// Waits until all that was told is written or dropped.
    pub(crate) async fn finish(&self) {
        loop {
            let is_done = self.shared.is_done.notified();
            tokio::pin!(is_done);
            is_done.as_mut().enable();
            if self.shared.pending().is_empty() {
                return;
            }
            is_done.await;
        }
    }
}

/// Writes the events of a [`Notifier`].
pub(crate) struct Writers {
    client: Client,
    again: mpsc::WeakSender<Waiting>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Waiting>>,
    shared: Arc<Shared>,
}

impl Writers {
    /// Writes events until nobody can tell any more.
    pub(crate) async fn run(self) {
        join_all((0..AT_ONCE).map(|_| self.write_all())).await;
    }

    async fn write_all(&self) {
        loop {
            let next = self.waiting.lock().await.recv().await;
            let Some(waiting) = next else { return };
            let Some(written) = caught_in("event", self.write(&waiting)).await else {
                self.shared.give_up(&waiting.key, "writing it panicked");
                continue;
            };
            match written {
                Ok(()) => drop(self.shared.done(&waiting.key)),
                Err(error) if error.is_already_exists() => drop(self.shared.done(&waiting.key)),
                // A namespace that is going takes no events, and will not.
                Err(error) if error.is_lasting() || waiting.since.elapsed() >= PATIENCE => {
                    self.shared.give_up(&waiting.key, &error.to_string());
                }
                Err(error) => {
                    debug!(%error, "an event is tried again");
                    sleep(AGAIN).await;
                    self.put_back(waiting, &error);
                }
            }
        }
    }

    fn put_back(&self, waiting: Waiting, why: &CallError) {
        let Some(again) = self.again.upgrade() else { return };
        if let Err(full) = again.try_send(waiting) {
            self.shared.give_up(&full.into_inner().key, &why.to_string());
        }
    }

    async fn write(&self, waiting: &Waiting) -> Result<(), CallError> {
        let (namespace, name) = &waiting.key;
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let post = PostParams::default();
        let call = api.create(&post, &waiting.event);
        bounded(format!("writing Event {name}"), call).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
