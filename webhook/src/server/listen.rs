//! Accepting connections: bounded in number and in time, and ended without dropping an answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lapse_cluster::process::Heartbeat;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::http;
use crate::admission::Admission;

/// How many connections there may be. An API server keeps a few open and opens more under load.
const CONNECTIONS: usize = 512;
/// How long to wait for a connection before looking again.
const LOOK: Duration = Duration::from_secs(1);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may be idle. Longer than the 90 s after which the API server closes its own:
/// if we were first, a call could meet a closing connection, and that is a refused request.
const IDLE: Duration = Duration::from_mins(2);
/// How long to go on answering after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until it is cancelled, and then until the last answer is given.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    admission: Arc<Admission>,
    beats: Heartbeat,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let app = http::router(admission);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        beats.beat();
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            // Alive is who looks for connections, whether any comes and whether there is a place for it.
            () = sleep(LOOK) => continue,
            () = stop.cancelled() => break,
        };
        let Some((stream, place)) = accepted else {
            break;
        };
        let (acceptor, app, stop) = (acceptor.clone(), app.clone(), stop.clone());
        tasks.spawn(async move {
            converse(stream, acceptor, app, stop).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    if timeout(DRAIN, tasks.wait()).await.is_err() {
        warn!(connections = tasks.len(), "stopped before every connection had ended");
    }
}

/// The next connection, when there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(error) => {
                // Such as too many open files: going on at once would only spin.
                warn!(%error, "accepting a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    app: axum::Router,
    stop: CancellationToken,
) {
    // Small answers must not wait for more to send.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
        Err(_) => return debug!("a TLS handshake took too long"),
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended badly");
    }
}
