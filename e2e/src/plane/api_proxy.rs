//! What stands between a program and the API server, and does there what networks and API servers do on bad days: it
//! holds calls, cuts them before or after they took effect, answers in the API server's place, and swallows what a watch
//! tells.

use std::fmt;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Plane;
use super::net::{free_port, loopback};

/// The longest body of a call, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// A call of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// The path, such as `/apis/lapse.dev/v1alpha1/grants/x/status`.
    pub path: String,
    /// Whether it watches.
    pub is_watch: bool,
}

impl Call {
    /// Whether it changes something that tells of rights: not a lease, an event, or a question about what somebody may do.
    #[must_use]
    pub fn is_write(&self) -> bool {
        let apart = ["/leases/", "/leases", "/events", "/events/", "reviews"];
        self.method != Method::GET && !apart.iter().any(|part| self.path.contains(part))
    }

    fn of<T>(request: &Request<T>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        Self { method: request.method().clone(), path: request.uri().path().to_owned(), is_watch }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    /// It is passed on after this time.
    Delay(Duration),
    /// It is taken, not passed on, and never answered.
    Hold,
    /// It is passed on, takes effect, and is never answered.
    HoldAnswer,
    /// The connection ends, and nothing is passed on.
    Cut,
    /// It is passed on, takes effect, and the connection ends without an answer.
    CutAnswer,
    /// It is answered with this code, and not passed on.
    Status(StatusCode),
    /// What this says of events of a watch is not told, as if it had not happened.
    Swallow(fn(&Value) -> bool),
}

type When = Box<dyn FnMut(&Call) -> bool + Send>;

/// Where a program calls instead of the API server. Dropping it ends all connections.
pub struct ApiProxy {
    url: String,
    shared: Arc<Shared>,
    /// `None`: stop.
    generation: watch::Sender<Option<u64>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    client: kube::Client,
    rules: Mutex<Vec<(When, Fault)>>,
    calls: Mutex<Vec<Call>>,
    held: watch::Sender<Option<Call>>,
}

impl fmt::Debug for ApiProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiProxy").field("url", &self.url).finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ApiProxy {
    /// Starts listening, and passes everything on.
    pub fn start(plane: &Plane) -> Result<Self> {
        let port = free_port()?;
        let listener = StdListener::bind(loopback(port)).context("listening for programs")?;
        listener.set_nonblocking(true).context("listening for programs")?;
        let identity = plane.authority.server(&["127.0.0.1"])?;
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let ca = CertificateDer::from_pem_slice(plane.authority.identity().certificate.as_bytes())?;
        let mut config = kube::Config::new(plane.server().parse()?);
        config.root_cert = Some(vec![ca.to_vec()]);
        // Who calls bears their own token, and has limits of their own.
        (config.read_timeout, config.write_timeout) = (None, None);
        let (generation, generations) = watch::channel(Some(0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = {
            let _inside = runtime.enter();
            kube::Client::try_from(config)?
        };
        let shared = Arc::new(Shared {
            client,
            rules: Mutex::default(),
            calls: Mutex::default(),
            held: watch::Sender::new(None),
        });
        let served = shared.clone();
        // A runtime of its own, because the proxy outlives the runtime of the test that began it.
        let thread = std::thread::Builder::new()
            .name("API proxy".to_owned())
            .spawn(move || runtime.block_on(serve(listener, tls, served, generations)))
            .context("starting a thread")?;
        let url = format!("https://{}", loopback(port));
        Ok(Self { url, shared, generation, thread: Some(thread) })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Does this to each call for which `when` says so; who was asked first decides.
    pub fn fault(&self, fault: Fault, when: impl FnMut(&Call) -> bool + Send + 'static) {
        lock(&self.shared.rules).push((Box::new(when), fault));
    }

    /// Passes everything on again. What was held stays so.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
        self.shared.held.send_replace(None);
    }

    /// Ends all connections, watches among them, and what was held.
    pub fn cut(&self) {
        self.generation.send_modify(|generation| {
            *generation = generation.map(|number| number + 1);
        });
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
        self.generation.send_replace(None);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked serves nobody any more.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: StdListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    mut generation: watch::Receiver<Option<u64>>,
) {
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
                let service = service_fn(|request| answer(&shared, request));
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

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, CutOff> {
    let call = Call::of(&request);
    lock(&shared.calls).push(call.clone());
    let fault = {
        let mut rules = lock(&shared.rules);
        rules.iter_mut().find_map(|(when, fault)| when(&call).then(|| fault.clone()))
    };
    match fault {
        None => pass(shared, request).await,
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            pass(shared, request).await
        }
        Some(Fault::Hold) => hold(shared, call).await,
        Some(Fault::HoldAnswer) => {
            pass(shared, request).await?;
            hold(shared, call).await
        }
        Some(Fault::Cut) => Err(CutOff),
        Some(Fault::CutAnswer) => {
            pass(shared, request).await?;
            Err(CutOff)
        }
        Some(Fault::Status(code)) => Ok(says(code)),
        Some(Fault::Swallow(is_swallowed)) => {
            Ok(swallow(pass(shared, request).await?, is_swallowed))
        }
    }
}

async fn hold(shared: &Shared, call: Call) -> Result<Response<Body>, CutOff> {
    shared.held.send_replace(Some(call));
    std::future::pending().await
}

async fn pass(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, CutOff> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LONGEST).await.map_err(|_| CutOff)?;
    // The client knows where the API server is.
    parts.headers.remove(header::HOST);
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = shared.client.send(request).await.map_err(|_| CutOff)?;
    let (mut parts, body) = answer.into_parts();
    // Both sides frame the body anew.
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// What the API server says when it refuses.
fn says(code: StatusCode) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": "", "message": format!("the proxy says {code}"),
    });
    let body = Body::from(status.to_string());
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A watch without some of its events: each is one line.
fn swallow(response: Response<Body>, is_swallowed: fn(&Value) -> bool) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut rest = Vec::new();
    let lines = body.into_data_stream().map_ok(move |piece| {
        rest.extend_from_slice(&piece);
        let mut told = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            if !is_swallowed(&event) {
                told.extend(line);
            }
        }
        Bytes::from(told)
    });
    let told = lines.filter(|piece| {
        let is_something = piece.as_ref().map_or(true, |piece| !piece.is_empty());
        std::future::ready(is_something)
    });
    Response::from_parts(parts, Body::from_stream(told))
}
