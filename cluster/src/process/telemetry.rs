//! Logs.

use tracing::warn;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: what `LAPSE_LOG` selects (the syntax of `tracing`'s `EnvFilter`,
/// `info` by default), in the format that `LAPSE_LOG_FORMAT` names (`text` or `json`).
pub fn start_logging() {
    let wanted = std::env::var("LAPSE_LOG").unwrap_or_else(|_| "info".to_owned());
    let (filter, wrong) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(wrong) => (EnvFilter::new("info"), Some(wrong)),
    };
    let json = std::env::var("LAPSE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        subscriber.json().flatten_event(true).init();
    } else {
        subscriber.with_ansi(false).init();
    }
    if let Some(error) = wrong {
        warn!(%error, filter = wanted, "LAPSE_LOG is not a filter; info is taken instead");
    }
}
