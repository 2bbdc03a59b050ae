//! `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::door::Door;
use super::exposition::Format;
use super::health::{Checks, Health};

/// Serves health and metrics until it is dropped.
pub async fn serve(
    listen: SocketAddr,
    health: Health,
    registry: Arc<Registry>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    info!(address = %listener.local_addr()?, "serving health and metrics");
    accept(listener, router(health, registry)).await
}

/// How many connections there may be, and of one source. Any pod may come here: what it holds open must cost neither the
/// memory of this program nor the answer to a probe.
const CONNECTIONS: (usize, usize) = (256, 16);
/// How long a request may take to arrive, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last: until no more is taken from it, and until it is cut.
const LASTS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(10));
/// How many bytes of a request are read.
const LARGEST_HEAD: usize = 16 * 1024;

async fn accept(listener: TcpListener, router: Router) -> std::io::Result<()> {
    let mut door = Door::new(CONNECTIONS, Duration::ZERO);
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let router = router.clone();
                door.let_in(address.ip(), |_| converse(stream, router));
            }
            Err(error) => {
                // Out of files, most often: what is open ends soon.
                warn!(%error, "accepting a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = if let Ok(ended) = timeout(LASTS.0, connection.as_mut()).await {
        Ok(ended)
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(LASTS.1, connection).await
    };
    if !matches!(ended, Ok(Ok(()))) {
        debug!("a connection ended badly");
    }
}

fn router(health: Health, registry: Arc<Registry>) -> Router {
    let livez = async |State(health): State<Health>, RawQuery(query): RawQuery| {
        answer("livez", &health.liveness(), query.as_deref())
    };
    let readyz = async |State(health): State<Health>, RawQuery(query): RawQuery| {
        answer("readyz", &health.readiness(), query.as_deref())
    };
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
        .route("/metrics", get(metrics).with_state(registry))
}

/// As the API server answers: `ok`, or what is wrong; with `?verbose` each check.
fn answer(of: &str, checks: &Checks, query: Option<&str>) -> Response {
    let mut words = query.unwrap_or_default().split('&');
    let is_verbose = words.any(|word| word.split('=').next() == Some("verbose"));
    match (checks.are_passed(), is_verbose) {
        (true, false) => "ok".into_response(),
        (true, true) => checks.verbose(of).into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, checks.verbose(of)).into_response(),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    match format.encode(&registry) {
        Ok(text) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tower::ServiceExt as _;

    use super::*;

    async fn asked(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Who holds connections open has few of them, and keeps no probe out, not even one of the same address.
    #[tokio::test]
    async fn connections_that_are_held_keep_no_probe_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Health::default(), Arc::new(Registry::default()));
        tokio::spawn(accept(listener, router));
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let beyond = held.len() - CONNECTIONS.1;
        for stream in &mut held[..beyond] {
            let ended = timeout(HEAD / 2, stream.read_u8()).await;
            assert!(ended.is_ok(), "an earlier one makes place");
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        probe
            .write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        timeout(HEAD, probe.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }

    /// As a kubelet asks, and as a person does.
    #[tokio::test(start_paused = true)]
    async fn each_path_says_what_it_is_asked() {
        let health = Health::default();
        let lists = health.gate("lists");
        let sweep = health.heartbeat("sweep", Duration::from_mins(1));
        let router = router(health, Arc::new(Registry::default()));
        assert_eq!(asked(&router, "/livez").await, (200, "ok".to_owned()));
        let (code, why) = asked(&router, "/readyz").await;
        assert_eq!((code, why.lines().next()), (503, Some("[-]lists failed: not yet")));
        lists.set(true);
        assert_eq!(asked(&router, "/readyz").await, (200, "ok".to_owned()));
        let all = "[+]lists ok\nreadyz check passed\n".to_owned();
        assert_eq!(asked(&router, "/readyz?verbose").await, (200, all));

        tokio::time::advance(Duration::from_secs(61)).await;
        let (code, why) = asked(&router, "/livez").await;
        assert_eq!(code, 503, "{why}");
        assert!(why.starts_with("[-]sweep failed"), "{why}");
        assert_eq!(asked(&router, "/readyz").await.0, 200, "who hangs may still answer");
        sweep.beat();
        let all = "[+]sweep ok\nlivez check passed\n".to_owned();
        assert_eq!(asked(&router, "/livez?verbose=1").await, (200, all));
        assert_eq!(asked(&router, "/healthz").await.0, 404);
    }
}
