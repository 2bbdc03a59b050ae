//! The grants that are being decided, written and begun.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{Item, Lane, Queue};

/// For how long what may end a right waits for whoever gives it: the answer to a write may come late, and the right be held
/// meanwhile. What is stored after the end goes as what another controller stores then.
const END_WAITS: Duration = Duration::from_secs(1);

/// The grants that are being decided, written and begun: their own reconciliation waits, so that nothing is made twice
/// and nothing that happens meanwhile is missed.
#[derive(Clone)]
pub(crate) struct InHand {
    names: Arc<Mutex<HashMap<String, Held>>>,
    queue: Queue,
}

struct Held {
    since: Instant,
    /// In which lane it is to be looked at when it is let go: somebody denied it meanwhile, say.
    after: Option<Lane>,
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

    fn names(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a grant in hand, before it is written: what happens while it is decided bears on it, too.
    pub(crate) fn take(&self, name: &str) -> InHandGuard {
        let held = || Held { since: Instant::now(), after: None };
        self.names().entry(name.to_owned()).or_insert_with(held);
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

    /// For how long a look in this lane waits for whoever has a grant in hand, if it does: for as long as that takes, or for
    /// this time, if it may end the right. It is looked at when it is let go, too.
    pub(crate) fn defers(&self, name: &str, lane: Lane) -> Option<Duration> {
        let mut names = self.names();
        let held = names.get_mut(name)?;
        held.after = Some(held.after.map_or(lane, |known| known.min(lane)));
        let left = END_WAITS.saturating_sub(held.since.elapsed());
        (!lane.may_end() || !left.is_zero()).then_some(left)
    }
}

impl Drop for InHandGuard {
    fn drop(&mut self) {
        let after = self.in_hand.names().remove(&self.name).and_then(|held| held.after);
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
        assert_eq!(in_hand.defers("g", Lane::End), None, "nobody holds it");
        let held = in_hand.take("g");
        for lane in [Lane::Follow, Lane::End] {
            assert!(in_hand.defers("g", lane).is_some());
        }
        assert!(queue.waiting().is_empty());
        drop(held);
        assert_eq!(queue.waiting(), [(Item::Grant("g".to_owned()), Lane::End)]);
        drop(in_hand.take("h"));
        assert_eq!(queue.waiting().len(), 1, "nothing happened to it");
    }
}
