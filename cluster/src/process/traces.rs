//! Traces: spans that are sent to a collector by OTLP over HTTP, where one is named.
//!
//! The standard variables say where and how much (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, …); the SDK reads
//! them. Without an endpoint there is no layer, and no span is made. A collector that does not answer costs nothing but
//! spans: they wait in a queue with a bound and are sent by a thread of their own, and what does not fit is dropped.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Span, info, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span: the log never shows them, and nothing else is exported.
pub const TRACES: &str = "lapse::traces";

/// How long a collector may take for a batch.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end.
const FLUSH: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How many bytes of a text go into an attribute. The names of objects have 253 at the most.
const LONGEST: usize = 256;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const ENDPOINT_OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Why no traces are sent although an endpoint is named.
#[derive(Debug, thiserror::Error)]
pub(super) enum TracesError {
    #[error(
        "{variable} is {given:?}, which is no URL of a collector: set it to http://HOST:PORT, where OTLP over HTTP is \
         served, most often at port 4318 (chart: tracing.endpoint)"
    )]
    Endpoint { variable: &'static str, given: String },
    #[error("the exporter of traces cannot be made: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What sends spans, if anything does.
#[derive(Debug, Default)]
#[must_use = "the last spans are sent by `finish`"]
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what is left, for a bounded time. It blocks, and the runtime must still run.
    pub(super) fn finish(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            warn!(%error, "the last traces were not sent");
        }
    }

    /// As the variables say, for the program of this name.
    pub(super) fn start(
        program: &'static str,
        runtime: &Handle,
    ) -> Result<(Self, Option<SdkTracer>), TracesError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value == "true");
        let named = [ENDPOINT_OF_TRACES, ENDPOINT];
        let named = named.into_iter().find_map(|name| Some((name, variable(name)?)));
        let Some((variable, given)) = named.filter(|_| !is_disabled) else {
            return Ok((Self::default(), None));
        };
        if !is_endpoint(&given) {
            return Err(TracesError::Endpoint { variable, given });
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(runtime.clone()))
            .with_protocol(Protocol::HttpBinary)
            .build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(program).with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer(program);
        Ok((Self(Some(provider)), Some(tracer)))
    }
}

/// Whether spans can be sent there. TLS is for the collector: it stands in the cluster.
fn is_endpoint(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    url.scheme_str() == Some("http") && url.host().is_some_and(|host| !host.is_empty())
}

/// Makes a span part of the trace that its caller says it is in (W3C Trace Context), if it does.
pub fn follow_caller(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() && headers.contains_key("traceparent") {
        let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // It fails only for a span that has begun, and this one has not been entered.
        let _ = span.set_parent(caller);
    }
}

/// As much of a text as goes into an attribute.
#[must_use]
pub fn bounded_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// Where the spans go.
#[derive(Debug)]
struct Collector {
    client: Client<HttpConnector, Body>,
    runtime: Handle,
    answers: AtomicBool,
}

impl Collector {
    fn new(runtime: Handle) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ANSWER));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, runtime, answers: AtomicBool::new(true) }
    }

    /// Says once that it does not answer, and once that it does again.
    fn told(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let wrong = match outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let answered = self.answers.swap(wrong.is_none(), Ordering::Relaxed);
        match wrong {
            Some(error) if answered => {
                warn!(%error, "traces cannot be sent; they are dropped until the collector takes them");
            }
            None if !answered => info!("traces are sent again"),
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The thread that calls this has no timers and no sockets: all of it runs where they are.
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let sending = async {
                let (parts, body) = client.request(request.map(Body::from)).await?.into_parts();
                let body = axum::body::to_bytes(Body::new(body), LARGEST_ANSWER).await?;
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            };
            tokio::time::timeout(ANSWER, sending).await
        });
        let outcome = match sent.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(format!("no answer within {} s", ANSWER.as_secs()).into()),
            // The process ends.
            Err(ended) => return Err(ended.into()),
        };
        self.told(&outcome);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use opentelemetry::trace::TraceContextExt as _;
    use rstest::rstest;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[rstest]
    #[case("http://collector.observability:4318", true)]
    #[case("http://10.0.0.1:4318/prefix", true)]
    #[case("http://[fd00::1]:4318", true)]
    #[case("https://collector.example:4318", false)]
    #[case("collector:4317", false)]
    #[case("http://", false)]
    #[case("/v1/traces", false)]
    #[case("http://with space", false)]
    fn an_endpoint_is_a_url_of_http(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_endpoint(url), expected);
    }

    /// The API server says in which trace it calls, where its own tracing is on.
    #[test]
    fn a_span_joins_the_trace_of_its_caller() {
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let trace_of = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let span = tracing::info_span!("admission");
            follow_caller(&span, &headers.collect());
            let context = span.context();
            context.span().span_context().trace_id().to_string()
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans), || {
            let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let named = "0af7651916cd43dd8448eb211c80319c";
            assert_eq!(trace_of(&[("traceparent", caller)]), named);
            for headers in [&[][..], &[("traceparent", "00-rubbish")]] {
                let own = trace_of(headers);
                assert!(own != named && own != "0".repeat(32), "{own}");
            }
        });
    }

    #[test]
    fn texts_are_cut_between_letters() {
        assert_eq!(bounded_text("short"), "short");
        let long = "ä".repeat(200);
        assert_eq!(bounded_text(&format!("x{long}")).len(), 255);
    }
}
