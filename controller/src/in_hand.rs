//! The grants that are being begun by whoever has just written them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The grants that are being begun: their own reconciliation waits, so that nothing is made twice.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<String>>>);

/// Holds a grant until it is dropped.
pub(crate) struct Held {
    in_hand: InHand,
    name: String,
}

impl InHand {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a grant in hand.
    pub(crate) fn take(&self, name: &str) -> Held {
        self.names().insert(name.to_owned());
        Held { in_hand: self.clone(), name: name.to_owned() }
    }

    /// Whether a grant is in hand.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.names().contains(name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_hand.names().remove(&self.name);
    }
}
