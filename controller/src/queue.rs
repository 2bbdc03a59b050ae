//! What is to be reconciled, in which order, and by how many at once.
//!
//! Each object is reconciled by one at a time; what happens meanwhile has it looked at again. Ends have places of their
//! own, and so has what may end, so that nothing that is given, however much, delays one: a right that was looked at
//! there, and is to be given, goes to the places of giving. What could not be told is looked for again in places of its own,
//! at a pace that does not grow with it. Emergencies come before what else is asked for; what only has to be written down
//! comes after that. An object whose turn is taken waits without a place, so that one person's many requests keep nobody
//! else from theirs.

mod lane;
mod state;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lapse_cluster::clock::Clock;
use lapse_cluster::jitter;
use lapse_cluster::process::{Heartbeat, panicked};
use tokio::sync::Notify;
use tracing::warn;

pub(crate) use self::lane::Lane;
use self::lane::Pool;
use self::state::State;
pub(crate) use self::state::{Item, Job};
pub(crate) use self::work::place_is_due;
use crate::error::ReconcileError;
use crate::metrics::{KindLabel, Metrics};
use crate::moment::{LONGEST_SLEEP, Moment};

/// What a reconciliation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is done; when to look again, if nothing happens before.
    Until(Option<DateTime<Utc>>),
    /// The same of a right that is held: what is due then may be its end, whatever it was looked at for until now.
    HeldUntil(DateTime<Utc>),
    /// The same of a right of which it could not be told whether it ends, or has ended.
    UnsureUntil(DateTime<Utc>),
    /// The same of a right that is still to be given, in the lane of that.
    ToGive(Lane, DateTime<Utc>),
    /// It must be done again, in the turn that all share who are given something that is kept apart.
    InCommonTurn,
}

impl Done {
    /// Whether all is known that was looked for.
    fn is_sure(self) -> bool {
        !matches!(self, Self::UnsureUntil(_))
    }
}

/// How a reconciliation came out.
pub(crate) type Reconciled = Result<Done, ReconcileError>;

/// The queue. A copy is the same queue.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Clock,
    ready: [Notify; Pool::ALL.len()],
    later: Notify,
}

