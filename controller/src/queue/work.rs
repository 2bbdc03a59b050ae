//! Who reconciles what waits: so many workers for each pool, and what goes on beside them without a place.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lapse_cluster::clock::Clock;
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

/// How many may go on without a place while the API server answers nothing at all, and for how long it must not have. What
/// was begun then would hang, too, and thousands of calls take more memory, and more open connections, than there may be:
/// whoever is killed for that ends nothing.
const ALL_HANG: (usize, Duration) = (128, Duration::from_secs(1));

/// How long an end that has failed before, and fails again, keeps its place at the least: where each try fails at once, as where
/// nobody listens, thousands of them are not to keep this process busy with failing. Those that have not failed have other
/// places.
const FAILS_FOR: Duration = Duration::from_millis(25);

/// Waits until what ends, and began then, is to give its place back; `hanging`: how many go on without one.
pub(crate) async fn place_is_due(begun: Instant, clock: &Clock, hanging: impl Fn() -> usize) {
    let [(shortest, _), ..] = PLACE_FOR;
    for (place_for, from) in PLACE_FOR {
        tokio::time::sleep_until(begun + place_for).await;
        if hanging() >= from {
            break;
        }
    }
    let (most, silence) = ALL_HANG;
    while hanging() >= most && clock.is_silent_for(silence) {
        tokio::time::sleep(shortest).await;
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
                    let begun = Instant::now();
                    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
                    drop(doing);
                    record(&span, outcome.as_ref().ok());
                    let outcome = outcome
                        .inspect_err(|_| error!(object = %job.item, "a reconciliation panicked"));
                    let came_to_nothing = !matches!(outcome, Ok(Ok(done)) if done.is_sure());
                    if came_to_nothing && queue.state().is_failing(&job) {
                        tokio::time::sleep_until(begun + FAILS_FOR).await;
                    }
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
        place_is_due(begun, &self.0.clock, || self.state().without_place()).await;
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
mod tests;
