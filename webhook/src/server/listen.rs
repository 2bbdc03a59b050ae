//! Accepting connections: bounded in number and in time, and ended without dropping an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lapse_cluster::process::{Door, Heartbeat, Visitor};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::http::{self, Caller};
use crate::admission::Admission;

/// How many connections there may be of API servers: of who has asked at the path that they alone know. One keeps a few
/// open and opens more under load.
const CONNECTIONS: usize = 1024;
/// How many connections there may be of others, and of one source. Any pod may come here, and an API server, too, is
/// nobody yet when it comes: under load with hundreds of connections at once, each of which is known within a moment. A call
/// whose connection is refused is refused, too.
const STRANGERS: (usize, usize) = (1024, 512);
/// How long others of an address leave one of its connections alone: a call needs less.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How long somebody may stay who has not asked at that path.
const STRANGE: Duration = Duration::from_secs(15);
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
    let mut door = Door::new(STRANGERS, A_MOMENT);
    let tasks = TaskTracker::new();
    loop {
        beats.beat();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Alive is who looks for connections, whether any comes and whether there is a place for it.
            () = sleep(LOOK) => continue,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: going on at once would only spin.
                warn!(%error, "accepting a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, app, stop) = (acceptor.clone(), app.clone(), stop.clone());
        let (places, task) = (places.clone(), tasks.token());
        let is_let_in = door.let_in(address.ip(), |visitor| async move {
            converse(stream, acceptor, app, stop, visitor, places).await;
            drop(task);
        });
        if !is_let_in {
            debug!(%address, "too many connections of this address have just come");
        }
    }
    drop(listener);
    tasks.close();
    if timeout(DRAIN, tasks.wait()).await.is_err() {
        warn!(connections = tasks.len(), "stopped before every connection had ended");
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    app: axum::Router,
    stop: CancellationToken,
    visitor: Visitor,
    places: Arc<Semaphore>,
) {
    // Small answers must not wait for more to send.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
        Err(_) => return debug!("a TLS handshake took too long"),
    };
    let caller = Caller::default();
    let app = app.layer(Extension(caller.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let mut place = None;
    let strange = sleep(STRANGE);
    tokio::pin!(strange);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = caller.is_known(), if place.is_none() => {
                let Ok(taken) = places.clone().try_acquire_owned() else {
                    return warn!("there are too many connections of API servers");
                };
                visitor.is_known();
                place = Some(taken);
            }
            () = &mut strange, if place.is_none() => {
                return debug!("a connection at which nobody asked what may be asked here");
            }
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended badly");
    }
}
