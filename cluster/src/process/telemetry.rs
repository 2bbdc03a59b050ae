//! Logs.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: what `LAPSE_LOG` selects (the syntax of `tracing`'s `EnvFilter`,
/// `info` by default), in the format that `LAPSE_LOG_FORMAT` names (`text` or `json`).
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("LAPSE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("LAPSE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        subscriber.json().flatten_event(true).init();
    } else {
        subscriber.with_ansi(false).init();
    }
}
