//! Counts who holds privileges that do not lapse, for a metric.
//!
//! The holder of the lease alone does this, every few minutes: it lists the cluster roles and all bindings, page by page,
//! and keeps of them the names of privileged roles and of who is bound to them. Nothing else waits for it.

use std::sync::Arc;
use std::time::Duration;

use lapse_cluster::{CALL_LIMIT, standing_subjects};
use tokio::time::Instant;
use tracing::warn;

use crate::config::StandingOptions;
use crate::context::Context;

/// How soon a new holder of the lease counts, and a former one no longer says what it has counted.
const LOOK: Duration = Duration::from_secs(10);

/// Counts again and again, until it is dropped.
pub(crate) async fn counting(context: Arc<Context>, options: StandingOptions) {
    let (client, leadership, metrics) = (context.client(), &context.leadership, &context.metrics);
    let Some(every) = options.every() else { return std::future::pending().await };
    let mut due = Instant::now();
    loop {
        if !leadership.is_held() {
            metrics.standing.forget();
            due = Instant::now();
        } else if Instant::now() >= due {
            match standing_subjects(&client, &options.privileged_roles, CALL_LIMIT).await {
                Ok(standing) => metrics.standing.set(&standing),
                Err(error) => warn!(%error, "who holds standing privileges is not known"),
            }
            due = Instant::now() + every;
        }
        tokio::time::sleep(LOOK).await;
    }
}
