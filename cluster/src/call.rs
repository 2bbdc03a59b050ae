//! Calls to the API server, each with a limit and an error that says what was tried.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::process::{TRACES, bounded_text};

/// How long any call of a program may take; kube has no limit of its own.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The reason, in an answer of the API server, for which Lapse's webhook does not let through what the
/// controller writes: it does not follow from what is stored.
pub const NOT_CONFIRMED: &str = "NotConfirmed";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server did not answer in time.
    #[error("{what}: no answer within {} s", limit.as_secs())]
    TimedOut {
        /// What was tried.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The API server refused, or could not be reached.
    #[error("{what}: {}", describe(source))]
    Api {
        /// What was tried.
        what: String,
        /// What it answered. Not a source: its text is part of this one's.
        source: Box<kube::Error>,
    },
}

fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => without_path(&status.message),
        error => error.to_string(),
    }
}

/// What the API server answers when it cannot call a webhook names the URL, and the path of Lapse's own is
/// known to the API server alone: what is written here ends up in logs and in the status of objects.
fn without_path(message: &str) -> String {
    const FAILED: &str = "failed calling webhook \"";
    let name = message.split_once(FAILED).and_then(|(_, rest)| rest.split_once('"'));
    match name {
        Some((name, _)) => format!(
            "the webhook {name} gave no answer in time. It is tried again; the log of the API server \
             says more"
        ),
        None => message.to_owned(),
    }
}

impl CallError {
    /// What came back, if anything did.
    pub(crate) fn answer(&self) -> Option<&kube::Error> {
        match self {
            Self::Api { source, .. } => Some(source),
            Self::TimedOut { .. } => None,
        }
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(&status.reason),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// Whether the object does not exist. That its whole kind is not served (while definitions are
    /// made anew, say) is answered with 404 too, and says nothing about the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = &**source else { return false };
        let names_it = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        status.code == 404 && status.reason == "NotFound" && names_it
    }

    /// Whether an object of this name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// Whether a refusal may pass by itself: for lack of rights that were just given, or of a namespace that was just made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.code(), Some(403 | 404 | 409 | 410))
    }

    /// Whether whatever else is asked now fails, too, and as soon: the API server has too much to do, or cannot be reached.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self.answer() {
            // Or a load balancer says so in its stead.
            Some(kube::Error::Api(status)) => matches!(status.code, 429 | 502..=504),
            Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => true,
            Some(_) | None => false,
        }
    }

    /// Whether no answer came in time.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// Whether the object is not as the call expected (another version, or another UID).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && !self.is_already_exists()
    }

    /// Whether trying the same again is useless: the API server understood and refused. A refusal for
    /// lack of rights or by admission counts, being over or unable to answer does not. Nor does
    /// [`NOT_CONFIRMED`]: the two programs look at the same objects, and what one has seen and the other has
    /// not, or a release of one that the other does not have yet, passes.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.reason() != Some(NOT_CONFIRMED)
            && matches!(
                self.code(),
                Some(400 | 403 | 404 | 405 | 406 | 409 | 410 | 413 | 415 | 422)
            )
    }
}

/// A random number from 0 to 1, for pauses: those that failed together are not to try again together.
#[must_use]
pub fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

/// Runs a call for at most [`CALL_LIMIT`]. `what` completes the sentence of an error: "reading Grant x".
pub async fn bounded<T>(
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    bounded_by(CALL_LIMIT, what, call).await
}

/// The same for at most so long: people say themselves for how long they wait.
pub async fn bounded_by<T>(
    limit: Duration,
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    // Calls that belong to nothing that is traced, such as those for the lease, are no traces of their own.
    if Span::current().is_none() {
        return untraced(limit, what, call).await;
    }
    let what = what.into();
    let span = span_of(&what);
    let called = untraced(limit, what, call).instrument(span.clone()).await;
    if let Err(error) = &called {
        if let Some(code) = error.code() {
            span.record("http.response.status_code", code);
        }
        // That something is not there is an answer as good as any.
        if !error.is_not_found() {
            span.record("otel.status_code", "ERROR");
        }
    }
    called
}

async fn untraced<T>(
    limit: Duration,
    what: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    // In a box: the future of a call takes kilobytes, and observing makes a dozen of them at once.
    match tokio::time::timeout(limit, Box::pin(call)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CallError::Api { what: what.into(), source: Box::new(source) }),
        Err(_) => Err(CallError::TimedOut { what: what.into(), limit }),
    }
}

/// The span of a call, named for what is done to which kind, and with all of it as an attribute.
fn span_of(what: &str) -> Span {
    info_span!(
        target: TRACES,
        "call",
        otel.name = kind_of_call(what),
        otel.kind = "client",
        otel.status_code = Empty,
        lapse.call = bounded_text(what),
        http.response.status_code = Empty,
    )
}

/// What is tried without the name of what it is tried on: "reading Grant x" is "reading Grant". Spans have few names.
fn kind_of_call(what: &str) -> &str {
    let is_kind = |word: &str| word.starts_with(|first: char| first.is_ascii_uppercase());
    let mut end = 0;
    for word in what.split_inclusive(' ') {
        end += word.len();
        if is_kind(word) {
            break;
        }
    }
    bounded_text(what[..end].trim_end())
}

