//! What a program asks of the API server, and what may happen to that.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, Bytes};
use chrono::{DateTime, TimeDelta};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

/// A call of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls: the number of the controller.
    pub caller: usize,
    /// Its method.
    pub method: Method,
    /// The path, such as `/apis/lapse.dev/v1alpha1/grants/x/status`.
    pub path: String,
    /// Whether it watches.
    pub is_watch: bool,
    /// Whether it lists.
    pub is_list: bool,
    /// The fields by which it selects what it lists or watches; empty if by none.
    pub fields: String,
}

impl Call {
    /// Whether it changes something that tells of rights: not a lease, an event, or a question about what somebody may do.
    #[must_use]
    pub fn is_write(&self) -> bool {
        let apart = ["/leases/", "/leases", "/events", "/events/", "reviews"];
        self.method != Method::GET && !apart.iter().any(|part| self.path.contains(part))
    }

    pub(super) fn of<T>(caller: usize, request: &Request<T>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| part == "watch=true");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_list = method == Method::GET && !is_watch && is_of_many(&path);
        let fields = query.split('&').find_map(|part| part.strip_prefix("fieldSelector="));
        let fields = fields.map(plain).unwrap_or_default();
        Self { caller, method, path, is_watch, is_list, fields }
    }
}

/// A selector of fields as it was before it became part of a query.
fn plain(selector: &str) -> String {
    let marks = [("%3D", "="), ("%21", "!"), ("%2C", ",")];
    marks.iter().fold(selector.to_owned(), |text, (code, mark)| text.replace(code, mark))
}

/// Whether a path names objects of a kind, and not one of them.
fn is_of_many(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (["api", _, within @ ..] | ["apis", _, _, within @ ..]) = parts.as_slice() else {
        return false;
    };
    matches!(within, [_] | ["namespaces", _, _])
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
    /// Each event of a watch is told twice.
    Repeat,
    /// Instead of its next event a watch tells that it is too old to go on (410), and ends.
    Expire,
    /// A list answers as it did when it was first asked for since.
    Stale,
    /// The API server's clock is ahead by so much, as it says itself.
    Skew(TimeDelta),
}

/// What the API server says when it refuses.
pub(super) fn says(code: StatusCode) -> Response<Body> {
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

/// A watch each of whose events, a line, is told as often as this says.
pub(super) fn told(
    response: Response<Body>,
    times: impl Fn(&Value) -> usize + Send + 'static,
) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut rest = Vec::new();
    let lines = body.into_data_stream().map_ok(move |piece| {
        rest.extend_from_slice(&piece);
        let mut told = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            told.extend(line.repeat(times(&event)));
        }
        Bytes::from(told)
    });
    let told = lines.filter(|piece| {
        let is_something = piece.as_ref().map_or(true, |piece| !piece.is_empty());
        std::future::ready(is_something)
    });
    Response::from_parts(parts, Body::from_stream(told))
}

/// A watch that ends with its first event, which it does not tell.
pub(super) fn expired(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let gone = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
        "message": "the proxy says that it is too old",
    }});
    let first = body.into_data_stream().take(1);
    let told = first.map_ok(move |_| Bytes::from(format!("{gone}\n")));
    Response::from_parts(parts, Body::from_stream(told))
}

/// An answer by a clock that is ahead by so much.
pub(super) fn skewed(mut response: Response<Body>, ahead: TimeDelta) -> Response<Body> {
    let said = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let said = said.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let date = said.map(|date| (date + ahead).format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn events_are_told_as_often_as_is_said() {
        let pieces = ["{\"n\": 1}\n{\"n\"", ": 0}\n", "{\"n\": 2}\n"];
        let pieces = futures::stream::iter(pieces.map(Ok::<_, std::io::Error>));
        let times = |event: &Value| event["n"].as_u64().and_then(|n| n.try_into().ok()).unwrap();
        let response = told(Response::new(Body::from_stream(pieces)), times);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert_eq!(body, "{\"n\": 1}\n{\"n\": 2}\n{\"n\": 2}\n");
    }

    #[tokio::test]
    async fn a_watch_that_is_too_old_says_so_instead_of_its_first_event() {
        let pieces = ["{\"n\": 1}\n", "{\"n\": 2}\n"].map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures::stream::iter(pieces));
        let body = to_bytes(expired(Response::new(body)).into_body(), 1024).await.unwrap();
        let told: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&told["type"], &told["object"]["code"]), (&json!("ERROR"), &json!(410)));
    }

    #[test]
    fn lists_are_told_from_single_objects() {
        for (path, is_list) in [
            ("/api/v1/namespaces", true),
            ("/api/v1/namespaces/shop", false),
            ("/api/v1/namespaces/shop/pods", true),
            ("/api/v1/namespaces/shop/pods/web", false),
            ("/apis/lapse.dev/v1alpha1/grants", true),
            ("/apis/lapse.dev/v1alpha1/grants/fix", false),
            ("/apis/lapse.dev/v1alpha1/namespaces/shop/accessrequests", true),
            ("/apis/lapse.dev/v1alpha1/namespaces/shop/accessrequests/fix/status", false),
            ("/version", false),
        ] {
            let of = |query: &str| {
                let request = Request::builder().uri(format!("{path}{query}")).body(()).unwrap();
                Call::of(0, &request)
            };
            assert_eq!(of("?limit=1").is_list, is_list, "{path}");
            assert!(!of("?watch=true").is_list);
            assert_eq!(of("?limit=1").fields, "");
            let selects = "?&fieldSelector=status.phase%3DEnded%2Cspec.emergency%21%3Dtrue&limit=1";
            assert_eq!(of(selects).fields, "status.phase=Ended,spec.emergency!=true");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_says_a_later_date() {
        let mut response = Response::new(Body::empty());
        let date = HeaderValue::from_static("Mon, 02 Mar 2026 23:59:58 GMT");
        response.headers_mut().insert(header::DATE, date);
        let response = skewed(response, TimeDelta::seconds(3));
        assert_eq!(response.headers()[header::DATE], "Tue, 03 Mar 2026 00:00:01 GMT");
    }
}
