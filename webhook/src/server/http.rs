//! From an HTTP request to an admission review and back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json, Router};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionReview, META_API_VERSION_V1, META_KIND};
use lapse_cluster::process::follow_caller;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{Instrument as _, debug, warn};

use crate::admission::Admission;
use crate::dispatch;
use crate::entry::Webhook;

/// The largest review: the API server takes objects up to 3 MiB, and an update carries two of them.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(5);

/// Who is at the other end of a connection: somebody who knows a path of ours, or nobody yet.
#[derive(Clone, Default)]
pub(super) struct Caller(Arc<Notify>);

impl Caller {
    /// Waits until it is known.
    pub(super) async fn is_known(&self) {
        self.0.notified().await;
    }
}

/// Everything that is served.
pub(crate) fn router(admission: Arc<Admission>) -> Router {
    Router::new().fallback(handle).with_state(admission)
}

/// The same for a test that has no connection.
#[cfg(test)]
pub(crate) fn router_of_nobody(admission: Arc<Admission>) -> Router {
    router(admission).layer(Extension(Caller::default()))
}

fn refuse(code: StatusCode, why: impl Into<String>) -> Response {
    (code, why.into()).into_response()
}

async fn handle(
    State(admission): State<Arc<Admission>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    // Who does not know the path gets nothing, and costs nothing: it is checked before the body is
    // read. The API server does not authenticate itself, so the path is what keeps others from
    // having signed what they please.
    let Some(webhook) = admission.webhook_at(parts.uri.path()) else {
        admission.metrics().stranger();
        return refuse(StatusCode::NOT_FOUND, "not found\n");
    };
    caller.0.notify_one();
    if parts.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "POST an AdmissionReview\n");
    }
    match read(body).await {
        Ok(review) => Box::pin(answer(&admission, webhook, review, &parts.headers)).await,
        Err(response) => response,
    }
}

async fn read(body: Body) -> Result<AdmissionReview<DynamicObject>, Response> {
    let too_large = || {
        let why = format!("the body cannot be read, or is larger than {LARGEST} bytes\n");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, why)
    };
    // What is announced as too large is not waited for.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    let bytes = match timeout(BODY, to_bytes(body, LARGEST)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            debug!(%error, "a body cannot be read");
            return Err(too_large());
        }
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    };
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(&bytes).map_err(|error| {
            warn!(%error, "a review cannot be decoded");
            refuse(StatusCode::BAD_REQUEST, format!("not an AdmissionReview: {error}\n"))
        })?;
    let types = &review.types;
    if types.kind != META_KIND || types.api_version != META_API_VERSION_V1 {
        let why = format!(
            "expected {META_API_VERSION_V1} {META_KIND}, got {} {}\n",
            types.api_version, types.kind
        );
        return Err(refuse(StatusCode::BAD_REQUEST, why));
    }
    Ok(review)
}

async fn answer(
    admission: &Admission,
    webhook: Webhook,
    review: AdmissionReview<DynamicObject>,
    headers: &HeaderMap,
) -> Response {
    let Ok(request) = review.try_into() else {
        return refuse(StatusCode::BAD_REQUEST, "the AdmissionReview has no request\n");
    };
    let span = dispatch::span_of(webhook, &request);
    follow_caller(&span, headers);
    match dispatch::review(admission, webhook, &request).instrument(span).await {
        Ok(response) => {
            let no_store = [(header::CACHE_CONTROL, "no-store")];
            (no_store, Json(response.into_review())).into_response()
        }
        Err(unknown) => refuse(StatusCode::BAD_REQUEST, format!("{unknown}\n")),
    }
}
