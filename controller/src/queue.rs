//! What is to be reconciled, in which order, and by how many at once.
//!
//! Each object is reconciled by one at a time; what happens meanwhile has it looked at again. Ends have places of their
//! own, so that nothing that is given, however much, delays one; emergencies come before what else is asked for; what
//! only has to be written down comes after that. An object whose turn is taken waits without a place, so that one
//! person's many requests keep nobody else from theirs.

mod state;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lapse_cluster::clock::Clock;
use lapse_cluster::jitter;
use lapse_cluster::process::{Heartbeat, TRACES, Tasks, Work, bounded_text, panicked};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, info_span, warn};

pub(crate) use self::state::{Item, Job, Lane};
use self::state::{Pool, State};
use crate::error::ReconcileError;
use crate::metrics::{KindLabel, Metrics};

/// What a reconciliation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is done; when to look again, if nothing happens before.
    Until(Option<DateTime<Utc>>),
    /// The same of a right that is held: what is due then may be its end, whatever it was looked at for until now.
    HeldUntil(DateTime<Utc>),
    /// It must be done again, in the turn that all share who are given something that is kept apart.
    InCommonTurn,
}

/// How a reconciliation came out.
pub(crate) type Reconciled = Result<Done, ReconcileError>;

/// The longest sleep. The clock is read again after each, so that a suspended machine, or a clock
/// that was set, delays nothing by more than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long an end keeps the others from its place, once so many hang: a namespace whose objects cannot be deleted, because
/// somebody's admission webhook hangs there, is not to hold all of them. The shortest first.
const PLACE_FOR: [(Duration, usize); 3] =
    [(Duration::from_millis(25), 64), (Duration::from_millis(100), 8), (Duration::from_secs(1), 0)];
/// How many may go on without a place, for each worker: a thousand of all ends.
const WITHOUT_PLACE: usize = 64;

/// Waits until what ends, and began then, is to give its place back; `hanging`: how many go on without one.
pub(crate) async fn place_is_due(begun: Instant, hanging: impl Fn() -> usize) {
    for (place_for, from) in PLACE_FOR {
        tokio::time::sleep_until(begun + place_for).await;
        if hanging() >= from {
            return;
        }
    }
}

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

    /// What is due by then.
    #[cfg(test)]
    pub(crate) fn due_by(&self, at: DateTime<Utc>) -> Vec<(Item, Lane)> {
        self.state().take_due(at).0
    }

    /// Has an object looked at as soon as can be.
    pub(crate) fn now(&self, item: Item, lane: Lane) {
        self.state().push(item, lane);
        self.0.ready[lane.pool() as usize].notify_one();
    }

    /// Has an object looked at then, unless it is before.
    pub(crate) fn at(&self, item: Item, lane: Lane, at: DateTime<Utc>) {
        self.state().postpone(item, lane, at);
        self.0.later.notify_one();
    }

    /// The same, in a while.
    pub(crate) fn soon(&self, item: Item, lane: Lane, wait: Duration) {
        let wait = chrono::TimeDelta::from_std(wait).unwrap_or_default();
        self.at(item, lane, self.0.clock.now() + wait);
    }

    /// Queues what is due, until it is dropped.
    pub(crate) async fn keep_time(self, beats: Heartbeat) {
        loop {
            beats.beat();
            let now = self.0.clock.now();
            let (due, next) = self.state().take_due(now);
            for (item, lane) in due {
                self.now(item, lane);
            }
            let wait = next.and_then(|at| (at - now).to_std().ok()).unwrap_or(LONGEST_SLEEP);
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_SLEEP)) => {}
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
        let lane = if failure.keeps_a_right() { Lane::End } else { job.lane };
        let wait = failure.retry_after(count.saturating_sub(1), jitter(), lane == Lane::End);
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

    /// Starts as many workers as each pool has places. They finish what they have begun when asked to stop, and end by
    /// nothing else: a place that is lost would be lost for good.
    pub(crate) fn work<F>(
        &self,
        metrics: &Arc<Metrics>,
        work: &Work,
        stop: &CancellationToken,
        reconcile: impl Fn(Job) -> F + Clone + Send + 'static,
    ) -> Tasks
    where
        F: Future<Output = Reconciled> + Send + 'static,
    {
        let places = Pool::ALL.into_iter().flat_map(|pool| (0..pool.places()).map(move |_| pool));
        let worker = |pool| {
            let (queue, metrics, stop) = (self.clone(), metrics.clone(), stop.clone());
            let (work, reconcile) = (work.clone(), reconcile.clone());
            let each = move |job: Job| {
                let (queue, metrics) = (queue.clone(), metrics.clone());
                let (doing, span) = (work.begin(), span_of(&job));
                let outcome = reconcile(job.clone()).instrument(span.clone());
                async move {
                    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
                    drop(doing);
                    record(&span, outcome.as_ref().ok());
                    let outcome = outcome
                        .inspect_err(|_| error!(object = %job.item, "a reconciliation panicked"));
                    queue.finish(&metrics, job, outcome.ok());
                }
            };
            self.clone().works(pool, each, stop)
        };
        let mut workers = Tasks::default();
        for pool in places {
            workers.spawn("a worker", worker(pool));
        }
        workers
    }
}