impl Queue {
    pub(crate) fn new(clock: Clock) -> Self {
        let ready = Pool::ALL.map(|_| Notify::new());
        Self(Arc::new(Inner { state: Mutex::default(), clock, ready, later: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state whole, so what panicked elsewhere is no reason to stop.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, and in which lane.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<(Item, Lane)> {
        self.state().waiting()
    }

    /// What is due when the clock says this.
    #[cfg(test)]
    pub(crate) fn due_by(&self, at: DateTime<Utc>) -> Vec<(Item, Lane)> {
        self.state().take_due(Moment::now(at)).0
    }

    /// Has an object looked at as soon as can be.
    pub(crate) fn now(&self, item: Item, lane: Lane) {
        self.state().push(item, lane);
        self.0.ready[lane.pool() as usize].notify_one();
    }

    fn now_by_both(&self) -> Moment {
        Moment::now(self.0.clock.now())
    }

    /// Has an object looked at then, unless it is before. If the clock is set back meanwhile, it is looked at when it would
    /// have been: whoever looks knows what the time is, and when to look again.
    pub(crate) fn at(&self, item: Item, lane: Lane, at: DateTime<Utc>) {
        self.postpone(item, lane, self.now_by_both().when(at));
    }

    /// The same, in a while.
    pub(crate) fn soon(&self, item: Item, lane: Lane, wait: Duration) {
        self.postpone(item, lane, self.now_by_both().after(wait));
    }

    fn postpone(&self, item: Item, lane: Lane, at: Moment) {
        self.state().postpone(item, lane, at);
        self.0.later.notify_one();
    }

    /// Queues what is due, until it is dropped.
    pub(crate) async fn keep_time(self, beats: Heartbeat) {
        loop {
            beats.beat();
            let now = self.now_by_both();
            let (due, next) = self.state().take_due(now);
            for (item, lane) in due {
                self.now(item, lane);
            }
            let wait = next.map_or(LONGEST_SLEEP, |wait| wait.min(LONGEST_SLEEP));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.later.notified() => {}
            }
        }
    }

    async fn take(&self, pool: Pool) -> Job {
        let ready = &self.0.ready[pool as usize];
        loop {
            let notified = ready.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(job) = self.state().take(pool) {
                // Of several that came, one may have been told.
                ready.notify_one();
                return job;
            }
            notified.await;
        }
    }

    fn finish(&self, metrics: &Metrics, job: Job, outcome: Option<Reconciled>) {
        let kind = job.item.kind();
        let failure = match outcome {
            Some(Ok(done)) => {
                metrics.reconciled(kind, true);
                let freed = self.state().done(&job);
                match done {
                    Done::Until(Some(at)) => self.at(job.item, job.lane, at),
                    Done::HeldUntil(at) => self.at(job.item, job.lane.min(Lane::Held), at),
                    Done::UnsureUntil(at) => self.at(job.item, job.lane.again(), at),
                    Done::ToGive(lane, at) => self.at(job.item, lane, at),
                    Done::Until(None) => {}
                    Done::InCommonTurn => {
                        let pool = job.lane.pool();
                        self.state().push_in_common_turn(job.item, job.lane);
                        self.0.ready[pool as usize].notify_one();
                    }
                }
                return self.wake(freed);
            }
            Some(Err(error)) => error,
            None => ReconcileError::Panicked,
        };
        metrics.reconciled(kind, false);
        if matches!(failure, ReconcileError::Panicked) {
            panicked(kind.name());
        }
        let (count, freed) = self.state().failed(&job);
        let lane = match job.lane {
            _ if failure.keeps_a_right() => Lane::End,
            Lane::Held if !failure.is_conflict() => Lane::Again,
            lane => lane,
        };
        let wait = failure.retry_after(count.saturating_sub(1), jitter(), lane.may_end());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        warn!(?kind, object = %job.item, error = %failure, wait_ms, "will try again");
        self.soon(job.item, lane, wait);
        self.wake(freed);
    }

    fn wake(&self, pools: Vec<Pool>) {
        for pool in pools {
            self.0.ready[pool as usize].notify_one();
        }
    }
}

impl Item {
    fn kind(&self) -> KindLabel {
        match self {
            Self::Request { .. } => KindLabel::AccessRequest,
            Self::Grant(_) => KindLabel::Grant,
            Self::Policy(_) => KindLabel::JitPolicy,
            Self::Endpoint(_) => KindLabel::Endpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use lapse_cluster::clock;
    use prometheus_client::registry::Registry;

    use super::*;

    /// A ban that comes by the clock, say, whatever the right was looked at for until now.
    #[tokio::test]
    async fn what_is_due_of_a_right_that_is_held_may_be_its_end() {
        let metrics = Metrics::register(&mut Registry::default());
        let queue = Queue::new(Clock::default());
        let grant = || Item::Grant("fix".to_owned());
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        for (lane, later) in [
            (Lane::End, Lane::End),
            (Lane::Held, Lane::Held),
            (Lane::Emergency, Lane::Held),
            (Lane::Give, Lane::Held),
            (Lane::Check, Lane::Held),
            (Lane::EndAgain, Lane::Held),
            (Lane::Again, Lane::Held),
            (Lane::Follow, Lane::Held),
        ] {
            queue.now(grant(), lane);
            let job = queue.take(lane.pool()).await;
            queue.finish(&metrics, job, Some(Ok(Done::HeldUntil(at))));
            assert_eq!(queue.due_by(at), [(grant(), later)]);
        }
    }

    /// It takes no place from what is known to end, nor from what nobody has looked at yet; and what ends waits with none of it.
    #[tokio::test]
    async fn what_could_not_be_told_leaves_the_places_of_ends() {
        let metrics = Metrics::register(&mut Registry::default());
        let grant = || Item::Grant("fix".to_owned());
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let unread = || Err(ReconcileError::Unknown("no answer".to_owned()));
        let unsure = || Ok(Done::UnsureUntil(at));
        for (lane, outcome, later) in [
            (Lane::End, unsure(), Lane::EndAgain),
            (Lane::EndAgain, unsure(), Lane::EndAgain),
            (Lane::EndAgain, unread(), Lane::EndAgain),
            (Lane::Held, unsure(), Lane::Again),
            (Lane::Follow, unsure(), Lane::Again),
            (Lane::Held, unread(), Lane::Again),
            (Lane::Again, unread(), Lane::Again),
            (Lane::End, unread(), Lane::End),
            (Lane::Again, Err(ReconcileError::NotJudged("no answer".to_owned())), Lane::End),
        ] {
            let queue = Queue::new(Clock::default());
            queue.now(grant(), lane);
            let job = queue.take(lane.pool()).await;
            queue.finish(&metrics, job, Some(outcome));
            assert_eq!(queue.due_by(clock::now() + TimeDelta::hours(1)), [(grant(), later)]);
        }
    }

    /// A Grant that somebody's decision had looked at as an end, say, and of which nothing ends.
    #[tokio::test]
    async fn what_is_to_be_given_leaves_the_places_of_ends() {
        let metrics = Metrics::register(&mut Registry::default());
        let queue = Queue::new(Clock::default());
        let grant = || Item::Grant("fix".to_owned());
        let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        for lane in [Lane::Give, Lane::Emergency] {
            queue.now(grant(), Lane::End);
            let job = queue.take(Pool::End).await;
            queue.finish(&metrics, job, Some(Ok(Done::ToGive(lane, at))));
            assert_eq!((queue.waiting(), queue.due_by(at)), (vec![], vec![(grant(), lane)]));
        }
    }

    /// What others did may end a right as well as its own end: whatever kept it from that, it ends within a second of it.
    #[tokio::test]
    async fn an_end_that_failed_waits_for_no_more_than_a_second() {
        let metrics = Metrics::register(&mut Registry::default());
        for (lane, is_end) in
            [(Lane::End, true), (Lane::Held, true), (Lane::Again, true), (Lane::Give, false)]
        {
            let queue = Queue::new(Clock::default());
            let mut longest = Duration::ZERO;
            for _ in 0..12 {
                queue.now(Item::Grant("fix".to_owned()), lane);
                let job = queue.take(lane.pool()).await;
                let begun = Moment::now(queue.0.clock.now());
                let failure = ReconcileError::Unknown("no answer".to_owned());
                queue.finish(&metrics, job, Some(Err(failure)));
                let (due, wait) = queue.state().take_due(begun);
                assert_eq!(due, []);
                longest = longest.max(wait.unwrap());
            }
            let second = Duration::from_millis(1100);
            assert_eq!(longest <= second, is_end, "{lane:?} waits for {longest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_by_a_clock_that_was_set_is_looked_at_within_a_second() {
        let clock = Clock::default();
        let queue = Queue::new(clock.clone());
        queue.at(Item::Grant("fix".to_owned()), Lane::End, clock.now() + TimeDelta::hours(1));
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert_eq!(queue.waiting(), []);
        let date = clock.now() + TimeDelta::hours(2);
        clock.observe(&date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        assert_eq!(queue.waiting(), [(Item::Grant("fix".to_owned()), Lane::End)]);
    }

    /// The clock was ahead when it was said when to look again, and is set back.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_keeps_nothing_waiting() {
        let clock = Clock::default();
        let says = |ahead: TimeDelta| {
            let date = clock.now() - clock.skew().max(TimeDelta::zero()) + ahead;
            clock.observe(&date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        };
        let queue = Queue::new(clock.clone());
        says(TimeDelta::hours(2));
        let [retried, due, later] = ["retried", "due", "later"].map(|n| Item::Grant(n.to_owned()));
        queue.soon(retried.clone(), Lane::End, LONGEST_SLEEP);
        queue.at(due.clone(), Lane::Held, clock.now() + LONGEST_SLEEP);
        queue.at(later, Lane::Held, clock.now() + TimeDelta::hours(1));
        says(TimeDelta::zero());
        assert!(clock.skew() < TimeDelta::minutes(1), "it was set back");
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        tokio::time::sleep(LONGEST_SLEEP / 2).await;
        assert_eq!(queue.waiting(), []);
        tokio::time::sleep(2 * LONGEST_SLEEP).await;
        let waiting = queue.waiting();
        assert!(waiting.contains(&(retried, Lane::End)) && waiting.contains(&(due, Lane::Held)));
        assert_eq!(waiting.len(), 2, "{waiting:?}");
    }
}
