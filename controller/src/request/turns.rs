//! The requests of one person are decided one after the other.
//!
//! Limits count what a person asks for and holds. Of two requests that were decided at the same time,
//! neither would see what the other is given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Whose turn it is, by person.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>);

impl Turns {
    /// Waits for the turn of a person; it lasts until the guard is dropped.
    pub(crate) async fn of(&self, username: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Who waits holds a second reference; the rest is history.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(username.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
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
}
