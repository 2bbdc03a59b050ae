//! When each grant expires, by the wall clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_cluster::clock::Clock;
use lapse_cluster::index::{Change, KnownGrant};
use lapse_cluster::process::Heartbeat;
use tokio::sync::Notify;

/// The longest sleep. The clock is read again after each, so that a suspended machine, or a clock
/// that was set, delays no end by more than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// When each grant expires.
#[derive(Clone, Default)]
pub(crate) struct Deadlines {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<String, DateTime<Utc>>,
    by_time: BTreeSet<(DateTime<Utc>, String)>,
}

impl Table {
    fn set(&mut self, name: &str, at: DateTime<Utc>) {
        if self.by_name.get(name) == Some(&at) {
            return;
        }
        self.forget(name);
        self.by_name.insert(name.to_owned(), at);
        self.by_time.insert((at, name.to_owned()));
    }

    fn forget(&mut self, name: &str) {
        if let Some(at) = self.by_name.remove(name) {
            self.by_time.remove(&(at, name.to_owned()));
        }
    }

    fn take_due(&mut self, now: DateTime<Utc>) -> Vec<String> {
        let mut due = Vec::new();
        while let Some((at, name)) = self.by_time.first().cloned()
            && at <= now
        {
            self.forget(&name);
            due.push(name);
        }
        due
    }
}

impl Deadlines {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change leaves the table whole, so one that panicked elsewhere is still good.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what has changed of a grant.
    pub(crate) fn follow(&self, change: &Change<KnownGrant>) {
        match change.after.as_ref().map(|known| &known.summary) {
            Some(Ok(grant)) if grant.live.is_some() => {
                self.set(&grant.name, grant.expires_at.time());
            }
            Some(Ok(grant)) => self.forget(&grant.name),
            // What it says is not known; its bindings carry their own end.
            Some(Err(_)) => {}
            None => {
                if let Some(before) = &change.before {
                    self.forget(&before.name);
                }
            }
        }
    }

    /// Sets when a grant expires.
    fn set(&self, name: &str, at: DateTime<Utc>) {
        self.table().set(name, at);
        self.changed.notify_one();
    }

    /// Forgets a grant that is over.
    fn forget(&self, name: &str) {
        self.table().forget(name);
    }

    /// Calls `expired` for each grant at its time, until it is dropped.
    pub(crate) async fn run(self, clock: Clock, beats: Heartbeat, expired: impl Fn(&str)) {
        loop {
            beats.beat();
            let now = clock.now();
            let due = self.table().take_due(now);
            for name in &due {
                expired(name);
            }
            let next = self.table().by_time.first().map(|(at, _)| *at);
            let wait = next.and_then(|at| (at - now).to_std().ok()).unwrap_or(LONGEST_SLEEP);
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_SLEEP)) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn what_is_due_comes_once_and_in_order() {
        let mut table = Table::default();
        table.set("late", time(20));
        table.set("early", time(10));
        table.set("moved", time(5));
        table.set("moved", time(30));
        table.set("over", time(1));
        table.forget("over");
        assert_eq!(table.take_due(time(9)), Vec::<String>::new());
        assert_eq!(table.take_due(time(20)), ["early", "late"]);
        assert_eq!(table.take_due(time(20)), Vec::<String>::new());
        assert_eq!(table.take_due(time(30)), ["moved"]);
    }
}
