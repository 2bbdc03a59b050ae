//! Looks through the file systems of a host beside everything else, at the lowest priority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::Builder;

use rustix::process::nice;
use tracing::error;

use super::walk::{Walk, walk};
use crate::clock::Reading;
use crate::places::Places;

/// How little it matters to the scheduler of the kernel, and so to those of disks.
const LOWEST: i32 = 19;

/// A look that is under way.
pub(super) struct Walker {
    found: Receiver<Option<Walk>>,
    stop: Arc<AtomicBool>,
}

/// What came of a look.
pub(super) enum Outcome {
    /// It is under way.
    Waiting,
    /// It was told to stop, or broke.
    Nothing,
    /// What was found.
    Found(Box<Walk>),
}

impl Walker {
    /// Begins to look.
    pub(super) fn begin(places: Places, now: Reading) -> Option<Self> {
        let (sender, found) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let look = move || {
            // Of this thread alone. Without it, it is done all the same.
            let _ = nice(LOWEST);
            let found = walk(&places, &now, &|| told.load(Ordering::Relaxed));
            // Nobody may be there any more who wants to know.
            let _ = sender.send(found);
        };
        match Builder::new().name("walk".to_owned()).spawn(look) {
            Ok(_) => Some(Self { found, stop }),
            Err(error) => {
                error!(%error, "setuid programs cannot be looked for yet");
                None
            }
        }
    }

    /// What came of it so far.
    pub(super) fn outcome(&self) -> Outcome {
        match self.found.try_recv() {
            Ok(Some(walk)) => Outcome::Found(Box::new(walk)),
            Ok(None) | Err(TryRecvError::Disconnected) => Outcome::Nothing,
            Err(TryRecvError::Empty) => Outcome::Waiting,
        }
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
