//! Reconciles a grant: observe, decide, apply, report.

mod apply;
mod begin;
mod report;

use std::sync::Arc;

use chrono::TimeDelta;
use futures::FutureExt as _;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use lapse_cluster::Freshness;
use lapse_crds::{Grant, GrantPhase};
use lapse_engine::grant::{Observed, Obstacle, awaits_review, decide, has_ended};

pub(crate) use self::begin::{InHand, begin};
use crate::context::Context;
use crate::error::ReconcileError;
use crate::poison;
use crate::queue::{Outcome, Reconciliation};
use crate::watch::Guarded;

/// How soon a process that may not give looks again whether it may.
const STAND_BY: TimeDelta = TimeDelta::seconds(5);
/// How soon a warning that could not be given is tried again.
const TELL_AGAIN: TimeDelta = TimeDelta::seconds(1);
/// How many times a grant is looked at in one reconciliation: create, record, delete, verify, and one
/// to spare.
const ROUNDS: usize = 5;

pub(crate) fn reconcile(cached: Arc<Guarded<Grant>>, context: Arc<Context>) -> Reconciliation {
    async move {
        match &*cached {
            DeserializeGuard(Ok(grant)) if is_over(grant) => Ok(None),
            // Whoever writes it begins it, and queues it after.
            DeserializeGuard(Ok(grant)) if context.in_hand.holds(&grant.name_any()) => Ok(None),
            // Its bindings carry their own end: the sweep takes them.
            DeserializeGuard(Err(error)) => {
                poison::report::<Grant>(&context, error, "Active").await
            }
            DeserializeGuard(Ok(grant)) => converge(&context, grant, None).boxed().await,
        }
    }
    .boxed()
}

/// A grant that has ended, was not deleted and awaits no review: nothing will ever happen to it. (A
/// binding that comes back under its name is an orphan, and removed as one.)
fn is_over(grant: &Grant) -> bool {
    has_ended(grant)
        && grant.metadata.deletion_timestamp.is_none()
        && awaits_review(grant).is_none()
}

/// Looks, decides and acts until nothing is left to do. What was just seen saves the first look.
async fn converge(context: &Context, cached: &Grant, mut seen: Option<Box<Observed>>) -> Outcome {
    let mut obstacle: Option<Obstacle> = None;
    for _ in 0..ROUNDS {
        let mut observed = match seen.take() {
            Some(observed) => observed,
            None => match observe(context, cached, obstacle.take()).await? {
                Some(observed) => Box::new(observed),
                None => return Ok(None),
            },
        };
        let plan = decide(&observed, context.clock.now());
        if plan.gives() && !context.may_give() {
            // The lease and the clocks can change without an event; the end is due whoever holds it.
            let soon = context.clock.now() + STAND_BY;
            return Ok(Some(plan.wake_at.map_or(soon, |wake_at| wake_at.min(soon))));
        }
        if plan.actions.is_empty() {
            report::report(context, &observed.grant, plan.status).await?;
            let is_told = report::tell(context, &observed.grant, plan.warning).await;
            let retry = (!is_told).then(|| context.clock.now() + TELL_AGAIN);
            return Ok(plan.wake_at.into_iter().chain(retry).min());
        }
        let Err(failure) = apply::apply(context, &observed.grant, &plan.actions).await else {
            if plan.report_always {
                report::report(context, &observed.grant, plan.status).await?;
            }
            continue;
        };
        // What cannot be given will not be. What cannot be taken is tried again for ever, and said.
        if failure.is_lasting() && plan.gives() {
            obstacle = Some(Obstacle { message: failure.to_string(), lasting: true });
            continue;
        }
        // What will be tried again is said, so that whoever waits knows for what. No end is concluded from
        // what was seen before some of it was made.
        let status = if plan.gives() {
            observed.obstacle = Some(Obstacle { message: failure.to_string(), lasting: false });
            let status = decide(&observed, context.clock.now()).status;
            status.filter(|status| status.phase == GrantPhase::Pending)
        } else {
            plan.status
        };
        report::report(context, &observed.grant, status).await?;
        return Err(failure.into());
    }
    Err(ReconcileError::Unstable(ROUNDS))
}

async fn observe(
    context: &Context,
    cached: &Grant,
    obstacle: Option<Obstacle>,
) -> Result<Option<Observed>, ReconcileError> {
    // While it is being given, what was seen is new enough: the report that it is held brings the next
    // look, as of now, and a Deny that was missed ends it then.
    // What stopped the last try may be what was missed.
    let phase = cached.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let is_given = phase == GrantPhase::Pending && obstacle.is_none();
    let as_of = if is_given { Freshness::Seen } else { Freshness::Now };
    let observed = context.reader.observe_grant(cached, as_of, context.clock.now()).boxed().await?;
    Ok(observed.map(|observed| Observed { obstacle, ..observed }))
}
