//! Puts the parts together, and stops them in order.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{
    Health, ReadinessGate, Tasks, read_settings, register_build_info, serve, stop_requested,
};
use lapse_cluster::watch::{FirstLists, Revision};
use lapse_cluster::{Reader, connect, follow_keys, reads_for_an_end, supported};
use lapse_engine::attest::KeySet;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{RunOptions, StandingOptions};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::lease::{Candidate, Leadership};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::pulses::{self, Pulses};
use crate::queue::{Item, Job, Queue, Reconciled};
use crate::revoke::{Expiry, Guards, Orphans, Sweep};
use crate::standing::counting;
use crate::touched::Touched;
use crate::watch::{WATCHES, Watches};
use crate::{endpoint, gateways, grant, poison, policy, request, retention};

/// By how much the replicas that do not lead take what is over one after the other, and in how many shares. What the one
/// has taken the others need not.
const STAGGER: Duration = Duration::from_millis(20);
const STAGGER_SHARES: u32 = 4;
/// How long the first sweep may take before rights are given.
const FIRST_SWEEP: Duration = Duration::from_secs(20);
/// How long work in flight may take to finish at the end.
const GRACE: Duration = Duration::from_secs(15);
/// How long the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Runs the controller until it is asked to stop.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let guards = Guards::read(&options.admission)?;
    let clock = Clock::default();
    let client = connect(&clock, "lapse-controller").await?;
    let identity = format!("{}-{:08x}", options.identity, getrandom::u32()?);
    info!(%identity, namespace = %settings.namespace, "starting");

    let mut registry = Registry::default();
    register_build_info(&mut registry);
    let metrics = Arc::new(Metrics::register(&mut registry));
    let health = Health::register(&mut registry, "lapse_ready");
    let (listed, pulses) = (health.gate("watches"), Pulses::of(&health));
    let serving = tokio::spawn(serve(options.listen, health.clone(), Arc::new(registry)));

    let (keys_sender, keys) = watch::channel(KeySet::default());
    let mut tasks = Tasks::default();
    let namespace = settings.namespace.clone();
    let index = Index::new(settings, keys.clone(), true);
    let (revision, restarts) = Revision::new({
        let index = index.clone();
        move || index.doubt()
    });
    let revision = Arc::new(revision);
    let (candidate, leadership) =
        Candidate::new(&client, &namespace, &identity, &metrics, &revision);
    let queue = Queue::new(clock.clone());
    let touched = Touched::new(queue.clone(), index.clone(), clock.clone());
    let (orphans, suspects) = Orphans::new();
    let (expiry, expired) = Expiry::new(staggered(leadership.clone(), getrandom::u32()?));
    let following = follow_keys(client.clone(), namespace, restarts.clone(), keys_sender);
    tasks.spawn("what follows the attestation keys", following);
    let first_lists = FirstLists::new(WATCHES);
    let reader = Reader::new(client.clone(), index, keys.clone())
        .watching_accounts()
        .noticing(revision.clone());
    let events_dropped = metrics.events_dropped.clone();
    let (notifier, writers) = Notifier::new(client.clone(), &identity, events_dropped);
    tasks.spawn("what writes events", writers.run());
    let context = Arc::new(Context {
        reader: reader.clone(),
        clock: clock.clone(),
        leadership: leadership.clone(),
        notifier: notifier.clone(),
        metrics: metrics.clone(),
        touched: touched.clone(),
    });

    let watches = Arc::new(Watches {
        client: client.clone(),
        reader: reader.clone(),
        touched: touched.clone(),
        orphans,
        restarts,
        first_lists: first_lists.clone(),
    });
    tasks.spawn("what watches the cluster", watches.clone().run());
    let deadlines = touched.deadlines.clone();
    let timing = deadlines.run(clock.clone(), pulses.deadlines, move |name| expiry.is_up(name));
    tasks.spawn("what says that a right is over", timing);
    let expiring = expired.run(client.clone(), touched.clone(), metrics.clone());
    tasks.spawn("what takes rights that are over", expiring);
    tasks.spawn("the timers of the queue", queue.clone().keep_time(pulses.queue));
    let orphaned = Orphans::run(reader.clone(), clock.clone(), suspects, metrics.clone());
    tasks.spawn("the look-out for orphans", orphaned);
    let swept = CancellationToken::new();
    let sweep = Sweep {
        reader,
        clock,
        touched: touched.clone(),
        listener: watches,
        metrics: metrics.clone(),
        notifier: notifier.clone(),
    };
    tasks.spawn("the sweep", sweep.run(revision, guards, pulses.sweep, swept.clone()));
    spawn_minor(&mut tasks, &context, &first_lists, options.standing);
    tasks.spawn("what queues what the lease brings", wake(touched, leadership, keys));

    let stop = CancellationToken::new();
    let resign = CancellationToken::new();
    // Without what guards it nothing is given. Nothing that takes rights waits for that.
    let usable = supported(context.reader.client().clone()).boxed().shared();
    let leading = lead(usable.clone(), swept, candidate, health.clone(), resign.clone());
    let mut leader = Tasks::default();
    leader.spawn("what sees to the lease", leading);
    let reconcile = move |job| reconcile(context.clone(), job);
    let workers = queue.work(&metrics, &pulses.reconciliations, &stop, reconcile);
    tasks.spawn("what reports readiness", report_ready(first_lists, usable, listed));
    let mut running = Running { workers, leader, stop, resign, notifier };

    let outcome = running.until_it_stops(serving, tasks).await;
    if let Err(error) = &outcome {
        error!(%error, "stopping, to be started anew");
    }
    health.stop();
    running.finish().await;
    info!("stopped");
    outcome
}

