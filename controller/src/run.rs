//! Puts the parts together, and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{
    Health, ReadinessGate, read_settings, register_build_info, serve, stop_requested,
};
use lapse_cluster::watch::{FirstLists, Revision};
use lapse_cluster::{Reader, connect, follow_keys, supported};
use lapse_engine::attest::KeySet;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::RunOptions;
use crate::context::Context;
use crate::deadlines::Deadlines;
use crate::echoes::Echoes;
use crate::in_hand::InHand;
use crate::lease::{Candidate, Leadership};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::pulses::{self, Pulses};
use crate::queue::{Item, Job, Queue, Reconciled};
use crate::revoke::{Expiry, Guards, Orphans, sweeping};
use crate::standing::counting;
use crate::touched::Touched;
use crate::watch::{WATCHES, Watches};
use crate::{grant, policy, request, retention};

/// How long work in flight may take to finish at the end.
const GRACE: Duration = Duration::from_secs(15);

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
    let following =
        tokio::spawn(follow_keys(client.clone(), settings.namespace.clone(), keys_sender));
    let (candidate, leadership) =
        Candidate::new(client.clone(), &settings.namespace, identity.clone(), metrics.clone());

    let index = Index::new(settings, keys.clone(), true);
    let queue = Queue::new(clock.clone());
    let touched = Touched {
        queue: queue.clone(),
        index: index.clone(),
        clock: clock.clone(),
        deadlines: Deadlines::default(),
        in_hand: InHand::new(queue.clone()),
        echoes: Echoes::default(),
    };
    let (orphans, suspects) = Orphans::new();
    let (expiry, expired) = Expiry::new();
    let (revision, restarts) = Revision::new(index.clone());
    let first_lists = FirstLists::new(WATCHES);
    let reader = Reader::new(client.clone(), index, keys.clone()).watching_accounts();
    let context = Arc::new(Context {
        reader: reader.clone(),
        clock: clock.clone(),
        leadership: leadership.clone(),
        notifier: Notifier::new(client.clone(), &identity),
        metrics: metrics.clone(),
        touched: touched.clone(),
    });

    let watches = Watches {
        client: client.clone(),
        reader: reader.clone(),
        touched: touched.clone(),
        orphans,
        restarts,
        first_lists: first_lists.clone(),
    };
    let observing = tokio::spawn(watches.run());
    let deadlines = touched.deadlines.clone();
    let timing = deadlines.run(clock.clone(), pulses.deadlines, move |name| expiry.is_up(name));
    let timing = tokio::spawn(timing);
    let expiring = tokio::spawn(expired.run(client.clone(), touched.clone(), metrics.clone()));
    let keeping_time = tokio::spawn(queue.clone().keep_time(pulses.queue));
    let orphaned = tokio::spawn(Orphans::run(reader, clock.clone(), suspects, metrics.clone()));
    let sweeping =
        sweeping(client, clock, touched.clone(), metrics.clone(), revision, guards, pulses.sweep);
    let sweeping = tokio::spawn(sweeping);
    let keeping = tokio::spawn(retention::keeping(context.clone(), first_lists.clone()));
    let counting = tokio::spawn(counting(context.clone(), options.standing));
    let waking = tokio::spawn(wake(touched, leadership, keys));

    let stop = CancellationToken::new();
    let resign = CancellationToken::new();
    // Without what guards it nothing is given. Nothing that takes rights waits for that.
    let usable = supported(context.reader.client().clone()).boxed().shared();
    let leading = lead(usable.clone(), candidate, health.clone(), resign.clone());
    let leading = tokio::spawn(leading);
    let reconcile = move |job| reconcile(context.clone(), job);
    let workers = queue.work(&metrics, &pulses.reconciliations, &stop, reconcile);

    let ready = tokio::spawn(report_ready(first_lists, usable, listed));
    tokio::select! {
        stopped = stop_requested() => stopped.context("waiting for a signal")?,
        served = serving => served?.context("serving health and metrics")?,
        _ = observing => anyhow::bail!("the watches have ended"),
        _ = timing => anyhow::bail!("the timers have ended"),
        _ = expiring => anyhow::bail!("nobody takes what has expired"),
        _ = keeping_time => anyhow::bail!("the timers of the queue have ended"),
        _ = sweeping => anyhow::bail!("the sweep has ended"),
        _ = orphaned => anyhow::bail!("the look-out for orphans has ended"),
        _ = following => anyhow::bail!("the attestation keys are no longer followed"),
        _ = keeping => anyhow::bail!("nobody deletes what is over"),
        _ = counting => anyhow::bail!("nobody counts who holds standing privileges"),
        _ = waking => anyhow::bail!("nobody queues what the lease brings"),
    }

    // First no new work, then what is in flight, then the lease: nothing is left half done, and the
    // next holder starts at once.
    health.stop();
    ready.abort();
    stop.cancel();
    let finished = tokio::time::timeout(GRACE, futures::future::join_all(workers)).await;
    if finished.is_err() {
        warn!(grace_s = GRACE.as_secs(), "work in flight did not finish in time");
    }
    resign.cancel();
    let _ = tokio::time::timeout(GRACE, leading).await;
    info!("stopped");
    Ok(())
}

/// Brings one object to where it must be.
async fn reconcile(context: Arc<Context>, job: Job) -> Reconciled {
    match &job.item {
        Item::Request { namespace, name, .. } => {
            Box::pin(request::reconcile(&context, namespace, name, &job)).await
        }
        Item::Grant(name) => grant::reconcile(&context, name, job.lane).await,
        Item::Policy(name) => policy::reconcile(&context, name).await,
    }
}

/// Asks for the lease, which granting needs, once that can come to anything.
async fn lead(
    usable: impl Future<Output = ()>,
    candidate: Candidate,
    health: Health,
    resign: CancellationToken,
) {
    tokio::select! {
        () = usable => candidate.run(pulses::lease(&health), resign).await,
        () = resign.cancelled() => {}
    }
}

/// Ready means: it is known what there is, grants and bindings above all, so that they will end in time, and rights can
/// be given in this cluster.
async fn report_ready(
    first_lists: FirstLists,
    usable: impl Future<Output = ()>,
    listed: ReadinessGate,
) {
    first_lists.all().await;
    usable.await;
    info!("ready");
    listed.set(true);
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
