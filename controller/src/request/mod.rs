//! Reconciles a request: observe, decide, apply, report.

mod apply;
mod report;
mod turns;

use std::sync::Arc;

use chrono::TimeDelta;
use futures::FutureExt as _;
use kube::core::DeserializeGuard;
use lapse_cluster::{Freshness, RequestAsOf};
use lapse_crds::AccessRequest;
use lapse_engine::duties::kept_apart;
use lapse_engine::request::{Observed, Plan, decide, is_settled};

pub(crate) use self::turns::Turns;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::grant;
use crate::poison;
use crate::queue::{Outcome, Reconciliation};
use crate::watch::Guarded;

pub(crate) fn reconcile(
    cached: Arc<Guarded<AccessRequest>>,
    context: Arc<Context>,
) -> Reconciliation {
    async move {
        match &*cached {
            DeserializeGuard(Ok(request)) if is_settled(request) => Ok(None),
            DeserializeGuard(Ok(request)) => converge(&context, request).boxed().await,
            DeserializeGuard(Err(error)) => {
                poison::report::<AccessRequest>(&context, error, "Evaluated").await
            }
        }
    }
    .boxed()
}

/// How soon a process that may not give looks again whether it may.
const STAND_BY: TimeDelta = TimeDelta::seconds(5);

async fn converge(context: &Context, cached: &AccessRequest) -> Outcome {
    // What a request says and gets is written by the holder of the lease alone, and while the clocks
    // agree. Either can change without an event.
    if !context.may_give() {
        return Ok(Some(context.clock.now() + STAND_BY));
    }
    let requester = cached.spec.requester.as_ref().map(|who| who.username.as_str());
    let _turn = context.turns.of(requester.unwrap_or_default()).await;
    let Some((observed, plan)) = look(context, cached, Freshness::Seen).await? else {
        return Ok(None);
    };
    if !needs_common_turn(&observed, &plan) {
        return carry_out(context, observed, plan).boxed().await;
    }
    // What others are given meanwhile may keep the requester, or an approver, from taking part.
    let _common = context.turns.of_what_is_kept_apart().await;
    match look(context, cached, Freshness::Now).await? {
        Some((observed, plan)) => carry_out(context, observed, plan).boxed().await,
        None => Ok(None),
    }
}

async fn look(
    context: &Context,
    cached: &AccessRequest,
    engaging_as_of: Freshness,
) -> Result<Option<(Observed, Plan)>, ReconcileError> {
    let as_of = as_of(cached, engaging_as_of);
    let Some(observed) = context.reader.observe_request(cached, as_of).boxed().await? else {
        return Ok(None);
    };
    let plan = decide(&observed, context.clock.now());
    Ok(Some((observed, plan)))
}

/// How new the lists must be that a look at a request reads.
fn as_of(cached: &AccessRequest, engaging: Freshness) -> RequestAsOf {
    // What is self-service is given at the first look. A decision that is not seen yet brings an event; before
    // the right is held, it is looked for.
    let is_unasked = cached.status.is_none();
    RequestAsOf { engaging, ..RequestAsOf::to_give(cached, is_unasked, Freshness::Seen) }
}

/// Whether a right is to be given under a policy that is kept apart from others.
fn needs_common_turn(observed: &Observed, plan: &Plan) -> bool {
    let by = plan.create.as_ref().map(|grant| &grant.spec.policy.name);
    let policies = observed.policies.found();
    by.zip(policies).is_some_and(|(by, policies)| !kept_apart(policies, by).is_empty())
}

async fn carry_out(context: &Context, mut observed: Observed, plan: Plan) -> Outcome {
    let Some(grant) = &plan.create else {
        report::report(context, &observed.request.object, plan.status, plan.notice).await?;
        return Ok(plan.wake_at);
    };
    let name = grant.metadata.name.clone().unwrap_or_default();
    let in_hand = context.in_hand.take(context, &name);
    match apply::create(context, grant).await {
        Ok(created) => {
            if let Some(created) = created {
                grant::begin(context, created, &observed).await;
            }
            drop(in_hand);
            Ok(plan.wake_at)
        }
        Err(error) => {
            observed.obstacle = Some(error.to_string());
            let plan = decide(&observed, context.clock.now());
            report::report(context, &observed.request.object, plan.status, plan.notice).await?;
            Err(error.into())
        }
    }
}
