//! What stands between a program and the API server, and does there what networks and API servers do on bad days: it
//! holds calls, cuts them before or after they took effect, answers in the API server's place, and swallows what a watch
//! tells.

mod fault;

use std::collections::HashMap;
use std::fmt;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use self::fault::{Call, Fault};
use self::fault::{expired, says, skewed, told};
use super::Plane;
use super::net::{free_port, loopback};

/// The longest body of a call, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

type When = Box<dyn FnMut(&Call) -> bool + Send>;

/// Where programs call instead of the API server, each at a port of its own. Dropping it ends all connections.
pub struct ApiProxy {
    urls: Vec<String>,
    shared: Arc<Shared>,
    runtime: Handle,
    ca: Vec<u8>,
    /// One for each caller. `None`: stop.
    generations: Vec<watch::Sender<Option<u64>>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// To the API server of each caller.
    clients: Mutex<Vec<kube::Client>>,
    rules: Mutex<Vec<(When, Fault)>>,
    calls: Mutex<Vec<Call>>,
    held: watch::Sender<Option<Call>>,
    /// What lists answered first while they are to be stale, by who asked, what and in which form.
    lists: Mutex<HashMap<(usize, String), Response<Bytes>>>,
}

/// A port, and whose it is.
struct Gate {
    caller: usize,
    listener: StdListener,
    generation: watch::Receiver<Option<u64>>,
}

impl fmt::Debug for ApiProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiProxy").field("urls", &self.urls).finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that bears nobody's name: who calls bears their own token, and has limits of their own.
fn client(server: &str, ca: Vec<u8>) -> Result<kube::Client> {
    let mut config = kube::Config::new(server.parse()?);
    config.root_cert = Some(vec![ca]);
    (config.read_timeout, config.write_timeout) = (None, None);
    Ok(kube::Client::try_from(config)?)
}

fn tls(plane: &Plane) -> Result<TlsAcceptor> {
    let identity = plane.authority.server(&["127.0.0.1"])?;
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl ApiProxy {
    /// Starts listening for so many callers, and passes everything on.
    pub fn start(plane: &Plane, callers: usize) -> Result<Self> {
        let tls = tls(plane)?;
        let ca = CertificateDer::from_pem_slice(plane.authority.identity().certificate.as_bytes())?;
        let ca = ca.to_vec();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut urls, mut gates, mut generations) = (Vec::new(), Vec::new(), Vec::new());
        for caller in 0..callers {
            let port = free_port()?;
            let listener = StdListener::bind(loopback(port)).context("listening for programs")?;
            listener.set_nonblocking(true).context("listening for programs")?;
            let (sender, generation) = watch::channel(Some(0));
            urls.push(format!("https://{}", loopback(port)));
            generations.push(sender);
            gates.push(Gate { caller, listener, generation });
        }
        let client = {
            let _inside = runtime.enter();
            client(plane.server(), ca.clone())?
        };
        let shared = Arc::new(Shared {
            clients: Mutex::new(vec![client; callers]),
            rules: Mutex::default(),
            calls: Mutex::default(),
            held: watch::Sender::new(None),
            lists: Mutex::default(),
        });
        let (served, handle) = (shared.clone(), runtime.handle().clone());
        // A runtime of its own, because the proxy outlives the runtime of the test that began it.
        let thread = std::thread::Builder::new()
            .name("API proxy".to_owned())
            .spawn(move || {
                let gates = gates.into_iter().map(|gate| serve(gate, tls.clone(), served.clone()));
                runtime.block_on(futures::future::join_all(gates));
            })
            .context("starting a thread")?;
        Ok(Self { urls, shared, runtime: handle, ca, generations, thread: Some(thread) })
    }

    /// The URL for a caller.
    #[must_use]
    pub fn url(&self, caller: usize) -> Option<&str> {
        self.urls.get(caller).map(String::as_str)
    }

    /// Passes what this caller asks on to another API server, from its next connection on.
    ///
    /// # Errors
    /// If that has no URL, or there is no such caller.
    pub fn lead(&self, caller: usize, server: &str) -> Result<()> {
        let client = {
            let _inside = self.runtime.enter();
            client(server, self.ca.clone())?
        };
        let mut clients = lock(&self.shared.clients);
        *clients.get_mut(caller).with_context(|| format!("there is no caller {caller}"))? = client;
        drop(clients);
        self.cut_off(caller);
        Ok(())
    }

    /// Does this to each call for which `when` says so; who was asked first decides.
    pub fn fault(&self, fault: Fault, when: impl FnMut(&Call) -> bool + Send + 'static) {
        lock(&self.shared.rules).push((Box::new(when), fault));
    }

    /// Passes everything on again. What was held stays so.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
        lock(&self.shared.lists).clear();
        self.shared.held.send_replace(None);
    }

    /// Ends all connections, watches among them, and what was held.
    pub fn cut(&self) {
        (0..self.generations.len()).for_each(|caller| self.cut_off(caller));
    }

    /// Ends all connections of one caller.
    pub fn cut_off(&self, caller: usize) {
        if let Some(generation) = self.generations.get(caller) {
            generation.send_modify(|generation| {
                *generation = generation.map(|number| number + 1);
            });
        }
    }

    /// Waits until a call is held, and says which.
    pub async fn held(&self) -> Option<Call> {
        let mut held = self.shared.held.subscribe();
        held.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The calls that came since this was asked last.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *lock(&self.shared.calls))
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        for generation in &self.generations {
            generation.send_replace(None);
        }
        if let Some(thread) = self.thread.take() {
            // A thread that panicked serves nobody any more.
            let _ = thread.join();
        }
    }
}