/// What asks for the page after this one; `None` if it was the last.
#[must_use]
pub fn next_page(params: ListParams, page: &ListMeta) -> Option<ListParams> {
    let token = page.continue_.as_deref().filter(|token| !token.is_empty())?;
    Some(params.continue_token(token))
}

/// What asks for the rest of a list that took longer than the API server keeps the state of it that its first page showed
/// (410 `Expired`): for the rest as it is now. No object is shown twice, as pages go on by name; what came or went meanwhile
/// among those that were shown already is missed. `None` if the call failed for another reason, or no rest is offered.
#[must_use]
pub fn rest_of_list(params: &ListParams, error: &kube::Error) -> Option<ListParams> {
    let kube::Error::Api(status) = error else { return None };
    let offered = status.metadata.as_ref().filter(|_| status.code == 410)?;
    next_page(params.clone(), offered)
}

/// Writes the status of an object. It fails when somebody else wrote since the object was read: the
/// object carries the version that it was read with.
pub async fn replace_status<K>(api: &Api<K>, object: &K) -> Result<K, CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let what = format!("reporting on {} {name}", K::kind(&()));
    let post = PostParams::default();
    bounded(what, api.replace_status(&name, &post, object)).await
}

#[cfg(test)]
mod tests {
    use kube::core::response::Status;
    use rstest::rstest;

    use super::*;

    fn refused(code: u16, reason: &str, message: &str) -> CallError {
        let status = Status {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Status::default()
        };
        let source = Box::new(kube::Error::Api(Box::new(status)));
        CallError::Api { what: "creating Grant x".to_owned(), source }
    }

    #[rstest]
    #[case("reading Grant lapse-0a1b", "reading Grant")]
    #[case("recording in Grant x that Pod y is entered", "recording in Grant")]
    #[case("listing the RoleBindings", "listing the RoleBindings")]
    #[case("asking whether the caller may approve", "asking whether the caller may approve")]
    fn names_of_spans_name_no_object(#[case] what: &str, #[case] expected: &str) {
        assert_eq!(kind_of_call(what), expected);
    }

    #[rstest]
    #[case::by_rights_or_policy(403, "Forbidden", true)]
    #[case::invalid(422, "Invalid", true)]
    #[case::not_confirmed(403, NOT_CONFIRMED, false)]
    #[case::no_webhook(500, "InternalError", false)]
    #[case::too_much(429, "TooManyRequests", false)]
    fn what_passes_is_tried_again(#[case] code: u16, #[case] reason: &str, #[case] lasting: bool) {
        assert_eq!(refused(code, reason, "no").is_lasting(), lasting);
    }

    #[test]
    fn what_fails_for_all_is_told_from_what_fails_for_one() {
        let failed = |source: kube::Error| {
            let source = Box::new(source);
            CallError::Api { what: "deleting RoleBinding x".to_owned(), source }
        };
        let refusal = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(failed(kube::Error::Service(refusal.into())).is_outage());
        for (code, is_outage) in
            [(429, true), (503, true), (504, true), (500, false), (403, false), (409, false)]
        {
            assert_eq!(refused(code, "", "no").is_outage(), is_outage, "{code}");
        }
        let late = CallError::TimedOut { what: String::new(), limit: CALL_LIMIT };
        assert!(late.is_late() && !late.is_outage(), "it has taken its time already");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_after_as_long_as_was_asked() {
        let began = tokio::time::Instant::now();
        let hangs = std::future::pending::<kube::Result<()>>();
        let error = bounded_by(Duration::from_secs(2), "reading Grant x", hangs).await.unwrap_err();
        assert_eq!(error.to_string(), "reading Grant x: no answer within 2 s");
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        let hangs = std::future::pending::<kube::Result<()>>();
        let error = bounded("reading Grant x", hangs).await.unwrap_err();
        assert_eq!(error.to_string(), "reading Grant x: no answer within 10 s");
    }

    #[rstest]
    #[case::too_late(410, Some("rest"), Some("rest"))]
    #[case::without_a_rest(410, None, None)]
    #[case::with_an_empty_one(410, Some(""), None)]
    #[case::for_another_reason(500, Some("rest"), None)]
    fn the_rest_of_a_list_is_asked_for_as_it_is_offered(
        #[case] code: u16,
        #[case] offered: Option<&str>,
        #[case] asked: Option<&str>,
    ) {
        let metadata =
            ListMeta { continue_: offered.map(ToOwned::to_owned), ..ListMeta::default() };
        let status = Status { code, metadata: Some(metadata), ..Status::default() };
        let params = ListParams::default().limit(7).continue_token("old");
        let rest = rest_of_list(&params, &kube::Error::Api(Box::new(status)));
        assert_eq!(rest.as_ref().and_then(|rest| rest.continue_token.as_deref()), asked);
        assert!(rest.is_none_or(|rest| rest.limit == Some(7)), "it is the same list");
    }

    #[test]
    fn the_path_of_a_webhook_is_told_nobody() {
        let message = "Internal error occurred: failed calling webhook \"confine.lapse.dev\": failed \
                       to call webhook: Post \"https://hook/0123abcd/confine?timeout=5s\": EOF";
        assert_eq!(
            refused(500, "InternalError", message).to_string(),
            "creating Grant x: the webhook confine.lapse.dev gave no answer in time. It is tried again; \
             the log of the API server says more"
        );
        let other = refused(403, "Forbidden", "you may not").to_string();
        assert_eq!(other, "creating Grant x: you may not");
    }
}
