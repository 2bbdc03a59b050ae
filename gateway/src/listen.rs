//! Takes connections: so many of agents, each with TLS within a moment; and few of whoever has not shown a certificate, so
//! that these take no place from agents, nor one address those of all others.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lapse_cluster::process::Door;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::metrics::{Metrics, RefusalReason};
use crate::shares::{Share, Shares};
use crate::tls::Tls;

/// How long TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long whoever shows no certificate may stay: to enrol, and no longer.
const NAMELESS: Duration = Duration::from_secs(30);
/// How many handshakes there may be at once, and how many of them from one address. One that takes long makes room for who
/// comes.
const HANDSHAKES: (usize, usize) = (1024, 512);
/// How long others of an address leave a handshake alone.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How many connections there may be at once that have shown no certificate, and how many of them from one address: hosts that
/// enrol. What is closed for this tries again.
const NAMELESS_AT_ONCE: (usize, usize) = (1024, 256);
/// A host that is gone is noticed within this and three probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    ends: Option<Pin<Box<Sleep>>>,
    metrics: Metrics,
    _place: Place,
}

/// What a connection takes, until it ends.
#[derive(Debug)]
enum Place {
    /// One of those for agents.
    Agent { _permit: OwnedSemaphorePermit },
    /// One of those for who has shown no certificate.
    Nameless { _share: Share },
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(ends) = &mut self.ends
            && ends.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Takes connections until nobody wants them.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Tls,
    most: usize,
    metrics: Metrics,
    taken: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(most));
    let nameless = Shares::new(NAMELESS_AT_ONCE.0, NAMELESS_AT_ONCE.1);
    let mut door = Door::new(HANDSHAKES, A_MOMENT);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of files, most often: what is open goes on, and some of it ends.
                    warn!(%error, "a connection cannot be taken");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = taken.closed() => return,
        };
        let (tls, counted, taken) = (tls.current(), metrics.clone(), taken.clone());
        let (places, nameless) = (places.clone(), nameless.clone());
        let is_let_in = door.let_in(address.ip(), |visitor| async move {
            let metrics = counted;
            let handshake = async {
                prepare(&stream)?;
                TlsAcceptor::from(tls).accept(stream).await
            };
            let stream = match timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    metrics.refused(RefusalReason::handshake);
                    return debug!(%address, %error, "TLS failed");
                }
                Err(_) => return metrics.refused(RefusalReason::handshake),
            };
            visitor.is_known();
            let (place, ends) = if stream.get_ref().1.peer_certificates().is_none() {
                let Some(share) = nameless.take(address.ip()) else {
                    return metrics.refused(RefusalReason::full);
                };
                (Place::Nameless { _share: share }, Some(Box::pin(sleep(NAMELESS))))
            } else {
                let Ok(permit) = places.try_acquire_owned() else {
                    return metrics.refused(RefusalReason::full);
                };
                (Place::Agent { _permit: permit }, None)
            };
            metrics.connections.inc();
            let connection = Connection { stream, ends, metrics, _place: place };
            let _ = taken.send(Ok(connection)).await;
        });
        if !is_let_in {
            metrics.refused(RefusalReason::full);
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(5));
    SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(3))
}

/// The folder is not filled until the webhook has made what belongs in it.
pub(crate) async fn load(folder: &Path) -> Tls {
    loop {
        match Tls::load(folder) {
            Ok(tls) => return tls,
            Err(error) => warn!(%error, "waits for its certificate, which the webhook makes"),
        }
        sleep(Duration::from_secs(2)).await;
    }
}
