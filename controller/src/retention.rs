//! Deletes what is over when the retention of its policy has passed.
//!
//! The holder of the lease alone does this, and while the clocks agree: what is deleted does not come
//! back. Each object goes only as it was judged, by its UID and version.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Preconditions, PropagationPolicy};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt as _};
use lapse_cluster::{CallError, Freshness, Stored, bounded};
use lapse_crds::{AccessDecision, AccessRequest, Grant};
use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::retention::{
    Listed, Observed, Record, Retentions, decide, is_about, is_orphan, kept_until,
};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::metrics::Kind;
use crate::watch::{Caches, FirstLists, Guarded};

/// The shortest and the longest pause between two rounds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many records a round deletes: whoever asks for a right meanwhile shares the API server with it.
const MOST: usize = 100;
/// How often decisions are looked for whose request was deleted by somebody. They are not cached.
const ORPHANS_EVERY: TimeDelta = TimeDelta::minutes(10);
/// How many decisions are listed at once.
const PAGE: u32 = 500;

/// Deletes what is due again and again, until it is dropped.
pub(crate) async fn keeping(context: Arc<Context>, first_lists: FirstLists) {
    // A policy that is merely not known yet may ask for more.
    first_lists.all().await;
    let mut failures = 0;
    let mut orphans_at = context.clock.now();
    loop {
        let next = if context.may_give() { round(&context, &mut failures).await } else { None };
        if context.may_give() && context.clock.now() >= orphans_at {
            if let Err(error) = orphans(&context).await {
                warn!(%error, "decisions without a request will be looked for again");
            }
            orphans_at = context.clock.now() + ORPHANS_EVERY;
        }
        let until = next.and_then(|at| (at - context.clock.now()).to_std().ok());
        let pause = until.unwrap_or(LONGEST_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
    }
}

fn listed<K>(object: &Guarded<K>) -> Listed<'_, K> {
    object.0.as_ref().map_err(|invalid| &invalid.metadata)
}

fn retentions(caches: &Caches) -> Retentions {
    Retentions::of(caches.policies.state().iter().map(|policy| listed(policy)))
}

/// Deletes what is due, the oldest first. Each failure so far moves the start by one, so that what cannot
/// be deleted does not keep the rest from going. Returns when something is due next.
async fn round(context: &Context, failures: &mut usize) -> Option<DateTime<Utc>> {
    let (requests, grants) = (context.caches.requests.state(), context.caches.grants.state());
    let observed = Observed {
        requests: requests.iter().map(|request| listed(request)).collect(),
        grants: grants.iter().map(|grant| listed(grant)).collect(),
        retentions: retentions(&context.caches),
    };
    let mut plan = decide(&observed, context.clock.now());
    let start = failures.checked_rem(plan.due.len()).unwrap_or(0);
    plan.due.rotate_left(start);
    for record in plan.due.iter().take(MOST) {
        if !context.may_give() {
            break;
        }
        let removed = match record {
            Record::Request(request, grant) => remove_request(context, request, *grant).await,
            Record::Grant(grant) => remove_grant(context, grant).await,
        };
        if let Err(error) = removed {
            *failures += 1;
            warn!(%error, "what is over could not be deleted");
        }
    }
    plan.wake_at
}

async fn remove_request(
    context: &Context,
    request: &AccessRequest,
    grant: Option<&Grant>,
) -> Result<(), ReconcileError> {
    let namespace = request.namespace().unwrap_or_default();
    let (name, uid) = (request.name_any(), request.uid().unwrap_or_default());
    remove_decisions(context, &namespace, &name, &uid).await?;
    if let Some(grant) = grant.filter(|grant| grant.metadata.deletion_timestamp.is_none()) {
        delete_grant(context, grant).await?;
    }
    let api: Api<AccessRequest> = Api::namespaced(context.client(), &namespace);
    delete(context, Kind::AccessRequest, &api, &request.metadata).await?;
    info!(%namespace, %name, "deleted a request that was over");
    Ok(())
}

async fn remove_grant(context: &Context, grant: &Grant) -> Result<(), ReconcileError> {
    let of = &grant.spec.request;
    // The list of requests may be older than that of the Grants.
    match context.reader.request(&of.namespace, &of.name).await {
        Read::Found(request) if request.object.metadata.uid.as_ref() == Some(&of.uid) => {
            return Ok(());
        }
        Read::Found(_) | Read::Missing => {}
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    }
    remove_decisions(context, &of.namespace, &of.name, &of.uid).await?;
    delete_grant(context, grant).await?;
    info!(grant = %grant.name_any(), "deleted a grant that was over");
    Ok(())
}

