//! What a look for what was missed could not see.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::warn;

/// What could not be looked at.
#[derive(Default)]
pub(super) struct Blind(Mutex<Vec<String>>);

impl Blind {
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, why: String) {
        warn!(%why, "what a watch may have missed is not known");
        self.all().push(why);
    }

    /// All of it.
    pub(super) fn into_all(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
