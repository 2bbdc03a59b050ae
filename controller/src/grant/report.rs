//! Writes the status of a grant, and counts what became of it.

use kube::Api;
use lapse_cluster::{CallError, replace_status};
use lapse_crds::{Grant, GrantPhase, GrantStatus};
use tracing::info;

use crate::context::Context;
use crate::metrics::Reason;

/// Writes the status, if there is anything new. It fails when somebody else wrote in between.
pub(super) async fn report(
    context: &Context,
    grant: &Grant,
    status: Option<GrantStatus>,
) -> Result<(), CallError> {
    let Some(status) = status else { return Ok(()) };
    let was = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let api: Api<Grant> = Api::all(context.client());
    let name = grant.metadata.name.clone().unwrap_or_default();
    let updated = Grant { status: Some(status.clone()), ..grant.clone() };
    replace_status(&api, &updated).await?;
    if was != status.phase {
        info!(grant = %name, phase = %status.phase, reason = ?status.end_reason, "grant");
        count(context, grant, &status);
    }
    Ok(())
}

fn count(context: &Context, grant: &Grant, status: &GrantStatus) {
    let seconds = |span: chrono::TimeDelta| span.as_seconds_f64().max(0.0);
    let now = context.clock.now();
    match status.phase {
        GrantPhase::Active => {
            context.metrics.granted.inc();
            let took = now - grant.spec.starts_at.time();
            context.metrics.time_to_grant.observe(seconds(took));
        }
        GrantPhase::Ended => {
            let reason = status.end_reason.map_or_else(|| "NotGiven".to_owned(), |r| r.to_string());
            context.metrics.ended.get_or_create(&Reason { reason }).inc();
            let late = now - grant.spec.expires_at.time();
            if late > chrono::TimeDelta::zero() {
                context.metrics.lateness.observe(seconds(late));
            }
        }
        GrantPhase::Pending | GrantPhase::Ending => {}
    }
}
