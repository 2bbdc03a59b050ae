//! `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::info;

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
    axum::serve(listener, router(health, registry)).await
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
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn asked(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
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
