//! Deletes what is over when the retention of its policy has passed.
//!
//! The holder of the lease alone does this, and while the clocks agree: what is deleted does not come
//! back. Each object goes only as it was judged, by its UID and version.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Preconditions, PropagationPolicy};
use kube::{Api, Resource, ResourceExt as _};
use lapse_cluster::index::PastRequest;
use lapse_cluster::process::caught_in;
use lapse_cluster::watch::FirstLists;
use lapse_cluster::{CallError, Stored, bounded, next_page};
use lapse_crds::{AccessDecision, AccessRequest, Grant};
use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::retention::{
    Observed, Record, Retentions, decide, is_about, is_orphan, kept_until,
};
use lapse_engine::summary::GrantSummary;
use serde::de::DeserializeOwned;
use tracing::{error, info, warn};

use crate::context::Context;
use crate::error::ReconcileError;
use crate::metrics::KindLabel;

/// The shortest and the longest pause between two rounds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many records a round deletes: whoever asks for a right meanwhile shares the API server with it.
const MOST: usize = 100;
/// How often decisions are looked for whose request was deleted by somebody. They are not cached.
const ORPHANS_EVERY: TimeDelta = TimeDelta::minutes(10);
/// How many decisions are listed at once.
const PAGE: u32 = 500;

/// As what a panic is counted.
pub(crate) const PANIC: &str = "retention";

