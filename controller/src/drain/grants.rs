//! Ends Grants, and lets them go.

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::api::ListParams;
use kube::{Api, Resource as _, ResourceExt as _};
use lapse_cluster::clock::Clock;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::{CallError, Occasion, Reader, Stored, bounded, next_page, replace_status};
use lapse_crds::{AccessRequest, GRANT_FINALIZER, Grant};
use lapse_engine::grant::{Action, Plan, drain};
use lapse_engine::lifetime::{awaits_review, has_ended};
use lapse_engine::request;
use lapse_engine::summary::GrantSummary;
use tracing::info;

use super::Round;
use crate::elevate::{kubernetes, started};
use crate::error::ReconcileError;
use crate::grant::remove_finalizer;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How many Grants are looked at at once.
const AT_ONCE: usize = 8;
/// How many times a Grant is looked at in a round: to say that it ends, to take it back, to verify, to let it go, and
/// two to spare.
const LOOKS: usize = 6;

/// Ends every Grant that has not ended. One that cannot be decoded is left to its objects' own marks.
pub(super) async fn end(reader: &Reader, clock: &Clock, round: &mut Round) {
    let mut params = ListParams::default().fields("status.phase!=Ended").limit(PAGE);
    let api: Api<Stored<Grant>> = Api::all(reader.client().clone());
    loop {
        let page = match bounded("listing the live Grants", api.list(&params)).await {
            Ok(page) => page,
            Err(error) => return round.left.push(error.to_string()),
        };
        let grants = page.items.iter().filter_map(|stored| stored.object().ok());
        let ends = grants.map(|grant| end_one(reader, clock, grant).boxed());
        let outcomes: Vec<_> = stream::iter(ends).buffer_unordered(AT_ONCE).collect().await;
        for outcome in outcomes {
            match outcome {
                Ok(()) => round.ended += 1,
                Err(why) => round.left.push(why),
            }
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return,
        }
    }
}

async fn end_one(reader: &Reader, clock: &Clock, grant: Grant) -> Result<(), String> {
    let name = grant.name_any();
    // What bears on whether the right goes on need not be read: it does not.
    let mut known = GrantSummary { is_deleted: true, ..GrantSummary::of(&grant) };
    let mut last = String::from("it has not ended, or its request does not say so");
    for _ in 0..LOOKS {
        match Box::pin(look(reader, clock, &known)).await {
            Ok(None) => return Ok(()),
            Ok(Some(seen)) => known = GrantSummary { is_deleted: true, ..GrantSummary::of(&seen) },
            // A controller takes it back, too.
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("Grant {name}: {last}"))
}

/// Looks at a Grant once, and does what is to be done. Returns what it saw, unless that was the last.
async fn look(
    reader: &Reader,
    clock: &Clock,
    known: &GrantSummary,
) -> Result<Option<Grant>, ReconcileError> {
    let client = reader.client();
    let observed = reader.observe_grant(known, Occasion::Follow, clock.now()).boxed().await?;
    let Some(observed) = observed else { return Ok(None) };
    let grant = &observed.grant;
    let Plan { actions, status, .. } = drain(&observed, clock.now());
    // Why it ends is said first: a controller that sees a binding go would say that somebody deleted it.
    if let Some(status) = status {
        let (phase, reason) = (status.phase, status.end_reason);
        let api: Api<Grant> = Api::all(client.clone());
        replace_status(&api, &Grant { status: Some(status), ..grant.clone() }).await?;
        if observed.grant.status.as_ref().is_none_or(|was| was.phase != phase) {
            info!(grant = %known.name, %phase, reason = reason.map(tracing::field::display), "grant");
        }
    }
    if has_ended(grant) {
        tell_request(reader, clock, grant).await?;
    }
    let is_done = actions.is_empty() && has_ended(grant) && !goes(grant);
    for action in actions {
        match action {
            Action::Delete { object, uid } => {
                kubernetes::delete(client, &ObjectPlace::of(&object), &uid).await?;
                info!(object = %object.describe(), gave = object.gives(), "revoked an object");
            }
            Action::Stop { started: workload, grace_seconds } => {
                started::stop(client, &workload, grace_seconds).await?;
            }
            Action::RemoveFinalizer => remove_finalizer(client, &grant.metadata).await?,
            // The engine has nothing made here.
            Action::Create(_) => {}
        }
    }
    Ok((!is_done).then_some(observed.grant))
}

/// Whether a Grant that is over is to go, and is kept by Lapse's finalizer alone.
fn goes(grant: &Grant) -> bool {
    grant.metadata.deletion_timestamp.is_some()
        && grant.finalizers().iter().any(|finalizer| finalizer == GRANT_FINALIZER)
        && awaits_review(grant).is_none()
}

/// Has the request say what became of its right: nobody else will.
async fn tell_request(reader: &Reader, clock: &Clock, grant: &Grant) -> Result<(), ReconcileError> {
    // A request is looked up by what is known of its Grant.
    drop(reader.index().wrote_grant(grant));
    let of = &grant.spec.request;
    let Some(observed) = reader.observe_outcome(of).boxed().await? else { return Ok(()) };
    let plan = request::decide(&observed, clock.now());
    let Some(status) = plan.status else { return Ok(()) };
    let api: Api<AccessRequest> = Api::namespaced(reader.client().clone(), &of.namespace);
    let updated = AccessRequest { status: Some(status), ..observed.request.object };
    match replace_status(&api, &updated).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Lets every Grant go that has ended: nobody would take the finalizer off any more.
pub(super) async fn let_go(reader: &Reader, clock: &Clock, round: &mut Round) {
    let api: Api<Stored<Grant>> = Api::all(reader.client().clone());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = match bounded("listing the Grants", api.list(&params)).await {
            Ok(page) => page,
            Err(error) => return round.left.push(error.to_string()),
        };
        let (mut held, mut going) = (Vec::new(), Vec::new());
        for stored in page.items {
            let is_held = stored.finalizers().iter().any(|finalizer| finalizer == GRANT_FINALIZER);
            match stored.object() {
                _ if !is_held => {}
                Ok(grant) if awaits_review(&grant).is_some() => {
                    round.unreviewed.push(grant.name_any());
                }
                // The first pass has said why it could not be ended.
                Ok(grant) if !has_ended(&grant) => {}
                // It goes when its request knows that it ended.
                Ok(grant) if goes(&grant) => going.push(grant),
                // Of one that cannot be decoded nothing stands any more, or it is told.
                Ok(_) | Err(_) => held.push(stored),
            }
        }
        let told = going.into_iter().map(|grant| end_one(reader, clock, grant).boxed());
        let told: Vec<_> = stream::iter(told).buffer_unordered(AT_ONCE).collect().await;
        round.left.extend(told.into_iter().filter_map(Result::err));
        let releases = held.iter().map(|stored| remove_finalizer(reader.client(), stored.meta()));
        let outcomes: Vec<Result<(), CallError>> =
            stream::iter(releases).buffer_unordered(AT_ONCE).collect().await;
        round.left.extend(outcomes.into_iter().filter_map(Result::err).map(|e| e.to_string()));
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return,
        }
    }
}
