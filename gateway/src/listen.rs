//! Takes connections: so many of agents, each with TLS within a moment; and few of whoever has not shown a certificate, so
//! that these take no place from agents, nor one address those of all others.
//!
//! Who says something is let in in turn, from the first bytes until it is settled whether they are connected: `turns` says why.
//! What takes longer than a moment because the other side does goes on beside the turns.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lapse_cluster::process::{Door, Visitor};
use lapse_cluster::watch::FirstLists;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::caller::Caller;
use crate::identity::identity_of;
use crate::metrics::{Metrics, RefusalReason};
use crate::shares::{Share, Shares};
use crate::tls::Tls;
use crate::turns::{Turn, Turns};

/// How long TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long whoever shows no certificate may stay: to enrol, and no longer.
const NAMELESS: Duration = Duration::from_secs(30);
/// How many are let in at once, and how many may wait for that.
const TURNS: (usize, usize) = (64, 4096);
/// How long somebody may wait for their turn. Agents give up after ten seconds (`agent/src/link.rs`), so what is begun after
/// that would be done for nobody.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a turn lasts during which the other side has not finished TLS, and how long one of whom it is not settled then
/// whether they are connected.
const LASTS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How many there may be at once that say nothing, or take longer than their turn, and how many of them from one address: a site
/// behind one address. The longest makes room for who comes.
const SLOW: (usize, usize) = (4096, 2048);
/// How long others of an address leave such a one alone.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How many connections there may be at once that have shown no certificate, and how many of them from one address: hosts that
/// enrol. What is closed for this tries again.
const NAMELESS_AT_ONCE: (usize, usize) = (1024, 256);
/// A host that is gone is noticed within this and three probes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Connection {
    /// Boxed, as what serves it keeps room for it twice.
    stream: Box<TlsStream<TcpStream>>,
    caller: Caller,
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
        self.caller.is_settled();
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.caller.clone()
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

/// What connections are let in by.
struct Entrance {
    turns: Arc<Turns>,
    places: Arc<Semaphore>,
    nameless: Arc<Shares>,
    metrics: Metrics,
    taken: mpsc::Sender<io::Result<Connection>>,
}

/// Takes connections until nobody wants them. They wait until it is known what is in force: until then agents would be sent away.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Tls,
    most: usize,
    (metrics, first_lists): (Metrics, FirstLists),
    taken: mpsc::Sender<io::Result<Connection>>,
) {
    tokio::select! {
        () = first_lists.all() => {}
        () = taken.closed() => return,
    }
    let mut door = Door::new(SLOW, A_MOMENT);
    let entrance = Arc::new(Entrance::new(TURNS, most, metrics, taken));
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
            () = entrance.taken.closed() => return,
        };
        let (acceptor, entering) = (TlsAcceptor::from(tls.current()), entrance.clone());
        let is_let_in = door.let_in(address.ip(), |visitor| async move {
            if let Err(reason) = entering.enter((stream, address), acceptor, visitor).await {
                entering.metrics.refused(reason);
            }
        });
        if !is_let_in {
            entrance.metrics.refused(RefusalReason::full);
        }
    }
}

impl Entrance {
    fn new(
        turns: (usize, usize),
        most: usize,
        metrics: Metrics,
        taken: mpsc::Sender<io::Result<Connection>>,
    ) -> Self {
        let (turns, places) = (Turns::new(turns), Arc::new(Semaphore::new(most)));
        let nameless = Shares::new(NAMELESS_AT_ONCE.0, NAMELESS_AT_ONCE.1);
        Self { turns, places, nameless, metrics, taken }
    }

    /// Lets somebody in, when it is their turn.
    async fn enter(
        &self,
        (stream, address): (TcpStream, SocketAddr),
        acceptor: TlsAcceptor,
        visitor: Visitor,
    ) -> Result<(), RefusalReason> {
        // Who says nothing takes nobody's turn.
        let speaks = timeout(HANDSHAKE, stream.readable()).await;
        speaks.ok().and_then(Result::ok).ok_or(RefusalReason::handshake)?;
        visitor.waits_for_us(true);
        let turn = self.turns.take(address.ip(), PATIENCE).await.ok_or(RefusalReason::full)?;
        // Boxed, as it would otherwise be kept room for while they wait.
        let (stream, turn) =
            Box::pin(shake_hands(stream, address, acceptor, (turn, &visitor))).await?;
        visitor.is_known();
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.map(|certificate| identity_of(certificate).map(Arc::new));
        let (place, ends, turn) = if identity.is_none() {
            let share = self.nameless.take(address.ip()).ok_or(RefusalReason::full)?;
            (Place::Nameless { _share: share }, Some(Box::pin(sleep(NAMELESS))), None)
        } else {
            let permit = self.places.clone().try_acquire_owned();
            let permit = permit.map_err(|_| RefusalReason::full)?;
            (Place::Agent { _permit: permit }, None, turn)
        };
        let caller = Caller::new(address, identity, turn);
        let settled = caller.clone();
        self.metrics.connections.inc();
        let metrics = self.metrics.clone();
        let connection =
            Connection { stream: Box::new(stream), caller, ends, metrics, _place: place };
        let _ = self.taken.send(Ok(connection)).await;
        // A task of its own, as this one has room for much more.
        tokio::spawn(async move {
            sleep(LASTS.1).await;
            settled.is_settled();
        });
        Ok(())
    }
}

/// TLS, during a turn for as long as that lasts, and then beside it.
async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    (turn, visitor): (Turn, &Visitor),
) -> Result<(TlsStream<TcpStream>, Option<Turn>), RefusalReason> {
    let ends = Instant::now() + HANDSHAKE;
    prepare(&stream).map_err(|_| RefusalReason::handshake)?;
    let handshake = acceptor.accept(stream);
    tokio::pin!(handshake);
    let (done, turn) = if let Ok(done) = timeout(LASTS.0, &mut handshake).await {
        (Ok(done), Some(turn))
    } else {
        drop(turn);
        visitor.waits_for_us(false);
        (timeout_at(ends, handshake).await, None)
    };
    match done {
        Ok(Ok(stream)) => Ok((stream, turn)),
        Ok(Err(error)) => {
            debug!(%address, %error, "TLS failed");
            Err(RefusalReason::handshake)
        }
        Err(_) => Err(RefusalReason::handshake),
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

#[cfg(test)]
mod tests;
