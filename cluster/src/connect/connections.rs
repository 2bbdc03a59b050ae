//! The connections to the API server, and how long any of them may be silent.
//!
//! Whatever hangs, a call ends: a dead node is noticed by TCP itself, an answer must begin in time, and so must each part
//! of it. One call that gets no answer casts doubt on every connection that lies idle, so none of them is used again:
//! behind a node that died each would cost another call its whole time.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use tokio::time::Instant;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service};
use tower_http::timeout::TimeoutBody;
use tracing::info;

/// A connection over which nothing came for so long is asked for a sign of life…
const PROBED_AFTER: Duration = Duration::from_secs(10);
/// …this often…
const PROBES: (Duration, u32) = (Duration::from_secs(3), 3);
/// …and is dead when nothing of what was sent was acknowledged for so long: within 20 s in either way.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// How long a connection may lie idle, and how many of them.
const IDLE: (Duration, usize) = (Duration::from_secs(20), 64);

/// How long a watch lasts that says nothing of it, in seconds.
const LONGEST_WATCH: u64 = 300;

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until an answer begins. A call has its own, shorter limit; this one is for watches and their lists, for which `kube`
    /// has none.
    pub(super) answer: Duration,
    /// Until more of an answer comes.
    pub(super) part: Duration,
    /// How much longer a watch may be silent than the API server lets it last.
    pub(super) event: Duration,
    /// After how long the idle connections are in doubt, if somebody gives a call up before it was answered.
    pub(super) doubt: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(15),
            part: Duration::from_secs(15),
            event: Duration::from_secs(10),
            doubt: Duration::from_secs(4),
        }
    }
}

impl Limits {
    /// How long until more of the answer to this comes: a watch may be silent for as long as it lasts.
    pub(super) fn of(self, uri: &Uri) -> Duration {
        let asked =
            uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let asked =
            |key: &str| asked.clone().find_map(|(name, value)| (name == key).then_some(value));
        if asked("watch") != Some("true") {
            return self.part;
        }
        let lasts = asked("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(lasts.unwrap_or(LONGEST_WATCH)) + self.event
    }
}

/// Opens connections that notice when the other end is gone.
pub(super) fn connector(timeout: Option<Duration>) -> HttpConnector {
    // The client that kube builds by default leaves Nagle's algorithm on (RFC 896): a write, whose head
    // and body are sent apart, then waits 40 ms for the acknowledgement of its first half.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(timeout);
    connector.set_keepalive(Some(PROBED_AFTER));
    connector.set_keepalive_interval(Some(PROBES.0));
    connector.set_keepalive_retries(Some(PROBES.1));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    connector
}

type Http<C> = legacy::Client<C, Body>;

/// The connections.
#[derive(Clone)]
pub(super) struct Connections<C> {
    connector: C,
    limits: Limits,
    current: Arc<Mutex<Pool<C>>>,
}

/// Connections that are used again, until one of them is in doubt.
struct Pool<C> {
    number: u64,
    http: Http<C>,
}

impl<C: Connect + Clone + Send + Sync + 'static> Connections<C> {
    pub(super) fn new(connector: C, limits: Limits) -> Self {
        let http = client(connector.clone());
        let current = Arc::new(Mutex::new(Pool { number: 0, http }));
        Self { connector, limits, current }
    }

    fn begin(&self) -> (Http<C>, Unanswered<C>) {
        let Pool { number, http } = &*self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = Some((self.clone(), *number));
        (http.clone(), Unanswered { since: Instant::now(), doubt })
    }

    /// Uses no connection again of those that were there in this pool.
    fn abandon(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == number {
            info!("the API server gave no answer: the connections to it are made anew");
            *current = Pool { number: number + 1, http: client(self.connector.clone()) };
        }
    }
}

fn client<C: Connect + Clone + Send + Sync + 'static>(connector: C) -> Http<C> {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE.0)
        .pool_max_idle_per_host(IDLE.1)
        .build(connector)
}

/// A call that was not answered yet. When it is dropped as such, by its own limit or by its caller's, the other connections
/// are in doubt.
struct Unanswered<C: Connect + Clone + Send + Sync + 'static> {
    since: Instant,
    doubt: Option<(Connections<C>, u64)>,
}

impl<C: Connect + Clone + Send + Sync + 'static> Unanswered<C> {
    fn was_answered(mut self) {
        self.doubt = None;
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Drop for Unanswered<C> {
    fn drop(&mut self) {
        if let Some((connections, number)) = self.doubt.take()
            && self.since.elapsed() >= connections.limits.doubt
        {
            connections.abandon(number);
        }
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Service<Request<Body>> for Connections<C> {
    type Response = Response<TimeoutBody<hyper::body::Incoming>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let limits = self.limits;
        let part = limits.of(request.uri());
        let (http, unanswered) = self.begin();
        Box::pin(async move {
            let answer = tokio::time::timeout(limits.answer, http.request(request)).await;
            let answer = answer.map_err(|_| Elapsed::new())?;
            // A refusal to connect is an answer, too.
            unanswered.was_answered();
            Ok(answer?.map(|body| TimeoutBody::new(part, body)))
        })
    }
}
