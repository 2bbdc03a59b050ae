//! Writes the status of a grant, counts what became of it, and gives warnings: before the end, and when
//! a review is overdue.

use chrono::TimeDelta;
use kube::Api;
use lapse_cluster::{CallError, replace_status};
use lapse_crds::{Grant, GrantPhase, GrantStatus, Target};
use lapse_engine::grant::Warning;
use tracing::info;

use crate::context::Context;
use crate::echoes::Object;
use crate::notify::about;

/// Writes the status, if there is anything new; returns what was written. It fails when somebody else wrote in
/// between.
pub(super) async fn report(
    context: &Context,
    grant: &Grant,
    status: Option<GrantStatus>,
) -> Result<Option<Grant>, CallError> {
    let Some(status) = status else { return Ok(None) };
    let was = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let api: Api<Grant> = Api::all(context.client());
    let name = grant.metadata.name.clone().unwrap_or_default();
    let updated = Grant { status: Some(status.clone()), ..grant.clone() };
    let writing = context.touched.echoes.begin(Object::grant(&grant.metadata));
    let written = replace_status(&api, &updated).await?;
    context.touched.wrote_grant(writing, &written);
    if was != status.phase {
        info!(grant = %name, phase = %status.phase, reason = status.end_reason.map(tracing::field::display), "grant");
        count(context, grant, &status);
    }
    Ok(Some(written))
}

/// Tells what there is to tell of a right. The event stands on the request, where people look.
///
/// Every replica does this, with the lease or without: the name of the event sees to it that it is told
/// once, and a warning that waits for the next holder of the lease may come after the end.
pub(super) fn tell(context: &Context, grant: &Grant, warning: Option<Warning>) {
    let Some(Warning { event, notice }) = warning else { return };
    context.notifier.tell_once(&event, about(&grant.spec.request), &notice, context.clock.now());
}

fn count(context: &Context, grant: &Grant, status: &GrantStatus) {
    let seconds = |span: TimeDelta| span.as_seconds_f64().max(0.0);
    let now = context.clock.now();
    match status.phase {
        GrantPhase::Active => {
            context.metrics.granted.inc();
            context.metrics.emergencies.inc_by(u64::from(grant.spec.emergency));
            let took = now - grant.spec.starts_at.time();
            context.metrics.time_to_grant.observe(seconds(took));
        }
        GrantPhase::Ended => {
            context.metrics.ended(status.end_reason);
            let late = now - grant.spec.expires_at.time();
            if is_late(&grant.spec.target, late) {
                context.metrics.lateness.observe(seconds(late));
            }
        }
        GrantPhase::Pending | GrantPhase::Ending => {}
    }
}

/// Whether a right was verified to be gone after its time. On a host it goes at its time, and that is told when the host is
/// heard of: one that was off for the night is no late revocation.
fn is_late(target: &Target, late: TimeDelta) -> bool {
    target.endpoint.is_none() && late > TimeDelta::zero()
}

#[cfg(test)]
mod tests {
    use lapse_crds::EndpointTarget;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_time(false, -1, false)]
    #[case::late(false, 9, true)]
    #[case::told_when_the_host_was_back(true, 9, false)]
    fn late_is_what_was_held_for_longer(
        #[case] on_host: bool,
        #[case] seconds: i64,
        #[case] expected: bool,
    ) {
        let endpoint = on_host.then(EndpointTarget::default);
        let target = Target { kubernetes: None, endpoint };
        assert_eq!(is_late(&target, TimeDelta::seconds(seconds)), expected);
    }
}