impl Queue {
    /// What a worker does. Whatever waits for an answer for long goes on beside the next.
    async fn works<F>(self, pool: Pool, each: impl Fn(Job) -> F, stop: CancellationToken)
    where
        F: Future<Output = ()>,
    {
        let mut beside = FuturesUnordered::new();
        loop {
            let job = tokio::select! {
                job = self.take(pool), if beside.len() < WITHOUT_PLACE => job,
                Some(()) = beside.next() => continue,
                () = stop.cancelled() => break,
            };
            let mut doing = Box::pin(each(job.clone()));
            let begun = Instant::now();
            loop {
                tokio::select! {
                    () = &mut doing => break,
                    Some(()) = beside.next() => {}
                    () = self.place_is_due(pool, begun) => {
                        let pools = self.state().gives_place_back(&job);
                        self.wake(pools);
                        beside.push(doing);
                        break;
                    }
                }
            }
        }
        while beside.next().await.is_some() {}
    }

    /// Waits until a job that began then is to give its place back.
    async fn place_is_due(&self, pool: Pool, begun: Instant) {
        if pool != Pool::End {
            return std::future::pending().await;
        }
        place_is_due(begun, || self.state().without_place()).await;
    }
}

/// The span of a reconciliation.
fn span_of(job: &Job) -> Span {
    let kind = job.item.kind().name();
    let (namespace, name) = match &job.item {
        Item::Request { namespace, name, .. } => (Some(namespace.as_str()), name),
        Item::Grant(name) | Item::Policy(name) | Item::Endpoint(name) => (None, name),
    };
    info_span!(
        target: TRACES,
        "reconcile",
        otel.name = format!("reconcile {kind}"),
        otel.status_code = Empty,
        lapse.kind = kind,
        lapse.namespace = namespace,
        lapse.name = bounded_text(name),
        lapse.outcome = Empty,
    )
}

/// How it came out; `None`: it panicked.
fn record(span: &Span, outcome: Option<&Reconciled>) {
    let is_ok = outcome.is_some_and(Result::is_ok);
    span.record("lapse.outcome", if is_ok { "succeeded" } else { "failed" });
    if !is_ok {
        span.record("otel.status_code", "ERROR");
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
    use lapse_cluster::process::register_build_info;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    /// Five hundred rights end where somebody's admission webhook hangs, and one elsewhere.
    #[tokio::test(start_paused = true)]
    async fn ends_that_hang_keep_no_other_from_its_place() {
        const LIMIT: Duration = Duration::from_secs(10);
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
            let sender = sender.clone();
            async move {
                if job.item.to_string() == "denied" {
                    sender.send(()).unwrap();
                    return Ok(Done::Until(None));
                }
                tokio::time::sleep(LIMIT).await;
                Err(ReconcileError::Unknown("no answer".to_owned()))
            }
        });
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        for round in 0..3 {
            for number in 0..500 {
                queue.now(Item::Grant(format!("hangs-{number}")), Lane::End);
            }
            queue.now(Item::Grant("denied".to_owned()), Lane::End);
            let begun = Instant::now();
            done.recv().await.unwrap();
            let took = begun.elapsed();
            println!("behind 500 that hang: {took:?}");
            assert!(took < Duration::from_secs(4), "in round {round} it waited for {took:?}");
            tokio::time::sleep(LIMIT / 2).await;
        }
        stop.cancel();
        assert!(workers.finish(LIMIT).await, "what goes on beside is finished, too");
    }

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
            (Lane::Follow, Lane::Held),
        ] {
            queue.now(grant(), lane);
            let job = queue.take(lane.pool()).await;
            queue.finish(&metrics, job, Some(Ok(Done::HeldUntil(at))));
            assert_eq!(queue.state().take_due(at).0, [(grant(), later)]);
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

    #[tokio::test]
    async fn a_panic_is_counted_and_stops_no_other() {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        let metrics = Arc::new(Metrics::register(&mut registry));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let mut workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
            let sender = sender.clone();
            async move {
                assert_ne!(job.item.to_string(), "odd", "a mistake");
                sender.send(job.item).unwrap();
                Ok(Done::Until(None))
            }
        });
        // More of them than there are places.
        for _ in 0..=Pool::End.places() {
            queue.now(Item::Grant("odd".to_owned()), Lane::End);
            queue.now(Item::Grant("fix".to_owned()), Lane::End);
            tokio::select! {
                item = done.recv() => assert_eq!(item, Some(Item::Grant("fix".to_owned()))),
                ended = workers.ended() => panic!("{ended}"),
            }
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let counted =
            text.lines().find(|line| line.starts_with(r#"lapse_panics_total{kind="Grant"}"#));
        assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{text}");
    }
}