/// What is to end in order.
struct Running {
    workers: Tasks,
    leader: Tasks,
    stop: CancellationToken,
    resign: CancellationToken,
    notifier: Notifier,
}

impl Running {
    /// Waits until somebody stops the process, or a part of it ends. Liveness would notice some of them in minutes, and
    /// some never.
    async fn until_it_stops(
        &mut self,
        serving: JoinHandle<std::io::Result<()>>,
        mut tasks: Tasks,
    ) -> anyhow::Result<()> {
        tokio::select! {
            stopped = stop_requested() => stopped.context("waiting for a signal"),
            served = serving => match served {
                Ok(served) => served.context("serving health and metrics"),
                Err(panicked) => Err(panicked).context("serving health and metrics"),
            },
            ended = tasks.ended() => Err(ended.into()),
            ended = self.leader.ended() => Err(ended.into()),
            ended = self.workers.ended() => Err(ended.into()),
        }
    }

    /// First no new work, then what is in flight, then the lease: nothing is left half done, and the next holder starts
    /// at once.
    async fn finish(self) {
        let Self { workers, leader, stop, resign, notifier } = self;
        stop.cancel();
        if !workers.finish(GRACE).await {
            warn!(grace_s = GRACE.as_secs(), "work in flight did not finish in time");
        }
        resign.cancel();
        leader.finish(GRACE).await;
        let _ = tokio::time::timeout(LAST_EVENTS, notifier.finish()).await;
    }
}

/// Starts what no right waits for.
fn spawn_minor(
    tasks: &mut Tasks,
    context: &Arc<Context>,
    first_lists: &FirstLists,
    standing: StandingOptions,
) {
    let restored = context.reader.clone().look_out();
    tasks.spawn("the look-out for a store that was restored", restored);
    let (of_records, first_lists) = (context.clone(), first_lists.clone());
    tasks.spawn_again("what deletes what is over", retention::PANIC, move || {
        retention::keeping(of_records.clone(), first_lists.clone())
    });
    let of_gateways = context.clone();
    tasks.spawn_again("what looks whether a gateway lives", "gateways", move || {
        gateways::looking(of_gateways.clone())
    });
    let of_counting = context.clone();
    tasks.spawn_again("what counts standing privileges", "standing", move || {
        counting(of_counting.clone(), standing.clone())
    });
}

/// How long others have to take what is over: none for whoever leads.
fn staggered(leadership: Leadership, number: u32) -> impl Fn() -> Duration {
    let share = 1 + number % STAGGER_SHARES;
    move || if leadership.is_held() { Duration::ZERO } else { STAGGER * share }
}

/// Brings one object to where it must be. One over which that panics says so.
async fn reconcile(context: Arc<Context>, job: Job) -> Reconciled {
    let reconciling = AssertUnwindSafe(reconcile_one(&context, &job)).catch_unwind().boxed();
    let reconciled =
        if job.lane.may_end() { reads_for_an_end(reconciling).await } else { reconciling.await };
    reconciled.unwrap_or_else(|_| {
        poison::panicked(&context, &job.item);
        Err(ReconcileError::Panicked)
    })
}

async fn reconcile_one(context: &Context, job: &Job) -> Reconciled {
    match &job.item {
        Item::Request { namespace, name, .. } => {
            Box::pin(request::reconcile(context, namespace, name, job)).await
        }
        Item::Grant(name) => grant::reconcile(context, name, job.lane).await,
        Item::Policy(name) => policy::reconcile(context, name).await,
        Item::Endpoint(name) => endpoint::reconcile(context, name).await,
    }
}

/// Asks for the lease, which granting needs, once that can come to anything, and what is over has been taken.
async fn lead(
    usable: impl Future<Output = ()>,
    swept: CancellationToken,
    candidate: Candidate,
    health: Health,
    resign: CancellationToken,
) {
    tokio::select! {
        () = usable => {
            // What cannot be swept keeps nobody from a right for long.
            tokio::select! {
                _ = tokio::time::timeout(FIRST_SWEEP, swept.cancelled()) => {}
                () = resign.cancelled() => return,
            }
            candidate.run(pulses::lease(&health), resign).await;
        }
        () = resign.cancelled() => {}
    }
}

/// Ready means: it is known what is live, grants and bindings above all, so that they will end in time, and rights can
/// be given in this cluster. What is over is read beside.
async fn report_ready(
    first_lists: FirstLists,
    usable: impl Future<Output = ()>,
    listed: ReadinessGate,
) {
    first_lists.all().await;
    usable.await;
    info!("ready");
    listed.set(true);
    pending::<()>().await;
}

/// Queues everything when the lease is gained or the keys change.
async fn wake(touched: Touched, mut leadership: Leadership, mut keys: watch::Receiver<KeySet>) {
    let on_lease = async {
        loop {
            leadership.gained().await;
            touched.everything();
        }
    };
    let on_keys = async {
        while keys.changed().await.is_ok() {
            touched.index.verify_again();
            touched.everything();
        }
    };
    tokio::select! {
        () = on_lease => {}
        () = on_keys => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fake::{api_server, context, refusal};

    /// All of them see it at the same moment.
    #[tokio::test]
    async fn replicas_take_what_is_over_one_after_the_other_and_the_leader_first() {
        assert_eq!(staggered(Leadership::of_the_leader(), 7)(), Duration::ZERO);
        let follower = context(api_server(async |_| refusal(500, "InternalError"))).leadership;
        let waits: BTreeSet<Duration> =
            (0..STAGGER_SHARES).map(|number| staggered(follower.clone(), number)()).collect();
        assert_eq!(waits.len(), 4, "{waits:?}");
        assert!(waits.first() >= Some(&STAGGER) && waits.last() <= Some(&(4 * STAGGER)));
    }
}
