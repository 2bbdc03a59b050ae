//! The request to stop.

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Completes at SIGTERM, which Kubernetes sends, or SIGINT, which a terminal does.
pub async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping");
    Ok(())
}
