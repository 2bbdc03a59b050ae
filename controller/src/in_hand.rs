//! The grants that are being decided, written and begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::{Item, Lane, Queue};

/// The grants that are being decided, written and begun: their own reconciliation waits, so that nothing is made twice
/// and nothing that happens meanwhile is missed.
#[derive(Clone)]
pub(crate) struct InHand {
    /// With each, in which lane it is to be looked at when it is let go: somebody denied it meanwhile, say.
    names: Arc<Mutex<HashMap<String, Option<Lane>>>>,
    queue: Queue,
}

/// Holds a grant until it is dropped. What happened to it meanwhile is looked at then.
pub(crate) struct InHandGuard {
    in_hand: InHand,
    name: String,
}

impl InHand {
    pub(crate) fn new(queue: Queue) -> Self {
        Self { names: Arc::default(), queue }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Option<Lane>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a grant in hand, before it is written: what happens while it is decided bears on it, too.
    pub(crate) fn take(&self, name: &str) -> InHandGuard {
        self.names().entry(name.to_owned()).or_default();
        InHandGuard { in_hand: self.clone(), name: name.to_owned() }
    }

    /// Whether a grant is in hand.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.names().contains_key(name)
    }

    /// How many grants are in hand.
    pub(crate) fn count(&self) -> usize {
        self.names().len()
    }

    /// Whether a grant is in hand; if so, it is looked at when it is let go.
    pub(crate) fn defers(&self, name: &str, lane: Lane) -> bool {
        let mut names = self.names();
        let Some(after) = names.get_mut(name) else { return false };
        *after = Some(after.map_or(lane, |known| known.min(lane)));
        true
    }
}

impl Drop for InHandGuard {
    fn drop(&mut self) {
        let after = self.in_hand.names().remove(&self.name).flatten();
        if let Some(lane) = after {
            self.in_hand.queue.now(Item::Grant(self.name.clone()), lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use lapse_cluster::clock::Clock;

    use super::*;

    #[tokio::test]
    async fn what_happens_meanwhile_is_looked_at_when_it_is_let_go() {
        let queue = Queue::new(Clock::default());
        let in_hand = InHand::new(queue.clone());
        assert!(!in_hand.defers("g", Lane::End), "nobody holds it");
        let held = in_hand.take("g");
        assert!(in_hand.defers("g", Lane::Follow) && in_hand.defers("g", Lane::End));
        assert!(queue.waiting().is_empty());
        drop(held);
        assert_eq!(queue.waiting(), [(Item::Grant("g".to_owned()), Lane::End)]);
        drop(in_hand.take("h"));
        assert_eq!(queue.waiting().len(), 1, "nothing happened to it");
    }
}
