//! What stands in for a Service: one address in front of several webhooks, by plain TCP.
//!
//! Here there is no service network, and an admission configuration holds one URL. The proxy also
//! is where tests make the way to the webhooks slow, or break it.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::net::{free_port, loopback};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Passes them to the webhooks in turn; one that does not answer is passed over.
    #[default]
    Forward,
    /// Passes them on, but holds each piece that the API server sends for this long.
    Delay(Duration),
    /// Closes each at once.
    Refuse,
    /// Accepts each and never answers.
    Hold,
}

/// A proxy on a port of its own. Dropping it closes all connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    backends: Mutex<Vec<SocketAddr>>,
    next: AtomicUsize,
    /// `None`: stop.
    behaviour: watch::Sender<Option<Behaviour>>,
}

impl Proxy {
    /// Starts listening; there is nothing behind it yet.
    pub fn start() -> Result<Self> {
        let port = free_port()?;
        let listener = StdListener::bind(loopback(port)).context("listening for the webhooks")?;
        listener.set_nonblocking(true).context("listening for the webhooks")?;
        let shared = Arc::new(Shared {
            backends: Mutex::new(Vec::new()),
            next: AtomicUsize::new(0),
            behaviour: watch::Sender::new(Some(Behaviour::Forward)),
        });
        // A runtime of its own, because the proxy outlives the runtime of the test that began it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("webhook proxy".to_owned())
            .spawn(move || runtime.block_on(serve(listener, served)))
            .context("starting a thread")?;
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// The port that the proxy listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets what lies behind it.
    pub fn set_backends(&self, backends: Vec<SocketAddr>) {
        *self.shared.backends.lock().unwrap_or_else(PoisonError::into_inner) = backends;
    }

    /// Changes what it does, and closes all connections, which were made under the old behaviour.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(Some(behaviour));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.behaviour.send_replace(None);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked serves nobody any more.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: StdListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut behaviour = shared.behaviour.subscribe();
    loop {
        let now = *behaviour.borrow_and_update();
        let Some(now) = now else { return };
        tokio::select! {
            _ = behaviour.changed() => {}
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let mut changes = behaviour.clone();
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = connection(client, now, &shared) => {}
                        }
                    });
                }
            }
        }
    }
}

async fn connection(client: TcpStream, behaviour: Behaviour, shared: &Shared) {
    let delay = match behaviour {
        Behaviour::Forward => Duration::ZERO,
        Behaviour::Delay(delay) => delay,
        Behaviour::Refuse => return,
        Behaviour::Hold => return std::future::pending().await,
    };
    let Some(server) = connect(shared).await else {
        return;
    };
    // Small messages must not wait for each other's acknowledgements.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either side's end ends the connection: TLS does not use half-closed ones.
    tokio::select! {
        () = pump(from_client, to_server, delay) => {}
        () = pump(from_server, to_client, Duration::ZERO) => {}
    }
}

/// A connection to the next backend that accepts one.
async fn connect(shared: &Shared) -> Option<TcpStream> {
    let backends = shared.backends.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let first = shared.next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..backends.len() {
        let backend = backends[(first + offset) % backends.len()];
        if let Ok(stream) = TcpStream::connect(backend).await {
            return Some(stream);
        }
    }
    None
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend that answers each connection with one letter.
    async fn backend(letter: u8) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[letter]).await.unwrap();
            }
        });
        (address, task)
    }

    async fn ask(proxy: &Proxy) -> Option<u8> {
        let mut stream = TcpStream::connect(loopback(proxy.port())).await.unwrap();
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn backends_take_turns_and_a_dead_one_is_passed_over() {
        let proxy = Proxy::start().unwrap();
        assert_eq!(ask(&proxy).await, None);
        let ((a, _), (b, task)) = (backend(b'a').await, backend(b'b').await);
        proxy.set_backends(vec![a, b]);
        let mut seen = [ask(&proxy).await, ask(&proxy).await];
        seen.sort_unstable();
        assert_eq!(seen, [Some(b'a'), Some(b'b')]);
        task.abort();
        let _ = task.await;
        for _ in 0..3 {
            assert_eq!(ask(&proxy).await, Some(b'a'));
        }
    }

    #[tokio::test]
    async fn a_changed_behaviour_closes_what_was_open() {
        let proxy = Proxy::start().unwrap();
        proxy.set_behaviour(Behaviour::Hold);
        // The proxy's thread may see the connection before the change; both ways it ends.
        let held = tokio::spawn({
            let port = proxy.port();
            async move { TcpStream::connect(loopback(port)).await.unwrap().read_u8().await.ok() }
        });
        proxy.set_behaviour(Behaviour::Refuse);
        assert_eq!(ask(&proxy).await, None);
        assert_eq!(held.await.unwrap(), None);
    }
}
