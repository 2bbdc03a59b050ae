//! Puts the parts together, and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::channel::mpsc;
use lapse_cluster::clock::Clock;
use lapse_cluster::process::{Health, read_settings, serve, stop_requested};
use lapse_cluster::{Reader, connect, follow_keys};
use lapse_crds::{AccessRequest, Grant, JitPolicy};
use lapse_engine::attest::KeySet;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::RunOptions;
use crate::context::Context;
use crate::grant::InHand;
use crate::lease::{Candidate, Leadership};
use crate::metrics::{Kind, Metrics};
use crate::notify::Notifier;
use crate::queue::{self, Receiver, Worker};
use crate::request::Turns;
use crate::revision::Revision;
use crate::revoke::{Deadlines, Guards, Orphans, sweeping};
use crate::watch::{Caches, FirstLists, Guarded, Queues, WATCHES, Watches, caches};
use crate::{grant, policy, request, retention};

/// How long work in flight may take to finish at the end.
const GRACE: Duration = Duration::from_secs(15);

/// Runs the controller until it is asked to stop.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let guards = Guards::new(settings.admission_policies.clone());
    let clock = Clock::default();
    let client = connect(&clock).await?;
    let identity = format!("{}-{:08x}", options.identity, getrandom::u32()?);
    info!(%identity, namespace = %settings.namespace, "starting");

    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let health = Health::default();
    let serving = tokio::spawn(serve(options.listen, health.clone(), Arc::new(registry)));

    let (keys_sender, keys) = watch::channel(KeySet::default());
    let following =
        tokio::spawn(follow_keys(client.clone(), settings.namespace.clone(), keys_sender));
    let (candidate, leadership) =
        Candidate::new(client.clone(), &settings.namespace, identity.clone(), metrics.clone());

    let (requests, request_queue) = mpsc::unbounded();
    let (grants, grant_queue) = mpsc::unbounded();
    let (policies, policy_queue) = mpsc::unbounded();
    let queues = Queues { requests, grants, policies };
    let (caches, writers) = caches();
    let deadlines = Deadlines::default();
    let (orphans, suspects) = Orphans::new();
    let (revision, restarts) = Revision::new();
    let first_lists = FirstLists::new(WATCHES);
    let reader = Reader::new(client.clone(), settings, keys.clone()).watching_accounts();
    let context = Arc::new(Context {
        reader: reader.clone(),
        clock: clock.clone(),
        leadership: leadership.clone(),
        notifier: Notifier::new(client.clone(), &identity),
        metrics: metrics.clone(),
        caches: caches.clone(),
        queues: queues.clone(),
        in_hand: InHand::default(),
        turns: Turns::default(),
    });

    let watches = Watches {
        client: client.clone(),
        reader: reader.clone(),
        caches: caches.clone(),
        queues: queues.clone(),
        deadlines: deadlines.clone(),
        orphans,
        restarts,
        first_lists: first_lists.clone(),
    };
    let observing = tokio::spawn(watches.run(writers));
    let timing = tokio::spawn({
        let queues = queues.clone();
        deadlines.run(clock.clone(), move |name| queues.grant(name))
    });
    let orphaned = tokio::spawn({
        let metrics = metrics.clone();
        let removed = move || {
            metrics.orphans_removed.inc();
        };
        Orphans::run(reader, clock.clone(), suspects, removed)
    });
    let sweeping = tokio::spawn(sweeping(client, clock, queues.clone(), metrics, revision, guards));
    let keeping = tokio::spawn(retention::keeping(context.clone(), first_lists.clone()));
    let waking = tokio::spawn(wake(queues, caches.clone(), leadership, keys));

    let stop = CancellationToken::new();
    let (resign, working) = (CancellationToken::new(), stop.clone());
    let leading = tokio::spawn(candidate.run(resign.clone()));
    let inbox = Inbox { requests: request_queue, grants: grant_queue, policies: policy_queue };
    let workers = start_workers(inbox, &caches, &context, &working);

    let ready = tokio::spawn(report_ready(first_lists, health.clone()));
    tokio::select! {
        stopped = stop_requested() => stopped.context("waiting for a signal")?,
        served = serving => served?.context("serving health and metrics")?,
        _ = observing => anyhow::bail!("the watches have ended"),
        _ = timing => anyhow::bail!("the timers have ended"),
        _ = sweeping => anyhow::bail!("the sweep has ended"),
        _ = orphaned => anyhow::bail!("the look-out for orphans has ended"),
        _ = following => anyhow::bail!("the attestation keys are no longer followed"),
        _ = keeping => anyhow::bail!("nobody deletes what is over"),
        _ = waking => anyhow::bail!("nobody queues what the lease brings"),
    }

    // First no new work, then what is in flight, then the lease: nothing is left half done, and the
    // next holder starts at once.
    health.set_ready(false);
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

/// The ends of the queues that are worked off.
struct Inbox {
    requests: Receiver<Guarded<AccessRequest>>,
    grants: Receiver<Guarded<Grant>>,
    policies: Receiver<Guarded<JitPolicy>>,
}

fn start_workers(
    inbox: Inbox,
    caches: &Caches,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> [JoinHandle<()>; 3] {
    let at_once = Duration::ZERO;
    // Counts may lag: many grants at once make one report.
    let lag = Duration::from_millis(500);
    [
        tokio::spawn(queue::run(
            worker(Kind::AccessRequest, request::reconcile, at_once),
            inbox.requests,
            caches.requests.clone(),
            context.clone(),
            stop.clone(),
        )),
        tokio::spawn(queue::run(
            worker(Kind::Grant, grant::reconcile, at_once),
            inbox.grants,
            caches.grants.clone(),
            context.clone(),
            stop.clone(),
        )),
        tokio::spawn(queue::run(
            worker(Kind::JitPolicy, policy::reconcile, lag),
            inbox.policies,
            caches.policies.clone(),
            context.clone(),
            stop.clone(),
        )),
    ]
}

fn worker<K>(
    kind: Kind,
    reconcile: fn(Arc<K>, Arc<Context>) -> queue::Reconciliation,
    debounce: Duration,
) -> Worker<K> {
    Worker { kind, reconcile, concurrency: 16, debounce }
}

/// Ready means: it is known what there is, grants and bindings above all, so that they will end in time.
async fn report_ready(first_lists: FirstLists, health: Health) {
    first_lists.all().await;
    info!("ready");
    health.set_ready(true);
}

/// Queues everything when the lease is gained or the keys change.
async fn wake(
    queues: Queues,
    caches: Caches,
    mut leadership: Leadership,
    mut keys: watch::Receiver<KeySet>,
) {
    let on_lease = async {
        loop {
            leadership.gained().await;
            queues.everything(&caches);
        }
    };
    let on_keys = async {
        while keys.changed().await.is_ok() {
            queues.everything(&caches);
        }
    };
    tokio::select! {
        () = on_lease => {}
        () = on_keys => {}
    }
}