async fn serve(gate: Gate, tls: TlsAcceptor, shared: Arc<Shared>) {
    let Gate { caller, listener, mut generation } = gate;
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        if generation.borrow_and_update().is_none() {
            return;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = generation.changed() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (tls, shared, mut changes) = (tls.clone(), shared.clone(), generation.clone());
        tokio::spawn(async move {
            let connection = async {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(|request| answer(&shared, caller, request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = connection => {}
            }
        });
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct CutOff;

async fn answer(
    shared: &Shared,
    caller: usize,
    request: Request<Incoming>,
) -> Result<Response<Body>, CutOff> {
    let call = Call::of(caller, &request);
    lock(&shared.calls).push(call.clone());
    let fault = {
        let mut rules = lock(&shared.rules);
        rules.iter_mut().find_map(|(when, fault)| when(&call).then(|| fault.clone()))
    };
    match fault {
        None => pass(shared, caller, request).await,
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            pass(shared, caller, request).await
        }
        Some(Fault::Hold) => hold(shared, call).await,
        Some(Fault::HoldAnswer) => {
            pass(shared, caller, request).await?;
            hold(shared, call).await
        }
        Some(Fault::Cut) => Err(CutOff),
        Some(Fault::CutAnswer) => {
            pass(shared, caller, request).await?;
            Err(CutOff)
        }
        Some(Fault::Status(code)) => Ok(says(code)),
        Some(Fault::Swallow(is_swallowed)) => {
            let answer = pass(shared, caller, request).await?;
            Ok(told(answer, move |event| usize::from(!is_swallowed(event))))
        }
        Some(Fault::Expire) => Ok(expired(pass(shared, caller, request).await?)),
        Some(Fault::Stale) => stale(shared, caller, request).await,
        Some(Fault::Repeat) => Ok(told(pass(shared, caller, request).await?, |_| 2)),
        Some(Fault::Skew(ahead)) => Ok(skewed(pass(shared, caller, request).await?, ahead)),
    }
}

/// What a list answered when it was first asked for.
async fn stale(
    shared: &Shared,
    caller: usize,
    request: Request<Incoming>,
) -> Result<Response<Body>, CutOff> {
    let form = request.headers().get(header::ACCEPT).and_then(|form| form.to_str().ok());
    let key = (caller, format!("{} as {}", request.uri(), form.unwrap_or_default()));
    let known = lock(&shared.lists).get(&key).cloned();
    let first = if let Some(first) = known {
        first
    } else {
        let (parts, body) = pass(shared, caller, request).await?.into_parts();
        let body = to_bytes(body, LONGEST).await.map_err(|_| CutOff)?;
        let first = Response::from_parts(parts, body);
        lock(&shared.lists).insert(key, first.clone());
        first
    };
    Ok(first.map(Body::from))
}

async fn hold(shared: &Shared, call: Call) -> Result<Response<Body>, CutOff> {
    shared.held.send_replace(Some(call));
    std::future::pending().await
}

async fn pass(
    shared: &Shared,
    caller: usize,
    request: Request<Incoming>,
) -> Result<Response<Body>, CutOff> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LONGEST).await.map_err(|_| CutOff)?;
    // The client knows where the API server is.
    parts.headers.remove(header::HOST);
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let client = lock(&shared.clients).get(caller).cloned().ok_or(CutOff)?;
    let answer = client.send(request).await.map_err(|_| CutOff)?;
    let (mut parts, body) = answer.into_parts();
    // Both sides frame the body anew.
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, Body::new(body)))
}
