//! The parts, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{
    Health, ReadinessGate, Tasks, read_settings, register_build_info, serve, stop_requested,
};
use lapse_cluster::watch::{Feed, FirstLists, Revision};
use lapse_cluster::{Reader, connect, supported};
use lapse_crds::JitPolicy;
use lapse_engine::attest::KeySet;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admission::Admission;
use crate::cli::Run;
use crate::keeper::{Keeper, State};
use crate::keys;
use crate::metrics::Metrics;
use crate::server;

/// After how long what takes connections hangs: it goes round once a second.
const ADMISSION_HANGS: Duration = Duration::from_mins(1);
/// After how long what keeps the keys hangs: it goes round every minute, and each of its calls ends.
const KEYS_HANG: Duration = Duration::from_mins(30);

/// How long what is still asked may take at the end; the server itself takes less.
const GRACE: Duration = Duration::from_secs(12);

/// Serves admission until it is asked to stop.
///
/// # Errors
/// If the settings cannot be used, there is no cluster to talk to, or an address is taken.
pub async fn run(options: Run) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let client = connect(&Clock::default(), "lapse-webhook").await?;
    let mut registry = Registry::default();
    register_build_info(&mut registry);
    let metrics = Metrics::new(&mut registry);
    let health = Health::register(&mut registry, "lapse_webhook_ready");
    let gates = Gates::of(&health);

    let (state_sender, state) = watch::channel(None);
    let (key_set_sender, key_set) = watch::channel(KeySet::default());
    let (settled_sender, settled) = watch::channel(false);
    let names = keys::normalize(&options.sans);
    let keeper = Keeper::new(
        client.clone(),
        &settings.namespace,
        names,
        keys::normalize(&options.gateway_names),
        state_sender,
        key_set_sender.clone(),
        settled_sender,
    );
    let index = Index::new(settings, key_set.clone(), false);
    let (revision, restarts) = Revision::new({
        let index = index.clone();
        move || index.doubt()
    });
    let mut tasks = Tasks::default();
    let revision = Arc::new(revision);
    let looking = revision.clone().look_out::<JitPolicy>(client.clone());
    tasks.spawn("the look-out for a revision that runs backwards", looking);
    let first_lists = FirstLists::new(Feed::WATCHES);
    let feed = Feed {
        client: client.clone(),
        index: index.clone(),
        restarts: restarts.clone(),
        first_lists,
    };
    tasks.spawn("what watches the cluster", async move { Box::pin(feed.run(&())).await });
    let verifying = verify_again(index.clone(), key_set.clone());
    tasks.spawn("what follows the attestation keys", verifying);
    let reader = Reader::new(client, index, key_set).noticing(revision);
    tasks.spawn("the look-out for a store that was restored", reader.clone().look_out());
    let admission = Admission::new(reader.clone(), key_set_sender, state.clone(), metrics.clone());

    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("listening on {}", options.listen))?;
    let address = listener.local_addr()?;
    info!(%address, "serving admission");
    let stop = CancellationToken::new();
    let tls = server::tls_config(state.clone())?;
    let admissions = {
        let beats = health.heartbeat("admission", ADMISSION_HANGS);
        server::serve(listener, tls, Arc::new(admission), beats, stop.clone())
    };
    let mut answering = Tasks::default();
    answering.spawn("what answers the API server", admissions);
    // Without what guards Lapse there are no keys, and nothing is signed.
    let (usable, of_keys) = (supported(reader.client().clone()), health.clone());
    tasks.spawn("what keeps the keys", async move {
        usable.await;
        keeper.run(restarts, of_keys.heartbeat("keys", KEYS_HANG)).await;
    });
    let report = report(reader, state, settled, address, gates, metrics);
    tasks.spawn("what reports readiness", report);
    let monitoring = serve(options.metrics_listen, health.clone(), Arc::new(registry));

    // Liveness would notice some of them in half an hour, and some never.
    let outcome = tokio::select! {
        stopped = stop_requested() => stopped.context("listening for signals"),
        failed = monitoring => {
            let address = options.metrics_listen;
            failed.with_context(|| format!("serving health and metrics on {address}"))
        }
        ended = tasks.ended() => Err(ended.into()),
        ended = answering.ended() => Err(ended.into()),
    };
    if let Err(error) = &outcome {
        error!(%error, "stopping, to be started anew");
    }
    health.stop();
    stop.cancel();
    if !answering.finish(GRACE).await {
        warn!(grace_s = GRACE.as_secs(), "what was still asked was not answered in time");
    }
    outcome
}

/// What was signed by a key that was not known is verified when it is.
async fn verify_again(index: Index, mut keys: watch::Receiver<KeySet>) {
    while keys.changed().await.is_ok() {
        index.verify_again();
    }
}

/// Becomes ready when keys are in force, the configurations are right, what is judged from can be read and
/// a call of our own gets through; notes new keys.
async fn report(
    reader: Reader,
    mut state: watch::Receiver<Option<State>>,
    mut settled: watch::Receiver<bool>,
    address: std::net::SocketAddr,
    gates: Gates,
    metrics: Metrics,
) {
    let mut checked = false;
    let mut is_told = false;
    loop {
        let current = state.borrow_and_update().clone();
        let settled_now = *settled.borrow_and_update();
        gates.configurations.set(settled_now);
        if let Some(current) = current {
            gates.keys.set(true);
            metrics.keys(current.keys.certificate_expires, current.key_valid_from);
            if !checked {
                let is_seen = reader.index().is_complete();
                match server::check(address, &current.keys).await {
                    Ok(()) if is_seen => checked = true,
                    Ok(()) => info!("waits for what is judged from to be seen"),
                    Err(problem) => error!(%problem, "a call of our own does not get through"),
                }
                gates.objects.set(is_seen);
                gates.own_call.set(checked);
            }
            let ready = checked && settled_now;
            if ready && !is_told {
                info!("ready");
            }
            is_told = ready;
        }
        let retry = tokio::time::sleep(Duration::from_millis(200));
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            changed = settled.changed() => if changed.is_err() { return },
            () = retry, if !checked => {}
        }
    }
}

/// What the webhook waits for before it is ready.
struct Gates {
    keys: ReadinessGate,
    configurations: ReadinessGate,
    objects: ReadinessGate,
    own_call: ReadinessGate,
}

impl Gates {
    fn of(health: &Health) -> Self {
        Self {
            keys: health.gate("keys"),
            configurations: health.gate("configurations"),
            objects: health.gate("objects"),
            own_call: health.gate("own-call"),
        }
    }
}
