//! The way from what the API server asks to the answer.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kube::core::admission::{AdmissionResponse, Operation};
use lapse_cluster::process::{TRACES, bounded_text};
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::admission::Admission;
use crate::answer::{self, Admitted, NotAdmitted};
use crate::asked::{Kind, Request};
use crate::entry::Webhook;
use crate::metrics::{AdmissionOutcome, Labels};
use crate::{confine, enrol, entered, order, session, stamp, started, validate};

/// How long an answer may take. The API server waits 5 s, and then tells the person nothing useful.
const LIMIT: Duration = Duration::from_millis(4500);

/// A review that the configurations never ask for.
#[derive(Debug, thiserror::Error)]
#[error(
    "this webhook does not {webhook} {operation} of {kind}; see the webhook configurations lapse"
)]
pub(crate) struct Unknown {
    webhook: &'static str,
    operation: String,
    kind: String,
}

/// Answers a review.
pub(crate) async fn review(
    admission: &Admission,
    webhook: Webhook,
    request: &Request,
) -> Result<AdmissionResponse, Unknown> {
    let began = Instant::now();
    let unknown = || Unknown {
        webhook: webhook.verb(),
        operation: format!("{:?}", request.operation),
        kind: request.kind.kind.clone(),
    };
    let kind = Kind::of(request);
    let operation = name_of(&request.operation);
    let decided = match timeout(LIMIT, decide(admission, webhook, kind, request)).await {
        Ok(decided) => decided.ok_or_else(unknown)?,
        Err(_) => Err(NotAdmitted::Failed(
            "Lapse's webhook did not find out in time whether this is allowed".to_owned(),
        )),
    };
    let outcome = match &decided {
        Ok(_) => AdmissionOutcome::allowed,
        Err(NotAdmitted::Failed(_)) => AdmissionOutcome::error,
        Err(_) => AdmissionOutcome::refused,
    };
    traced(outcome);
    let kind = kind.map_or("other", Kind::name);
    let labels = Labels { webhook: webhook.verb(), kind, operation, outcome };
    admission.metrics().answered(labels, began.elapsed());
    answer::log(webhook, kind, operation, request, &decided);
    Ok(answer::respond(request, decided))
}

fn name_of(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// The span of a review, which says who asks as little as what is asked.
pub(crate) fn span_of(webhook: Webhook, request: &Request) -> Span {
    info_span!(
        target: TRACES,
        "admission",
        otel.name = format!("{} {}", webhook.verb(), Kind::of(request).map_or("other", Kind::name)),
        otel.kind = "server",
        otel.status_code = Empty,
        lapse.webhook = webhook.verb(),
        lapse.operation = name_of(&request.operation),
        lapse.kind = bounded_text(&request.kind.kind),
        lapse.namespace = request.namespace.as_deref().map(bounded_text),
        lapse.name = bounded_text(answer::name(request)),
        lapse.outcome = Empty,
    )
}

/// Says in the span of the review how it ended.
fn traced(outcome: AdmissionOutcome) {
    let span = Span::current();
    let outcome = match outcome {
        AdmissionOutcome::allowed => "allowed",
        AdmissionOutcome::refused => "refused",
        AdmissionOutcome::error => {
            span.record("otel.status_code", "ERROR");
            "error"
        }
    };
    span.record("lapse.outcome", outcome);
}

/// `None`: nobody asks that.
async fn decide(
    admission: &Admission,
    webhook: Webhook,
    kind: Option<Kind>,
    request: &Request,
) -> Option<Result<Admitted, NotAdmitted>> {
    use Operation::{Connect, Create, Delete, Update};
    match (webhook, kind, &request.operation) {
        (Webhook::Stamp, Some(Kind::AccessRequest), Create) => {
            Some(stamp::request(admission, request).boxed().await)
        }
        (Webhook::Stamp, Some(Kind::AccessDecision), Create) => {
            Some(stamp::decision(admission, request).await)
        }
        (Webhook::Order, Some(Kind::Grant), Create) => {
            Some(order::order(admission, request).boxed().await)
        }
        (Webhook::Enrol, Some(Kind::EndpointStatus), Update) => {
            Some(enrol::enrol(admission, request))
        }
        (
            Webhook::Validate,
            Some(kind @ (Kind::AccessRequest | Kind::AccessDecision)),
            Create | Update,
        ) => Some(validate::signed(admission, kind, request).await),
        (Webhook::Validate, Some(Kind::JitPolicy), Create | Update) => {
            Some(validate::policy(admission, request).await)
        }
        (Webhook::Confine, Some(Kind::Grant), Create) => {
            Some(confine::grant(admission, request).boxed().await)
        }
        (Webhook::Confine, Some(Kind::Rbac(kind)), Create) => {
            Some(confine::object(admission, kind, request).boxed().await)
        }
        (Webhook::Confine, Some(Kind::AccessDecision), Delete) => {
            Some(confine::decision(admission, request).boxed().await)
        }
        (Webhook::Session, ..) => Some(Ok(session::record(admission, request).await)),
        (Webhook::Started, _, Create | Update) => Some(started::mark(admission, request).await),
        (Webhook::Copied, _, Create) => Some(Ok(started::unmark(request))),
        (Webhook::Entered, _, Connect) => Some(entered::record(admission, request, true).await),
        (Webhook::Elsewhere, _, Connect) => Some(Ok(entered::record_if(admission, request).await)),
        (Webhook::Ends, Some(Kind::JitPolicy), Delete) => {
            Some(Ok(validate::deletion(admission, request)))
        }
        (
            Webhook::Stamp
            | Webhook::Order
            | Webhook::Enrol
            | Webhook::Validate
            | Webhook::Confine
            | Webhook::Started
            | Webhook::Copied
            | Webhook::Entered
            | Webhook::Elsewhere
            | Webhook::Ends,
            ..,
        ) => None,
    }
}

#[cfg(test)]
mod tests;