async fn delete_grant(context: &Context, grant: &Grant) -> Result<(), CallError> {
    let api: Api<Grant> = Api::all(context.client());
    delete(context, Kind::Grant, &api, &grant.metadata).await
}

/// Deletes the decisions about a request that is over. One that is made meanwhile is found as an orphan.
async fn remove_decisions(
    context: &Context,
    namespace: &str,
    request: &str,
    uid: &str,
) -> Result<(), ReconcileError> {
    let decisions = match context.reader.decisions(namespace, request, Freshness::Seen).await {
        Read::Found(decisions) => decisions,
        Read::Missing => return Ok(()),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let api: Api<AccessDecision> = Api::namespaced(context.client(), namespace);
    for decision in decisions.iter().filter(|decision| is_about(&decision.object, uid)) {
        delete(context, Kind::AccessDecision, &api, &decision.object.metadata).await?;
    }
    Ok(())
}

/// Deletes decisions whose request is gone: somebody deleted it, or made one while it was going.
async fn orphans(context: &Context) -> Result<(), CallError> {
    let all: Api<Stored<AccessDecision>> = Api::all(context.client());
    let retentions = retentions(&context.caches);
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = bounded("listing the AccessDecisions", all.list(&params)).await?;
        for stored in &page.items {
            if !context.may_give() {
                return Ok(());
            }
            // One that cannot be decoded does not say what it is about: it goes with its namespace.
            let Ok(decision) = stored.object() else { continue };
            let is_due =
                kept_until(decision, &retentions).is_some_and(|until| context.clock.now() >= until);
            if is_due
                && !has_cached_request(context, decision)
                && let Err(error) = remove_orphan(context, decision).await
            {
                warn!(%error, "a decision without a request could not be deleted");
            }
        }
        let Some(more) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            return Ok(());
        };
        params = params.continue_token(&more);
    }
}

/// Whether the request of a decision is known, which spares reading it.
fn has_cached_request(context: &Context, decision: &AccessDecision) -> bool {
    let namespace = decision.namespace().unwrap_or_default();
    let about = ObjectRef::new(&decision.spec.request.name).within(&namespace);
    let request = context.caches.requests.get(&about);
    request.is_some_and(|request| is_about(decision, &request.uid().unwrap_or_default()))
}

/// The Grant of the request that a decision is about.
fn cached_grant(context: &Context, decision: &AccessDecision) -> Option<Arc<Guarded<Grant>>> {
    let namespace = decision.namespace().unwrap_or_default();
    let AccessDecision { spec, .. } = decision;
    let name = grant_name(&namespace, &spec.request.name, spec.request.uid.as_ref()?);
    context.caches.grants.get(&ObjectRef::new(&name))
}

async fn remove_orphan(context: &Context, decision: &AccessDecision) -> Result<(), CallError> {
    let namespace = decision.namespace().unwrap_or_default();
    let request = context.reader.request(&namespace, &decision.spec.request.name).await;
    let request = request.map(|attested| attested.object);
    let grant = cached_grant(context, decision);
    // One that cannot be decoded may await the review that the decision is.
    let grant = match grant.as_deref() {
        Some(DeserializeGuard(Ok(grant))) => Some(grant),
        Some(DeserializeGuard(Err(_))) => return Ok(()),
        None => None,
    };
    if is_orphan(decision, &request, grant) {
        let api: Api<AccessDecision> = Api::namespaced(context.client(), &namespace);
        delete(context, Kind::AccessDecision, &api, &decision.metadata).await?;
        info!(%namespace, name = %decision.name_any(), "deleted a decision without a request");
    }
    Ok(())
}

/// Deletes an object as it was read, and counts it. That it is gone already is no error.
async fn delete<K>(
    context: &Context,
    kind: Kind,
    api: &Api<K>,
    metadata: &ObjectMeta,
) -> Result<(), CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = metadata.name.as_deref().unwrap_or_default();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match bounded(format!("deleting {} {name}", K::kind(&())), api.delete(name, &params)).await {
        Ok(_) => {
            context.metrics.record_deleted(kind);
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
