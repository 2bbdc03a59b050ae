//! When each grant expires, by the wall clock.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_cluster::clock::Clock;
use lapse_cluster::index::{Change, KnownGrant};
use lapse_cluster::process::Heartbeat;
use lapse_engine::summary::GrantSummary;
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
    /// Those whose bindings this process has begun to take, as their time was up.
    taken: HashSet<String>,
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

    /// It is over, or gone.
    fn end(&mut self, name: &str) {
        self.forget(name);
        self.taken.remove(name);
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
            Some(Ok(grant)) => self.table().end(&grant.name),
            // What it says is not known; its bindings carry their own end.
            Some(Err(_)) => {}
            None => {
                if let Some(before) = &change.before {
                    self.table().end(&before.name);
                }
            }
        }
    }

    /// Sets when a grant expires.
    fn set(&self, name: &str, at: DateTime<Utc>) {
        self.table().set(name, at);
        self.changed.notify_one();
    }

    /// The time of a grant was up, and its bindings are being taken for that.
    pub(crate) fn took(&self, name: &str) {
        self.table().taken.insert(name.to_owned());
    }

    /// The time by which to judge a grant: that of its end at least, once it lost its bindings for that. The clocks that
    /// were asked then may say something earlier by now, and it would look as if somebody else had taken them.
    pub(crate) fn time_of(&self, grant: &GrantSummary, now: DateTime<Utc>) -> DateTime<Utc> {
        let was_taken = self.table().taken.contains(&*grant.name);
        if was_taken { now.max(grant.expires_at.time()) } else { now }
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
    use chrono::TimeDelta;

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

    /// As it is after a suspended machine wakes, too: the clock is ahead of what timers make of it.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_is_noticed_within_a_second() {
        let (clock, deadlines) = (Clock::default(), Deadlines::default());
        let says = |ahead: TimeDelta| {
            let date = clock.now() - clock.skew().max(TimeDelta::zero()) + ahead;
            clock.observe(&date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        };
        deadlines.set("fix", clock.now() + TimeDelta::hours(1));
        let (sender, mut over) = tokio::sync::mpsc::unbounded_channel();
        let running = deadlines.clone().run(clock.clone(), Heartbeat::new(), move |name| {
            sender.send(name.to_owned()).unwrap();
        });
        tokio::spawn(running);
        let mut within_a_second =
            async || tokio::time::timeout(LONGEST_SLEEP * 2, over.recv()).await.ok().flatten();
        assert_eq!(within_a_second().await, None);
        // Set forward, and back before it is too late.
        says(TimeDelta::minutes(30));
        assert_eq!(within_a_second().await, None);
        says(TimeDelta::zero());
        assert_eq!(within_a_second().await, None);
        says(TimeDelta::hours(2));
        assert_eq!(within_a_second().await.as_deref(), Some("fix"));
    }

    #[test]
    fn what_was_taken_is_over_whatever_the_clock_says_until_it_is() {
        let deadlines = Deadlines::default();
        let grant = crate::fake::held("fix", "2026-01-01T01:00:00Z");
        let known = GrantSummary::of(&grant);
        let (end, now) = (known.expires_at.time(), known.expires_at.time() - TimeDelta::seconds(7));
        assert_eq!(deadlines.time_of(&known, now), now);
        deadlines.took("fix");
        assert_eq!(deadlines.time_of(&known, now), end);
        assert_eq!(
            deadlines.time_of(&known, end + TimeDelta::seconds(1)),
            end + TimeDelta::seconds(1)
        );
        deadlines.table().end("fix");
        assert_eq!(deadlines.time_of(&known, now), now);
    }
}
