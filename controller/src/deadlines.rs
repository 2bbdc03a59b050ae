//! When each grant expires: by the wall clock, or by one that nobody sets, whichever is first.
//!
//! How long a right is held follows from the wall clock when its Grant is first seen. If that is set back later, the API
//! server's perhaps with it, the right lasts no longer for that. What this process has seen pass is over for all that it does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_cluster::clock::{self, Clock};
use lapse_cluster::index::{Change, KnownGrant};
use lapse_cluster::process::Heartbeat;
use lapse_engine::summary::GrantSummary;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::moment::{LONGEST_SLEEP, Moment};

/// When each grant expires.
#[derive(Clone, Default)]
pub(crate) struct Deadlines {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<String, Moment>,
    by_wall: BTreeSet<(DateTime<Utc>, String)>,
    by_wait: BTreeSet<(Instant, String)>,
    /// Those that are over though the wall clock says otherwise: this process has begun to take their bindings, as their
    /// time was up, or has seen their time pass by the other clock.
    over: HashSet<String>,
}

impl Table {
    fn set(&mut self, name: &str, at: DateTime<Utc>, now: Moment) {
        // How long it is to be held is known from the first time on.
        if self.by_name.get(name).is_some_and(|known| known.wall == at) {
            return;
        }
        self.forget(name);
        let at = now.when(at);
        self.by_name.insert(name.to_owned(), at);
        self.by_wall.insert((at.wall, name.to_owned()));
        self.by_wait.insert((at.monotonic, name.to_owned()));
    }

    fn forget(&mut self, name: &str) {
        if let Some(at) = self.by_name.remove(name) {
            self.by_wall.remove(&(at.wall, name.to_owned()));
            self.by_wait.remove(&(at.monotonic, name.to_owned()));
        }
    }

    /// It has ended, or is gone.
    fn end(&mut self, name: &str) {
        self.forget(name);
        self.over.remove(name);
    }

    fn take_due(&mut self, now: Moment) -> Vec<String> {
        let mut due = Vec::new();
        while let Some((at, name)) = self.by_wall.first().cloned()
            && at <= now.wall
        {
            self.forget(&name);
            due.push(name);
        }
        while let Some((at, name)) = self.by_wait.first().cloned()
            && at <= now.monotonic
        {
            self.forget(&name);
            self.over.insert(name.clone());
            due.push(name);
        }
        due
    }

    /// How long it is until the next is due.
    fn next_after(&self, now: Moment) -> Option<Duration> {
        let by_wall = self.by_wall.first();
        let by_wall = by_wall.map(|(at, _)| (*at - now.wall).to_std().unwrap_or_default());
        let by_wait = self.by_wait.first();
        let by_wait = by_wait.map(|(at, _)| at.saturating_duration_since(now.monotonic));
        by_wall.into_iter().chain(by_wait).min()
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

    /// Sets when a grant expires. The wait is by this process's own clock: that the API server's was ahead for a moment does
    /// not stay.
    fn set(&self, name: &str, at: DateTime<Utc>) {
        self.table().set(name, at, Moment::now(clock::now()));
        self.changed.notify_one();
    }

    /// The time of a grant was up, and its bindings are being taken for that.
    pub(crate) fn took(&self, name: &str) {
        self.table().over.insert(name.to_owned());
    }

    /// The time by which to judge a grant: that of its end at least, once it lost its bindings for that, or was held for as
    /// long as it was to be. The clocks may say something earlier by now, and it would look as if somebody else had taken
    /// them, or last longer.
    pub(crate) fn time_of(&self, grant: &GrantSummary, now: DateTime<Utc>) -> DateTime<Utc> {
        let is_over = self.table().over.contains(&*grant.name);
        if is_over { now.max(grant.expires_at.time()) } else { now }
    }

    /// Calls `expired` for each grant at its time, until it is dropped.
    pub(crate) async fn run(self, clock: Clock, beats: Heartbeat, expired: impl Fn(&str)) {
        loop {
            beats.beat();
            let now = Moment::now(clock.now());
            let due = self.table().take_due(now);
            for name in &due {
                expired(name);
            }
            let next = self.table().next_after(now);
            let wait = next.map_or(LONGEST_SLEEP, |wait| wait.min(LONGEST_SLEEP));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
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
        let start = Moment { monotonic: Instant::now(), wall: time(0) };
        let at = |seconds| start.after(Duration::from_secs(seconds));
        for (name, seconds) in [("late", 20), ("early", 10), ("moved", 5), ("moved", 30)] {
            table.set(name, time(seconds), start);
        }
        table.set("over", time(1), start);
        table.forget("over");
        assert_eq!(table.take_due(at(9)), Vec::<String>::new());
        assert_eq!(table.next_after(at(9)), Some(Duration::from_secs(1)));
        assert_eq!(table.take_due(at(20)), ["early", "late"]);
        assert_eq!(table.take_due(at(20)), Vec::<String>::new());
        assert_eq!(table.take_due(at(30)), ["moved"]);
        assert_eq!(table.next_after(at(30)), None);
        assert!(table.over.is_empty(), "the clocks agree, and the wall clock is looked at again");
    }

    /// Somebody sets the clocks back by an hour, ours and the API server's: what was held for as long as it was to be is over.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_lengthens_no_right() {
        let deadlines = Deadlines::default();
        let hour = TimeDelta::hours(1);
        let mut grant = crate::fake::held("fix", "2026-01-01T01:00:00Z");
        grant.spec.expires_at = (clock::now() + TimeDelta::seconds(10)).into();
        let known = GrantSummary::of(&grant);
        let end = known.expires_at.time();
        let seen = Moment::now(end - TimeDelta::seconds(10));
        deadlines.table().set("fix", end, seen);
        let wall_after = |seconds| seen.wall + TimeDelta::seconds(seconds) - hour;
        // It is shown again after that, which changes nothing.
        tokio::time::advance(Duration::from_secs(5)).await;
        deadlines.table().set("fix", end, Moment::now(wall_after(5)));
        let due = |seconds| deadlines.table().take_due(Moment::now(wall_after(seconds)));
        assert_eq!(due(5), [""; 0]);
        assert_eq!(deadlines.time_of(&known, wall_after(5)), wall_after(5));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(due(11), ["fix"]);
        assert_eq!(deadlines.time_of(&known, wall_after(11)), end, "it is over");
        assert_eq!(due(11), [""; 0], "once");
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
