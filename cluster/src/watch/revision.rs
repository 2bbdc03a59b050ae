//! Notices when the API server's revision has run backwards.
//!
//! Revisions only grow, unless somebody restores etcd from a backup. A watch that goes on from a
//! revision of the future then waits for it, and sees nothing of what happens meanwhile.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::warn;

use crate::bounded;

/// How often the revision is asked for.
const PERIOD: Duration = Duration::from_secs(2);

/// The highest revisions that were seen.
pub struct Revision {
    highest: Mutex<Highest>,
    doubt: Box<dyn Fn() + Send + Sync>,
    restarts: watch::Sender<()>,
}

/// Tells when every watch must start from the beginning.
#[derive(Clone)]
pub struct Restarts(watch::Receiver<()>);

impl Restarts {
    /// Waits for the next time.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody looks at revisions any more: the process is stopping.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Highest {
    of_lists: u64,
    of_lease: u64,
}

impl Revision {
    /// Nothing was seen yet. When the revision runs backwards, what is known is in doubt from that moment: this is called
    /// before any watch starts again.
    #[must_use]
    pub fn new(doubt: impl Fn() + Send + Sync + 'static) -> (Self, Restarts) {
        let (restarts, receiver) = watch::channel(());
        (Self { highest: Mutex::default(), doubt: Box::new(doubt), restarts }, Restarts(receiver))
    }

    /// Asks for the revision again and again, with a list of one object of this kind, until it is dropped: for a process
    /// that makes no fresh lists otherwise.
    pub async fn look_out<K>(self: Arc<Self>, client: Client)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let objects: Api<K> = Api::all(client);
        let one = ListParams::default().limit(1);
        loop {
            tokio::time::sleep(PERIOD).await;
            match bounded("asking for the revision", objects.list_metadata(&one)).await {
                Ok(list) => self.observe(list.metadata.resource_version.as_deref()),
                Err(error) => warn!(%error, "the revision is not known"),
            }
        }
    }

    /// Takes note of the revision of a fresh list.
    pub fn observe(&self, revision: Option<&str>) {
        self.note(revision, |highest| &mut highest.of_lists);
    }

    /// Takes note of the version of the lease, as it was just read or written. It is written every other second, so a
    /// store that is older is noticed also if that is of a minute ago, which the revision of the whole has made up for by
    /// the next list.
    pub fn observe_lease(&self, version: Option<&str>) {
        self.note(version, |highest| &mut highest.of_lease);
    }

    /// Compares the version of one object as it was just read, or of a write, with one that was seen before. Whether it is
    /// older.
    pub(crate) fn compare(&self, now: u64, seen: u64) -> bool {
        // Without a version there is nothing to compare.
        let is_older = now != 0 && now < seen;
        if is_older {
            self.ran_backwards(now, seen);
        }
        is_older
    }

    fn ran_backwards(&self, revision: u64, highest: u64) {
        warn!(revision, highest, "the revision ran backwards: every watch starts again");
        self.start_again();
    }

    /// The store is another than the one that was seen: nothing that is known may be so, and every watch starts again.
    pub(crate) fn start_again(&self) {
        (self.doubt)();
        self.restarts.send_replace(());
    }

    fn note(&self, revision: Option<&str>, of: fn(&mut Highest) -> &mut u64) {
        let Some(revision) = revision.and_then(|text| text.parse::<u64>().ok()) else { return };
        let mut all = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = *of(&mut all);
        if revision < highest {
            self.ran_backwards(revision, highest);
            // Whatever else was seen was before that.
            *all = Highest::default();
        }
        *of(&mut all) = revision;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn only_a_step_back_restarts() {
        let doubted = Arc::new(AtomicUsize::new(0));
        let doubts = doubted.clone();
        let (revision, restarts) = Revision::new(move || {
            doubts.fetch_add(1, SeqCst);
        });
        let restarted = |restarts: &Restarts| restarts.0.has_changed().unwrap();
        for seen in [Some("7"), Some("7"), None, Some("rubbish"), Some("9")] {
            revision.observe(seen);
            assert!(!restarted(&restarts), "{seen:?}");
        }
        revision.observe(Some("3"));
        assert!(restarted(&restarts) && doubted.load(SeqCst) == 1);
    }

    /// By then the whole is further than it was when it was last listed.
    #[test]
    fn a_lease_of_before_restarts_once() {
        let (revision, mut restarts) = Revision::new(|| ());
        revision.observe(Some("5"));
        revision.observe_lease(Some("9"));
        revision.observe(Some("12"));
        revision.observe_lease(Some("11"));
        assert!(!restarts.0.has_changed().unwrap(), "each is compared with its own");
        revision.observe_lease(Some("4"));
        assert!(restarts.0.has_changed().unwrap());
        restarts.0.mark_unchanged();
        revision.observe(Some("7"));
        assert!(!restarts.0.has_changed().unwrap());
    }
}
