//! The requests of one person are decided one after the other.
//!
//! Limits count what a person asks for and holds. Of two requests that were decided at the same time,
//! neither would see what the other is given. For the same reason the requests of all people are given
//! one after the other under policies that are kept apart: whoever approves one may hold another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Whose turn it is.
#[derive(Clone, Default)]
pub(crate) struct Turns {
    by_person: Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>,
    kept_apart: Arc<Turn<()>>,
}

impl Turns {
    /// Waits for the turn of a person; it lasts until the guard is dropped.
    pub(crate) async fn of(&self, username: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.by_person.lock().unwrap_or_else(PoisonError::into_inner);
            // Who waits holds a second reference; the rest is history.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(username.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Waits for the turn that all requests share which are given under policies that are kept apart.
    /// Whoever has it waits for no other turn, so nobody waits in a circle.
    pub(crate) async fn of_what_is_kept_apart(&self) -> OwnedMutexGuard<()> {
        self.kept_apart.clone().lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_person() {
        let turns = Turns::default();
        let first = turns.of("alice").await;
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.of("alice").await) }
        });
        drop(turns.of("bob").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!second.is_finished(), "it is not yet the turn of the second");
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_apart_has_one_turn_for_all() {
        let turns = Turns::default();
        let (_alice, _bob) = (turns.of("alice").await, turns.of("bob").await);
        let first = turns.of_what_is_kept_apart().await;
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.of_what_is_kept_apart().await) }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!second.is_finished(), "it is not yet the turn of the second");
        drop(first);
        second.await.unwrap();
    }
}
