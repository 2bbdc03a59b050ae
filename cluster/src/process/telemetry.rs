//! Logs and traces.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{error, warn};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::lines::Lines;
use super::traces::{TRACES, Traces};

/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Starts logging to standard error: what `LAPSE_LOG` selects (the syntax of `tracing`'s `EnvFilter`,
/// `info` by default), in the format that `LAPSE_LOG_FORMAT` names (`text` or `json`). Starts sending traces, too, if the
/// standard variables name a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`). One that cannot be used is told of and stops nothing:
/// whoever takes rights away must not depend on it.
pub fn start_telemetry(program: &'static str, runtime: &Handle) -> Telemetry {
    let wanted = std::env::var("LAPSE_LOG").unwrap_or_else(|_| "info".to_owned());
    let (filter, wrong) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(wrong) => (EnvFilter::new("info"), Some(wrong)),
    };
    let json = std::env::var("LAPSE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let queue = Lines::to(std::io::stderr()).ok();
    let writer = match queue.clone() {
        Some(queue) => BoxMakeWriter::new(queue),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(false).boxed()
    };
    let no_spans = filter_fn(|metadata| metadata.target() != TRACES);
    let lines = lines.with_filter(filter.and(no_spans));

    let (traces, source, unusable) = match Traces::start(program, runtime) {
        Ok((traces, source)) => (traces, source, None),
        Err(unusable) => (Traces::default(), None, Some(unusable)),
    };
    let spans = source.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_level(false)
            .with_target(false)
            .with_filter(Targets::new().with_target(TRACES, LevelFilter::INFO))
    });
    tracing_subscriber::registry().with(spans).with(lines).init();
    // The standard library would write to standard error itself, and wait there for who does not read.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        error!(message, place, trace, "a panic: a mistake in the program");
    }));
    if let Some(error) = wrong {
        warn!(%error, filter = wanted, "LAPSE_LOG is not a filter; info is taken instead");
    }
    if let Some(error) = unusable {
        error!(%error, "no traces are sent");
    }
    Telemetry { traces, lines: queue }
}

/// What logs and traces.
#[derive(Debug)]
#[must_use = "the last spans and lines are written by `finish`"]
pub struct Telemetry {
    traces: Traces,
    lines: Option<Lines>,
}

impl Telemetry {
    /// Sends and writes what is left, for a bounded time. It blocks, and the runtime must still run.
    pub fn finish(self) {
        self.traces.finish();
        if let Some(lines) = self.lines {
            lines.flush(LAST_LINES);
        }
    }
}
