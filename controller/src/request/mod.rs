//! Reconciles a request: observe, decide, apply, report.

mod apply;
mod report;

use chrono::TimeDelta;
use futures::FutureExt as _;
use lapse_cluster::Occasion;
use lapse_crds::{AccessRequest, Grant, RequestRef};
use lapse_engine::Read;
use lapse_engine::request::{Observed, Plan, decide};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::grant;
use crate::poison;
use crate::queue::{Done, Job, Outcome};

/// How soon a process that may not give looks again whether it may.
const STAND_BY: TimeDelta = TimeDelta::seconds(2);
/// How soon what came out otherwise than expected is looked at again.
const AGAIN: TimeDelta = TimeDelta::milliseconds(200);
/// How soon a right is looked at whose giving met a failure.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(1);

/// Brings a request to where it must be. Its requester's turn is taken, so that nothing else of the same person is
/// decided meanwhile.
pub(crate) async fn reconcile(
    context: &Context,
    namespace: &str,
    name: &str,
    job: &Job,
) -> Outcome {
    let Some(known) = context.reader.index().request_named(namespace, name) else {
        return Ok(Done::Until(None));
    };
    if known.is_settled {
        return Ok(Done::Until(None));
    }
    let summary = match &known.summary {
        Ok(summary) => summary,
        Err(why) => {
            let namespace = Some(namespace);
            return poison::report::<AccessRequest>(context, namespace, name, why, "Evaluated")
                .await;
        }
    };
    // What a request says and gets is written by the holder of the lease alone, and while the clocks
    // agree. Either can change without an event.
    if !context.may_give() {
        return Ok(Done::Until(Some(context.clock.now() + STAND_BY)));
    }
    let of = RequestRef {
        namespace: known.namespace.clone(),
        name: known.name.clone(),
        uid: known.uid.clone(),
    };
    let decides = summary.policy.as_deref();
    let Some((observed, plan)) = look(context, &of, decides, !summary.was_reported).await? else {
        // What is gone takes no place among what a person asks for.
        context.reader.index().request_gone(&of.uid);
        return Ok(Done::Until(None));
    };
    // What others are given meanwhile may keep the requester, or an approver, from taking part.
    if !job.has_common_turn && needs_common_turn(&observed, &plan) {
        return Ok(Done::InCommonTurn);
    }
    carry_out(context, observed, plan).boxed().await
}

/// Observes and decides. What has its right follows that. A right is given only by a policy that was read as it is now: if another decides than was
/// thought, it is looked at once more with that.
async fn look(
    context: &Context,
    of: &RequestRef,
    decides: Option<&str>,
    is_first: bool,
) -> Result<Option<(Observed, Plan)>, ReconcileError> {
    if let Some(observed) = context.reader.observe_following(of).boxed().await? {
        let plan = decide(&observed, context.clock.now());
        return Ok(Some((observed, plan)));
    }
    let observe = async |decides: Option<&str>, occasion: Occasion| {
        context.reader.observe_request(of, decides, occasion).boxed().await
    };
    // What is self-service is given at the first look.
    let first = Occasion::Give { unasked: is_first };
    let Some(mut observed) = observe(decides, first).await? else { return Ok(None) };
    let mut plan = decide(&observed, context.clock.now());
    let mut is_as_of_now = false;
    if plan.refuses() {
        // A refusal is final, so it is not for want of what is not seen yet.
        let Some(again) = observe(decides, Occasion::Refuse).await? else { return Ok(None) };
        plan = decide(&again, context.clock.now());
        observed = again;
        is_as_of_now = true;
    }
    let Some(grant) = &plan.create else { return Ok(Some((observed, plan))) };
    let gives = grant.spec.policy.name.clone();
    let unasked = grant.spec.approved_by.is_empty();
    let named = observed.request.object.spec.policy.as_deref().or(decides);
    if named == Some(&gives) && (is_first || !unasked) {
        return Ok(Some((observed, plan)));
    }
    let occasion = if is_as_of_now { Occasion::Refuse } else { Occasion::Give { unasked } };
    let Some(observed) = observe(Some(&gives), occasion).await? else { return Ok(None) };
    let plan = decide(&observed, context.clock.now());
    if !plan.refuses() || is_as_of_now {
        return Ok(Some((observed, plan)));
    }
    let Some(observed) = observe(Some(&gives), Occasion::Refuse).await? else { return Ok(None) };
    let plan = decide(&observed, context.clock.now());
    // What would be given after all comes with the next look.
    let plan = if plan.create.is_some() { Plan::again(context.clock.now() + AGAIN) } else { plan };
    Ok(Some((observed, plan)))
}

/// Whether a right is to be given under a policy that is kept apart from others.
fn needs_common_turn(observed: &Observed, plan: &Plan) -> bool {
    let by = plan.create.as_ref().map(|grant| &grant.spec.policy.name);
    let policies = observed.policies.found();
    by.zip(policies).is_some_and(|(by, policies)| !policies.apart_from(by).is_empty())
}

async fn carry_out(context: &Context, mut observed: Observed, plan: Plan) -> Outcome {
    let Some(grant) = &plan.create else {
        report::report(context, &observed.request, plan.status, plan.notice).await?;
        return Ok(Done::Until(plan.wake_at));
    };
    let name = grant.metadata.name.clone().unwrap_or_default();
    let in_hand = context.touched.in_hand.take(&name);
    match apply::create(context, grant).await {
        Ok(Some(created)) => {
            let begun = grant::begin(context, created, &observed).await;
            drop(in_hand);
            match begun {
                Some(written) => follow(context, observed, written).await,
                // What became of it may be told by nothing else: the answer to a write can be lost.
                None => Ok(Done::Until(Some(context.clock.now() + AFTER_FAILURE))),
            }
        }
        // One that exists already is looked at next time.
        Ok(None) => {
            drop(in_hand);
            context.touched.grant(&name);
            Ok(Done::Until(Some(context.clock.now() + AGAIN)))
        }
        Err(error) => {
            observed.obstacle = Some(error.to_string());
            let plan = decide(&observed, context.clock.now());
            report::report(context, &observed.request, plan.status, plan.notice).await?;
            Err(error.into())
        }
    }
}

/// Says what became of the right that was just given.
async fn follow(context: &Context, mut observed: Observed, grant: Grant) -> Outcome {
    observed.grant = Read::Found(grant);
    let plan = decide(&observed, context.clock.now());
    report::report(context, &observed.request, plan.status, plan.notice).await?;
    Ok(Done::Until(plan.wake_at))
}
