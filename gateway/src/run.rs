//! The parts, put together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lapse_cluster::clock::Clock;
use lapse_cluster::connect;
use lapse_cluster::process::{
    Health, ReadinessGate, Tasks, read_settings, register_build_info, serve, stop_requested,
};
use lapse_cluster::watch::{FirstLists, Revision};
use lapse_crds::Endpoint;
use lapse_wire::gateway_server::GatewayServer;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::info;

use crate::activity::Export;
use crate::beats::Beats;
use crate::chance::random_name;
use crate::cli::Run;
use crate::limits::{Limit, Rate};
use crate::listen;
use crate::metrics::Metrics;
use crate::service::Service;
use crate::shared::Shared;
use crate::watches::{WATCHES, Watches};
use crate::watchman::Watchman;

/// What somebody may ask for without a certificate: a host enrols once, and asks whom to trust before that.
const EACH: Rate = Rate { burst: 10.0, each_second: 0.5 };
/// The same, of all together: each enrolment is a write.
const ALL: Rate = Rate { burst: 100.0, each_second: 20.0 };
/// The longest message, in bytes.
const LONGEST: usize = 256 * 1024;
/// What HTTP/2 holds for a connection at the most, in bytes. Ten thousand of them are there at once.
const WINDOW: u32 = 64 * 1024;
/// How often a silent connection is tried, and how long its answer may take: a host that is cut off is noticed within both.
/// Agents try less often, so that a connection that is tried here costs nothing there.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// How long what is under way may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves agents until it is asked to stop.
///
/// # Errors
/// If the settings cannot be used, there is no cluster to talk to, or an address is taken.
pub async fn run(options: Run) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let client = connect(&Clock::default(), "lapse-gateway").await?;
    let mut registry = Registry::default();
    register_build_info(&mut registry);
    let metrics = Metrics::new(&mut registry);
    let health = Health::register(&mut registry, "lapse_gateway_ready");
    let (of_certificate, of_trust, of_orders) =
        (health.gate("certificate"), health.gate("trust"), health.gate("orders"));

    let (trust_sender, trust) = watch::channel(None);
    let (carries_sender, carries) = watch::channel(None);
    let limit = Limit::new(EACH, ALL, Instant::now());
    let beats = Beats::new(random_name());
    let export =
        Export::start(std::io::stdout()).context("starting the thread that writes the record")?;
    let (metered, of) = (metrics.clone(), (limit, beats));
    let heard = (trust.clone(), carries);
    let shared = Shared::new(client.clone(), metered, heard, of, export);
    let shared = Arc::new(shared);
    let watchman = Watchman::new(shared.clone(), settings.namespace.clone());
    // From that moment until all is listed again nobody connects who would be told what may never have been.
    let doubt = {
        let shared = shared.clone();
        move || shared.book().doubt()
    };
    let (revision, restarts) = Revision::new(doubt);
    let mut tasks = Tasks::default();
    let looking = Arc::new(revision).look_out::<Endpoint>(client);
    tasks.spawn("the look for a restored etcd", looking);
    let first_lists = FirstLists::new(WATCHES);
    let watches = Watches {
        shared: shared.clone(),
        namespace: settings.namespace,
        host_requests: settings.host_requests,
        trust: trust_sender,
        carries: carries_sender,
        restarts,
        first_lists: first_lists.clone(),
        watchman: watchman.clone(),
    };
    tasks.spawn("the watches", watches.run());
    tasks.spawn("the sign of life", watchman.clone().beat());
    tasks.spawn("the look at silent hosts", watchman.clone().look_out());

    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("listening on {}", options.listen))?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = {
        let (shared, stop) = (shared.clone(), stop.clone());
        let expires = metrics.certificate_expires.clone();
        let counted = (metrics, first_lists.clone());
        // One task, so that none of its parts ends without the others.
        tokio::spawn(async move {
            let tls = listen::load(&options.tls_dir).await;
            of_certificate.set(true);
            let (taken, connections) = mpsc::channel(64);
            let accepting =
                listen::accept(listener, tls.clone(), options.max_connections, counted, taken);
            info!(%address, "serving agents");
            let gateway = GatewayServer::new(Service(shared)).max_decoding_message_size(LONGEST);
            let serving = Server::builder()
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_concurrent_streams(8)
                .http2_keepalive_interval(Some(KEEP_ALIVE.0))
                .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
                .add_service(gateway)
                .serve_with_incoming_shutdown(
                    ReceiverStream::new(connections),
                    stop.cancelled_owned(),
                );
            tokio::select! {
                ((), served) = async { tokio::join!(accepting, serving) } => served,
                () = tls.follow(expires) => Ok(()),
            }
        })
    };
    let ready = tokio::spawn(become_ready(trust, first_lists, (of_trust, of_orders)));
    let monitoring = serve(options.metrics_listen, health.clone(), Arc::new(registry));
    tokio::pin!(serving);
    tokio::select! {
        stopped = stop_requested() => stopped.context("listening for signals")?,
        failed = monitoring => {
            let address = options.metrics_listen;
            failed.with_context(|| format!("serving health and metrics on {address}"))?;
        }
        ended = &mut serving => anyhow::bail!("agents are served no longer: {ended:?}"),
        ended = tasks.ended() => return Err(ended.into()),
    }
    // First nobody is taken any more, then each agent is told to go to another.
    health.stop();
    ready.abort();
    stop.cancel();
    shared.attached().stop();
    let _ = tokio::time::timeout(GRACE, serving).await;
    // From now on it is nobody's gateway: hosts that do not connect to another one are missed soon.
    drop(tasks);
    watchman.leave().await;
    info!("stopped");
    Ok(())
}

/// Says so once it is known whom to trust and which orders there are.
async fn become_ready(
    mut trust: watch::Receiver<Option<String>>,
    first_lists: FirstLists,
    (of_trust, of_orders): (ReadinessGate, ReadinessGate),
) {
    let _ = trust.wait_for(Option::is_some).await;
    of_trust.set(true);
    first_lists.all().await;
    of_orders.set(true);
    info!("ready");
}
