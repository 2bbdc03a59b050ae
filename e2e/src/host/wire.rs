//! The network between hosts, and what of this process they reach there.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lapse_images::cargo::output;
use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::machine;

/// The address at which hosts reach what is relayed to them. They know it as `gateway`, too.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The last byte of the address of the first host.
const FIRST: u8 = 10;

/// How many wires this process has made: each is behind an address of its own, as sites of a company are.
static WIRES: AtomicU16 = AtomicU16::new(1);

/// A network that hosts hang on. It has no name and belongs to no process but this, so it ends with the last that holds
/// it: this process, at the latest.
#[derive(Clone, Debug)]
pub struct Wire {
    network: Arc<File>,
    next: Arc<AtomicU8>,
    source: Ipv4Addr,
}

impl Wire {
    /// Makes a network, with nothing on it but [`GATEWAY`].
    ///
    /// # Errors
    /// If the machine cannot carry hosts.
    pub fn new() -> Result<Self> {
        machine::ready()?;
        // A thread is in the network that it makes, and this one must not be.
        let network = in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("opening a network namespace")
        })?;
        let [high, low] = WIRES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Of the machine's own loopback, all of which is there without being set up.
        let source = Ipv4Addr::new(127, 77, high, low);
        let wire =
            Self { network: Arc::new(network), next: Arc::new(AtomicU8::new(FIRST)), source };
        wire.ip("link set lo up")?;
        wire.ip("link add br0 type bridge")?;
        wire.ip(&format!("address add {GATEWAY}/24 dev br0"))?;
        wire.ip("link set br0 up")?;
        Ok(wire)
    }

    /// Passes what hosts send to this port of [`GATEWAY`] on to an address of this machine. It must be called within a
    /// runtime, and ends with it.
    ///
    /// # Errors
    /// If the port is taken there.
    pub fn relay(&self, port: u16, to: SocketAddr) -> Result<Relay> {
        let network = Arc::clone(&self.network);
        let (at, from) = ((GATEWAY, port).into(), self.source);
        let mut relay = Relay { network, at, from, to, task: None };
        relay.join()?;
        Ok(relay)
    }

    /// Runs `ip` in it.
    pub(super) fn ip(&self, args: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net={}", self.path()), "ip"]).args(args.split(' '));
        output(command.env("PATH", machine::PATH)).map(drop)
    }

    /// The file of its namespace.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }

    /// An address for a host.
    pub(super) fn address(&self) -> Result<Ipv4Addr> {
        let last = self.next.fetch_add(1, Ordering::Relaxed);
        ensure!((FIRST..=254).contains(&last), "a wire has no more than {} hosts", 255 - FIRST);
        let [a, b, c, _] = GATEWAY.octets();
        Ok(Ipv4Addr::new(a, b, c, last))
    }
}

/// A server of this machine, as hosts see it. Dropping it cuts it.
#[derive(Debug)]
pub struct Relay {
    network: Arc<File>,
    at: SocketAddr,
    from: Ipv4Addr,
    to: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    /// Where hosts reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Closes all its connections, and refuses new ones.
    pub async fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // When it is gone, so are its sockets.
            let _ = task.await;
        }
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// If its port was taken meanwhile.
    pub fn join(&mut self) -> Result<()> {
        if self.task.is_none() {
            let listener = in_a_thread(|| {
                setns(&self.network, CloneFlags::CLONE_NEWNET).context("entering the wire")?;
                let listener = TcpListener::bind(self.at)
                    .with_context(|| format!("listening on {} of the wire", self.at))?;
                listener.set_nonblocking(true).context("listening without blocking")?;
                Ok(listener)
            })?;
            // A socket stays in the network that it was made in.
            let listener = tokio::net::TcpListener::from_std(listener).context("listening")?;
            self.task = Some(tokio::spawn(serve(listener, self.from, self.to)));
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Runs something in a thread of its own: only that thread moves to another network.
fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_| anyhow!("a thread that entered the wire panicked"))?
}

async fn serve(listener: tokio::net::TcpListener, from: Ipv4Addr, to: SocketAddr) {
    // Its tasks end with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(pass_on(stream, from, to));
                }
                // Such as too many open files: others may be closed soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Copies in both directions until both are closed.
async fn pass_on(mut stream: TcpStream, from: Ipv4Addr, to: SocketAddr) {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await
    };
    // A server that is not there closes the connection, as it would without a relay.
    if let Ok(mut there) = connect.await {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
    }
}