/// Deletes what is due again and again, until it is dropped: of what is over as much as has been read.
pub(crate) async fn keeping(context: Arc<Context>, first_lists: FirstLists) {
    // A policy that is merely not known yet may ask for more.
    first_lists.all().await;
    let mut orphans_at = context.clock.now();
    let mut stuck = HashSet::new();
    loop {
        let next = if context.may_give() { round(&context, &mut stuck).await } else { None };
        // What is over and has not been read yet would each have to be looked for.
        let is_known = context.reader.index().knows_past();
        if is_known && context.may_give() && context.clock.now() >= orphans_at {
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

/// What may be due, by what the index keeps of it.
enum Candidate {
    Request(PastRequest),
    Grant(Arc<GrantSummary>),
}

/// Deletes what is due, the oldest first. What could not be deleted is left for later rounds, so that it does not
/// keep the rest from going. Returns when something is due next.
async fn round(context: &Context, stuck: &mut HashSet<String>) -> Option<DateTime<Utc>> {
    let index = context.reader.index();
    let Read::Found(retentions) = index.retentions() else { return None };
    let most = MOST + stuck.len();
    let requests = index.past_requests(most).into_iter().map(|past| {
        let kept = retentions.of_policy(past.policy_uid.as_deref())?;
        Some((past.since + kept, Candidate::Request(past)))
    });
    let grants = index.past_grants(most).into_iter().map(|grant| {
        let kept = retentions.of_policy(Some(&grant.policy_uid))?;
        let since = grant.ended_at.unwrap_or(grant.expires_at).time();
        Some((since + kept, Candidate::Grant(grant)))
    });
    let mut all: Vec<(DateTime<Utc>, Candidate)> = requests.chain(grants).flatten().collect();
    all.sort_by_key(|(at, _)| *at);
    let now = context.clock.now();
    let wake_at = all.iter().map(|(at, _)| *at).find(|at| *at > now);
    let due = all.into_iter().take_while(|(at, _)| *at <= now).map(|(_, candidate)| candidate);
    let mut left = HashSet::new();
    let mut done = 0;
    for candidate in due {
        if done >= MOST || !context.may_give() {
            break;
        }
        let key = candidate.key();
        // It is tried again once the others had their turn.
        if stuck.remove(&key) {
            left.insert(key);
            continue;
        }
        done += 1;
        // One over which that panics is left for later, too, and keeps no other.
        match caught_in(PANIC, remove(context, &candidate, &retentions).boxed()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                warn!(%error, "what is over could not be deleted");
                left.insert(key);
            }
            None => {
                error!(record = key, "deleting what is over panicked");
                left.insert(key);
            }
        }
    }
    *stuck = if done == 0 { HashSet::new() } else { left };
    wake_at
}

impl Candidate {
    fn key(&self) -> String {
        match self {
            Self::Request(past) => format!("{}/{}", past.namespace, past.name),
            Self::Grant(grant) => grant.name.to_string(),
        }
    }
}

/// Judges by what is stored now, and deletes what is due.
async fn remove(
    context: &Context,
    candidate: &Candidate,
    retentions: &Retentions,
) -> Result<(), ReconcileError> {
    let known = |read: Read<_>| match read {
        Read::Found(found) => Ok(Some(found)),
        Read::Missing => Ok(None),
        Read::Failed(why) => Err(ReconcileError::Unknown(why)),
    };
    let (namespace, name, uid) = match candidate {
        Candidate::Request(past) => (&past.namespace, &past.name, None),
        Candidate::Grant(grant) => {
            let of = &grant.request;
            (&of.namespace, &of.name, Some(&of.uid))
        }
    };
    let request = match context.reader.request(namespace, name).await {
        Read::Found(request) => Some(request.object),
        Read::Missing => None,
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let own =
        request.filter(|request| uid.is_none_or(|uid| request.metadata.uid.as_ref() == Some(uid)));
    let grant = match (&own, candidate) {
        (Some(request), _) => {
            let uid = request.uid().unwrap_or_default();
            known(context.reader.grant(&grant_name(namespace, name, &uid)).await)?
        }
        (None, Candidate::Grant(grant)) => known(context.reader.grant(&grant.name).await)?,
        (None, Candidate::Request(past)) => {
            context.reader.index().past_request_gone(past);
            return Ok(());
        }
    };
    let observed = Observed {
        requests: own.iter().map(Ok).collect(),
        grants: grant.iter().map(Ok).collect(),
        retentions: retentions.clone(),
    };
    for record in decide(&observed, context.clock.now()).due {
        match record {
            Record::Request(request, grant) => remove_request(context, request, grant).await?,
            Record::Grant(grant) => remove_grant(context, grant).await?,
        }
    }
    Ok(())
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
    delete(context, KindLabel::AccessRequest, &api, &request.metadata).await?;
    info!(%namespace, %name, "deleted a request that was over");
    Ok(())
}

async fn remove_grant(context: &Context, grant: &Grant) -> Result<(), ReconcileError> {
    let of = &grant.spec.request;
    remove_decisions(context, &of.namespace, &of.name, &of.uid).await?;
    delete_grant(context, grant).await?;
    info!(grant = %grant.name_any(), "deleted a grant that was over");
    Ok(())
}

async fn delete_grant(context: &Context, grant: &Grant) -> Result<(), CallError> {
    let api: Api<Grant> = Api::all(context.client());
    delete(context, KindLabel::Grant, &api, &grant.metadata).await
}

/// Deletes the decisions about a request that is over. One that is made meanwhile is found as an orphan.
async fn remove_decisions(
    context: &Context,
    namespace: &str,
    request: &str,
    uid: &str,
) -> Result<(), ReconcileError> {
    // The index keeps nothing of what was said about what is over.
    let stored: Api<Stored<AccessDecision>> = Api::namespaced(context.client(), namespace);
    let api: Api<AccessDecision> = Api::namespaced(context.client(), namespace);
    let about = format!("spec.request.name={request}");
    let mut params = ListParams::default().fields(&about).limit(PAGE);
    loop {
        let what = format!("listing the decisions about AccessRequest {namespace}/{request}");
        let page = bounded(what, stored.list(&params)).await?;
        let decisions = page.items.iter().filter_map(|stored| stored.object().ok());
        for decision in decisions.filter(|decision| is_about(decision, uid)) {
            delete(context, KindLabel::AccessDecision, &api, &decision.metadata).await?;
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(()),
        }
    }
}

/// Deletes decisions whose request is gone: somebody deleted it, or made one while it was going.
async fn orphans(context: &Context) -> Result<(), CallError> {
    let all: Api<Stored<AccessDecision>> = Api::all(context.client());
    let Read::Found(retentions) = context.reader.index().retentions() else { return Ok(()) };
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = bounded("listing the AccessDecisions", all.list(&params)).await?;
        for stored in &page.items {
            if !context.may_give() {
                return Ok(());
            }
            // One that cannot be decoded does not say what it is about: it goes with its namespace.
            let Ok(decision) = stored.object() else { continue };
            let is_due = kept_until(&decision, &retentions)
                .is_some_and(|until| context.clock.now() >= until);
            if is_due
                && !has_request(context, &decision)
                && let Err(error) = remove_orphan(context, &decision).await
            {
                warn!(%error, "a decision without a request could not be deleted");
            }
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(()),
        }
    }
}

/// Whether the request of a decision is there, which spares reading it.
fn has_request(context: &Context, decision: &AccessDecision) -> bool {
    let uid = decision.spec.request.uid.as_deref();
    uid.is_some_and(|uid| context.reader.index().has_request(uid))
}

async fn remove_orphan(context: &Context, decision: &AccessDecision) -> Result<(), CallError> {
    let namespace = decision.namespace().unwrap_or_default();
    let request = context.reader.request(&namespace, &decision.spec.request.name).await;
    let request = request.map(|attested| attested.object);
    let uid = decision.spec.request.uid.as_deref().unwrap_or_default();
    let grant = grant_name(&namespace, &decision.spec.request.name, uid);
    // One that cannot be read may await the review that the decision is.
    let grant = match context.reader.grant(&grant).await {
        Read::Found(grant) => Some(grant),
        Read::Missing => None,
        Read::Failed(_) => return Ok(()),
    };
    if is_orphan(decision, &request, grant.as_ref()) {
        let api: Api<AccessDecision> = Api::namespaced(context.client(), &namespace);
        delete(context, KindLabel::AccessDecision, &api, &decision.metadata).await?;
        info!(%namespace, name = %decision.name_any(), "deleted a decision without a request");
    }
    Ok(())
}

/// Deletes an object as it was read, and counts it. That it is gone already is no error.
async fn delete<K>(
    context: &Context,
    kind: KindLabel,
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
