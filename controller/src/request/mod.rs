//! Reconciles a request: observe, decide, apply, report.

mod apply;
mod report;

use chrono::TimeDelta;
use futures::FutureExt as _;
use lapse_cluster::{ObserveError, Occasion};
use lapse_crds::{AccessRequest, Grant, RequestRef};
use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::request::{Observed, Plan, decide};

use crate::context::{Context, STAND_BY};
use crate::error::ReconcileError;
use crate::grant;
use crate::in_hand::InHandGuard;
use crate::poison;
use crate::queue::{Done, Job, Reconciled};

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
) -> Reconciled {
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
    if known.requester() != job.requester() {
        // Another request has this name by now, and another's turn was taken.
        context.touched.request(&known);
        return Ok(Done::Until(None));
    }
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
    let grant = grant_name(&of.namespace, &of.name, &of.uid);
    // What happens from here on bears on the right that may be given, and is looked at once it is.
    let is_given = context.reader.index().grant(&grant).is_some();
    let in_hand = (!is_given).then(|| context.touched.in_hand.take(&grant));
    let decides = summary.policy.as_deref();
    let (observed, plan) = match Box::pin(look(context, &of, decides, !summary.was_reported)).await
    {
        Ok(Some(found)) => found,
        // What is gone takes no place among what a person asks for.
        Ok(None) => {
            context.reader.index().request_gone(&of.uid);
            return Ok(Done::Until(None));
        }
        Err(ReconcileError::Unobserved(ObserveError::MadeAnew(_))) => {
            context.reader.index().request_gone(&of.uid);
            context.touched.request_named(namespace, name);
            return Ok(Done::Until(None));
        }
        Err(error) => return Err(error),
    };
    // What others are given meanwhile may keep the requester, or an approver, from taking part.
    if !job.has_common_turn && needs_common_turn(&observed, &plan) {
        return Ok(Done::InCommonTurn);
    }
    carry_out(context, observed, plan, in_hand).boxed().await
}

/// How often at most a request is looked at in one go: as seen, by the policy that gives, and as of now.
const LOOKS: usize = 4;

/// Observes and decides. What has its right follows that. A right is given only by a policy that was read as it is
/// now: if another decides than was thought, it is looked at once more with that. A refusal is final, so it is not for
/// want of what is not seen yet.
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
    let mut decides = decides.map(ToOwned::to_owned);
    // What is self-service is given at the first look.
    let mut occasion = Occasion::Give { unasked: is_first };
    for _ in 0..LOOKS {
        let observed = context.reader.observe_request(of, decides.as_deref(), occasion).boxed();
        let Some(observed) = observed.await? else { return Ok(None) };
        let plan = decide(&observed, context.clock.now());
        let is_as_of_now = occasion == Occasion::Refuse;
        if let Some(grant) = &plan.create {
            let gives = &grant.spec.policy.name;
            let unasked = grant.spec.approved_by.is_empty();
            let named = observed.request.object.spec.policy.as_deref().or(decides.as_deref());
            let is_new_enough = is_as_of_now || occasion == Occasion::Give { unasked: true };
            if named == Some(gives) && (is_new_enough || !unasked) {
                return Ok(Some((observed, plan)));
            }
            decides = Some(gives.clone());
            occasion = if is_as_of_now { occasion } else { Occasion::Give { unasked } };
        } else if plan.refuses() && !is_as_of_now {
            occasion = Occasion::Refuse;
        } else {
            return Ok(Some(or_follow(context, of, observed, plan).await));
        }
    }
    Err(ReconcileError::Unstable(LOOKS))
}

/// What is final is not said for want of a Grant that is not seen yet: another controller may have written it a moment
/// ago, and what became of that is what is to be said.
async fn or_follow(
    context: &Context,
    of: &RequestRef,
    mut observed: Observed,
    plan: Plan,
) -> (Observed, Plan) {
    let is_final = plan.status.as_ref().is_some_and(|status| status.phase.is_terminal());
    if !is_final || !observed.grant.is_missing() {
        return (observed, plan);
    }
    observed.grant = context.reader.grant(&grant_name(&of.namespace, &of.name, &of.uid)).await;
    let plan = decide(&observed, context.clock.now());
    (observed, plan)
}

/// Whether a right is to be given under a policy that is kept apart from others.
fn needs_common_turn(observed: &Observed, plan: &Plan) -> bool {
    let by = plan.create.as_ref().map(|grant| &grant.spec.policy.name);
    let policies = observed.policies.found();
    by.zip(policies).is_some_and(|(by, policies)| !policies.apart_from(by).is_empty())
}

async fn carry_out(
    context: &Context,
    mut observed: Observed,
    plan: Plan,
    in_hand: Option<InHandGuard>,
) -> Reconciled {
    let Some(grant) = &plan.create else {
        report::report(context, &observed.request, plan.status, plan.notice).await?;
        return Ok(Done::Until(plan.wake_at));
    };
    // The looks took their time.
    if !context.may_give() {
        return Ok(Done::Until(Some(context.clock.now() + STAND_BY)));
    }
    let name = grant.metadata.name.clone().unwrap_or_default();
    match apply::create(context, grant).await {
        Ok(Some(created)) => {
            let begun = grant::begin(context, created, &observed).await;
            drop(in_hand);
            match begun {
                Some(written) => Box::pin(follow(context, observed, written)).await,
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
            // It may have been stored nevertheless, and its event have come.
            context.touched.grant(&name);
            observed.obstacle = Some(error.to_string());
            let plan = decide(&observed, context.clock.now());
            report::report(context, &observed.request, plan.status, plan.notice).await?;
            Err(error.into())
        }
    }
}

/// Says what became of the right that was just given.
async fn follow(context: &Context, mut observed: Observed, grant: Grant) -> Reconciled {
    observed.grant = Read::Found(grant);
    let plan = decide(&observed, context.clock.now());
    report::report(context, &observed.request, plan.status, plan.notice).await?;
    Ok(Done::Until(plan.wake_at))
}
