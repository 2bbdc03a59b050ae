//! Where no pod with an ephemeral container of a grant is left.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The UID of a grant, and a namespace; without one, all of them.
type Key = (String, Option<String>);

/// Where a look found no pod with an ephemeral container of a grant whose right is gone. More of these cannot come, and to
/// find them every pod is listed, so one look is enough.
#[derive(Clone, Default)]
pub(crate) struct Undebugged(Arc<Mutex<BTreeSet<Key>>>);

impl Undebugged {
    /// More than these are forgotten, and looked for again.
    const MOST: usize = 10_000;

    fn all(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a look found none.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.all().contains(key)
    }

    /// A look has found none.
    pub(crate) fn note(&self, key: Key) {
        let mut all = self.all();
        if all.len() >= Self::MOST {
            all.clear();
        }
        all.insert(key);
    }
}
