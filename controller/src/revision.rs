//! Notices when the API server's revision has run backwards.
//!
//! Revisions only grow, unless somebody restores etcd from a backup. A watch that goes on from a
//! revision of the future then waits for it, and sees nothing of what happens meanwhile.

use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;
use tracing::warn;

/// The highest revision that was seen.
pub(crate) struct Revision {
    highest: Mutex<u64>,
    restarts: watch::Sender<()>,
}

/// Tells when every watch must start from the beginning.
#[derive(Clone)]
pub(crate) struct Restarts(watch::Receiver<()>);

impl Restarts {
    /// Waits for the next time.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody looks at revisions any more: the process is stopping.
            std::future::pending::<()>().await;
        }
    }
}

impl Revision {
    pub(crate) fn new() -> (Self, Restarts) {
        let (restarts, receiver) = watch::channel(());
        (Self { highest: Mutex::new(0), restarts }, Restarts(receiver))
    }

    /// Takes note of the revision of a fresh list.
    pub(crate) fn observe(&self, revision: Option<&str>) {
        let Some(revision) = revision.and_then(|text| text.parse::<u64>().ok()) else { return };
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if revision < *highest {
            warn!(
                revision,
                highest = *highest,
                "the revision ran backwards: every watch starts again"
            );
            self.restarts.send_replace(());
        }
        *highest = revision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_back_restarts() {
        let (revision, restarts) = Revision::new();
        let restarted = |restarts: &Restarts| restarts.0.has_changed().unwrap();
        for seen in [Some("7"), Some("7"), None, Some("rubbish"), Some("9")] {
            revision.observe(seen);
            assert!(!restarted(&restarts), "{seen:?}");
        }
        revision.observe(Some("3"));
        assert!(restarted(&restarts));
    }
}
