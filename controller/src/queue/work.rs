//! Who reconciles what waits: so many workers for each pool, and what goes on beside them without a place.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lapse_cluster::process::{TRACES, Tasks, Work, bounded_text};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, info_span};

use super::lane::Pool;
use super::{Item, Job, Queue, Reconciled};
use crate::metrics::Metrics;

/// How long an end keeps the others from its place, once so many hang: a namespace whose objects cannot be deleted, because
/// somebody's admission webhook hangs there, is not to hold all of them. The shortest first.
const PLACE_FOR: [(Duration, usize); 3] =
    [(Duration::from_millis(25), 64), (Duration::from_millis(100), 8), (Duration::from_secs(1), 0)];
/// How many may go on without a place, for each worker: a thousand of all ends.
const WITHOUT_PLACE: usize = 64;

/// How long a place of what is looked for again rests when that came to nothing. Something that many wait for cannot be looked
/// up then, and if there are thousands of rights, asking for all of them each second would keep whoever is to answer from
/// coming to itself. A hundred are looked at each second, and all as soon as one of them can be told.
const REST: Duration = Duration::from_millis(160);

/// Waits until what ends, and began then, is to give its place back; `hanging`: how many go on without one.
pub(crate) async fn place_is_due(begun: Instant, hanging: impl Fn() -> usize) {
    for (place_for, from) in PLACE_FOR {
        tokio::time::sleep_until(begun + place_for).await;
        if hanging() >= from {
            return;
        }
    }
}

impl Queue {
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
                    let came_to_nothing = !matches!(outcome, Ok(Ok(done)) if done.is_sure());
                    queue.finish(&metrics, job, outcome.ok());
                    came_to_nothing
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

    /// What a worker does. Whatever waits for an answer for long goes on beside the next. `each` says whether it came to
    /// nothing.
    async fn works<F>(self, pool: Pool, each: impl Fn(Job) -> F, stop: CancellationToken)
    where
        F: Future<Output = bool>,
    {
        let mut beside = FuturesUnordered::new();
        loop {
            let job = tokio::select! {
                job = self.take(pool), if beside.len() < WITHOUT_PLACE => job,
                Some(_) = beside.next() => continue,
                () = stop.cancelled() => break,
            };
            let mut doing = Box::pin(each(job.clone()));
            let begun = Instant::now();
            loop {
                tokio::select! {
                    came_to_nothing = &mut doing => {
                        if came_to_nothing && pool == Pool::Again {
                            rest(&mut beside).await;
                        }
                        break;
                    }
                    Some(_) = beside.next() => {}
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
        if !pool.may_end() {
            return std::future::pending().await;
        }
        place_is_due(begun, || self.state().without_place()).await;
    }
}

/// Leaves a place empty for a while. What goes on beside it does.
async fn rest<F>(beside: &mut FuturesUnordered<F>)
where
    F: Future<Output = bool>,
{
    let mut rested = pin!(tokio::time::sleep(REST));
    loop {
        tokio::select! {
            () = &mut rested => return,
            Some(_) = beside.next() => {}
        }
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use lapse_cluster::clock::{self, Clock};
    use lapse_cluster::process::{Heartbeat, register_build_info};
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::super::{Done, Lane};
    use super::*;
    use crate::error::ReconcileError;

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

    /// Rights that could not be given are tried again, in all of the places of giving, and hang. Somebody denies another, and
    /// that fails once.
    #[tokio::test(start_paused = true)]
    async fn gives_that_hang_keep_no_end_from_its_place() {
        const LIMIT: Duration = Duration::from_secs(10);
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let has_failed = Arc::new(Mutex::new(HashSet::new()));
        let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
            let name = job.item.to_string();
            let (sender, is_first) =
                (sender.clone(), has_failed.lock().unwrap().insert(name.clone()));
            async move {
                match &*name {
                    _ if is_first => {}
                    "denied" => {
                        sender.send(()).unwrap();
                        return Ok(Done::Until(None));
                    }
                    _ => tokio::time::sleep(LIMIT).await,
                }
                Err(ReconcileError::Unknown("no answer".to_owned()))
            }
        });
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        for number in 0..2 * Pool::Give.places() {
            queue.now(Item::Grant(format!("given-{number}")), Lane::Give);
        }
        tokio::time::sleep(LIMIT / 5).await;
        queue.now(Item::Grant("denied".to_owned()), Lane::End);
        let begun = Instant::now();
        done.recv().await.unwrap();
        let took = begun.elapsed();
        assert!(took <= Duration::from_secs(1), "behind what is given it waited for {took:?}");
        drop(workers);
    }

    /// A policy changes that bears on thousands of rights, and what has to be looked up for that hangs. Somebody denies one.
    #[tokio::test(start_paused = true)]
    async fn looks_that_hang_keep_no_end_from_its_place() {
        const LIMIT: Duration = Duration::from_secs(10);
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let workers = queue.work(&metrics, &Work::default(), &stop, move |job| {
            let sender = sender.clone();
            async move {
                if job.lane == Lane::End {
                    sender.send(()).unwrap();
                    return Ok(Done::Until(None));
                }
                tokio::time::sleep(LIMIT).await;
                Ok(Done::UnsureUntil(clock::now() + TimeDelta::seconds(1)))
            }
        });
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        for number in 0..3000 {
            queue.now(Item::Grant(format!("held-{number}")), Lane::Held);
        }
        for second in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.now(Item::Grant("denied".to_owned()), Lane::End);
            let begun = Instant::now();
            done.recv().await.unwrap();
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(1), "after {second} s it waited for {took:?}");
        }
        drop(workers);
    }

    /// As while all policies are not known, say: each look fails at once, and each is repeated within a second.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_told_is_looked_for_at_a_pace_and_at_once_when_it_can_be() {
        const RIGHTS: usize = 2000;
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (queue, stop) = (Queue::new(Clock::default()), CancellationToken::new());
        let (looks, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let is_down = Arc::new(AtomicBool::new(true));
        let (counted, known, hidden) = (looks.clone(), told.clone(), is_down.clone());
        let workers = queue.work(&metrics, &Work::default(), &stop, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let is_down = hidden.load(Ordering::Relaxed);
            known.fetch_add(usize::from(!is_down), Ordering::Relaxed);
            async move {
                Ok(if is_down {
                    Done::UnsureUntil(clock::now() + TimeDelta::seconds(1))
                } else {
                    Done::Until(None)
                })
            }
        });
        tokio::spawn(queue.clone().keep_time(Heartbeat::new()));
        for number in 0..RIGHTS {
            queue.now(Item::Grant(format!("held-{number}")), Lane::Held);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let looks = looks.load(Ordering::Relaxed) - RIGHTS;
        assert!((500..=1100).contains(&looks), "{looks} looks in 10 s");
        is_down.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(told.load(Ordering::Relaxed), RIGHTS, "each, within a moment");
        drop(workers);
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
