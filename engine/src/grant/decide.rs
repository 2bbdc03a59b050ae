//! What is to be done about a grant.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    Condition, ConditionStatus, Conditions as _, GRANT_FINALIZER, Grant, GrantPhase, GrantStatus,
    RbacRef,
};

use super::columns::columns;
use super::host::{Certainty, HostState};
use super::object::all_recorded;
use super::reasons::{End, banned_from, why_ended, why_not_given, why_objects_ended, why_unmarked};
use super::warnings::{WarningOutlook, outlook};
use super::{
    Content, LiveObject, ObjectSpec, Observed, REVIEWED, Warning, drift, host, review, stopping,
};
use crate::Read;
use crate::endpoint::DRIFTED;
use crate::lifetime::{ENDED, STOPPED, awaits_review, is_settled};
use crate::outside::{self, LOOKUP_FAILED, REFUSED};
use crate::policy::PolicyState;
use crate::risk::rights_end_by;
use crate::session::Started;

/// One thing to do. Creating needs the lease; the others need nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create an object, with POST: if its name is taken, that is an obstacle.
    Create(ObjectSpec),
    /// Delete the object of this UID, and no other of the same name.
    Delete {
        /// The object.
        object: ObjectSpec,
        /// The UID that it must have.
        uid: String,
    },
    /// Delete what was started under the grant.
    Stop {
        /// What it is.
        started: Started,
        /// How many seconds it has to stop; `None` for what is no pod.
        grace_seconds: Option<u32>,
    },
    /// Let the grant itself go.
    RemoveFinalizer,
}

/// What is to be done about a grant. When there are actions, the status is reported only if they
/// fail, or if [`Plan::report_always`] says so: what they change brings a new decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What the status must say, if it does not yet.
    pub status: Option<GrantStatus>,
    /// Whether the status is reported even when every action succeeds, because they destroy what it
    /// was concluded from: a changed binding that is deleted looks as if somebody had deleted it.
    pub report_always: bool,
    /// What to tell the holder of the right, after the status. It needs no lease: its name sees to it that
    /// it is told once, and a fail-over must not swallow it.
    pub warning: Option<Warning>,
    /// When to decide again, if nothing happens before.
    pub wake_at: Option<DateTime<Utc>>,
}

impl Plan {
    /// Whether this is part of giving the right, which needs the lease. Taking it back does not.
    #[must_use]
    pub fn gives(&self) -> bool {
        let creates = |action: &Action| matches!(action, Action::Create(_));
        let is_given =
            |status: &GrantStatus| matches!(status.phase, GrantPhase::Pending | GrantPhase::Active);
        self.actions.iter().any(creates) || self.status.as_ref().is_some_and(is_given)
    }
}

/// Decides what is to be done about a grant.
#[must_use]
pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let status = observed.grant.status.clone().unwrap_or_default();
    match status.phase {
        GrantPhase::Ended => over(observed, now),
        GrantPhase::Ending => {
            let why = status.conditions.condition(ENDED).map(|ended| ended.message.clone());
            end(observed, (status.end_reason, why.unwrap_or_default()), now)
        }
        GrantPhase::Pending => {
            if let Some(why) = why_ended(observed, now) {
                end(observed, why, now)
            } else if let Some(why) = why_unmarked(observed).or_else(|| why_not_given(observed)) {
                concluded(end(observed, why, now))
            } else {
                activate(observed, now)
            }
        }
        GrantPhase::Active => {
            if let Some(why) = why_ended(observed, now) {
                end(observed, why, now)
            } else if let Some(why) = why_objects_ended(observed, now) {
                concluded(end(observed, why, now))
            } else {
                let status = observed.grant.status.clone().unwrap_or_default();
                holds(observed, status, now)
            }
        }
    }
}

/// The end was concluded from what stands in the cluster, and the actions change that.
fn concluded(plan: Plan) -> Plan {
    Plan { report_always: true, ..plan }
}

/// The right is held. A look-up that failed ends nothing, but it may hide a reason to end, so it is
/// repeated within a second and not left to the next event.
fn holds(observed: &Observed, mut status: GrantStatus, now: DateTime<Utc>) -> Plan {
    let WarningOutlook { warning, next_at } = outlook(observed, now);
    // An emergency may be reviewed, and its review may be overdue, before its end.
    let review = review::note(observed, &mut status, now);
    drift::note(observed, &mut status, now);
    let moments = [Some(look_again(observed, now, RETRY)), next_at, review.next_at];
    Plan {
        actions: vec![],
        status: changed(&observed.grant, status),
        report_always: false,
        warning: review.warning.or(warning),
        wake_at: moments.into_iter().flatten().min(),
    }
}

/// How soon a right is looked at again that could not be verified to be gone, or of which it is not known whether it goes on:
/// whatever kept it from ending, it ends within a second of that being over.
pub(super) const RETRY: TimeDelta = TimeDelta::seconds(1);
/// How soon what could not be looked up is looked up again, where no right is held.
pub(super) const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(5);

/// The condition of a grant whose right is held; before that, of what keeps it from being given.
pub(crate) const ACTIVE: &str = "Active";

/// When to decide again about a right that is not over: at its end at the latest, and so soon if something could not be looked
/// up.
fn look_again(observed: &Observed, now: DateTime<Utc>, soon: TimeDelta) -> DateTime<Utc> {
    let expiry = expiry(&observed.grant);
    let next = banned_from(observed, now).map_or(expiry, |from| from.min(expiry));
    match observed.first_failure(now) {
        Some(_) => next.min(now + soon),
        None => next,
    }
}

pub(super) fn expiry(grant: &Grant) -> DateTime<Utc> {
    grant.spec.expires_at.time()
}

pub(super) fn uid(grant: &Grant) -> &str {
    grant.metadata.uid.as_deref().unwrap_or_default()
}

/// Creates the bindings that are missing; when all stand, the grant is active.
fn activate(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    if let Some(why) = observed.first_failure(now) {
        let message = format!("It waits for a look-up to succeed: {why}");
        return waiting(observed, LOOKUP_FAILED, message, now);
    }
    let mut missing = Vec::new();
    let mut recorded = Vec::new();
    for (object, live) in &observed.objects {
        match live {
            Read::Found(live) => recorded.push((object, object.recorded(live))),
            _ => missing.push(Action::Create(object.clone())),
        }
    }
    if !missing.is_empty() {
        // A policy that cannot be compiled revokes nothing, and gives nothing more either.
        if let Some(PolicyState { name, compiled: Err(error), .. }) = observed.policy() {
            let message = format!("It waits for JitPolicy {name} to be fixed: {error}");
            return waiting(observed, PENDING, message, now);
        }
        let (short, message) = match &observed.obstacle {
            Some(obstacle) => (REFUSED, obstacle.message.clone()),
            None => (PENDING, "It is being created.".to_owned()),
        };
        return Plan { actions: missing, ..waiting(observed, short, message, now) };
    }
    if host::state(observed).is_some_and(|state| state != HostState::Given) {
        return waiting(observed, PENDING, NOT_CARRIED_OUT.to_owned(), now);
    }
    let mut status = grant.status.clone().unwrap_or_default();
    status.phase = GrantPhase::Active;
    record(&mut status, recorded);
    status.activated_at = Some(now.into());
    let message = format!("Held until {}.", grant.spec.expires_at);
    condition(&mut status, grant, ACTIVE, ConditionStatus::True, "Given", message, now);
    holds(observed, status, now)
}

/// What a grant on a host waits for.
const NOT_CARRIED_OUT: &str =
    "It waits for the agent of the Endpoint to carry it out, which it does when it is connected.";

/// Takes down what stands, each by what it is for.
fn record(status: &mut GrantStatus, objects: Vec<(&ObjectSpec, RbacRef)>) {
    (status.bindings, status.roles, status.marker) = (Vec::new(), Vec::new(), None);
    for (object, recorded) in objects {
        match object.content {
            Content::Binding { .. } => status.bindings.push(recorded),
            Content::Role { .. } => status.roles.push(recorded),
            Content::Marker { .. } => status.marker = Some(recorded),
        }
    }
}

/// The reason of the condition `Active` of a grant whose right is to be given.
const PENDING: &str = "Pending";

fn waiting(observed: &Observed, short: &str, message: String, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    let mut status = grant.status.clone().unwrap_or_default();
    condition(&mut status, grant, ACTIVE, ConditionStatus::False, short, message, now);
    Plan {
        actions: vec![],
        status: changed(grant, status),
        report_always: false,
        warning: None,
        wake_at: Some(look_again(observed, now, LOOK_AGAIN)),
    }
}

/// Takes the right back. It is `Ended` only when a live read shows that each binding is gone, or an agent says so of its
/// host; or when nobody can say any more, and its own time is over there.
pub(super) fn end(observed: &Observed, (reason, why): End, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    let mut status = grant.status.clone().unwrap_or_default();
    status.end_reason = reason;
    let actions = deletions(observed);
    let is_unread = observed.objects.iter().any(|(_, live)| matches!(live, Read::Failed(_)));
    // Nothing was given where there is no reason, and so nothing is owed.
    let review = match reason {
        Some(_) => review::note(observed, &mut status, now),
        None => review::ReviewOutlook::default(),
    };
    let short = reason.map_or_else(|| NOT_GIVEN.to_owned(), |reason| reason.to_string());
    condition(&mut status, grant, ACTIVE, ConditionStatus::False, &short, why.clone(), now);
    let on_host = host::certainty(observed, now);
    let open_until = match on_host {
        Some(Certainty::Open(at)) => Some(at),
        Some(Certainty::Verified | Certainty::Unverified) | None => None,
    };
    if actions.is_empty() && !is_unread && open_until.is_none() {
        let verified = match on_host {
            Some(Certainty::Unverified) => "Unverified",
            _ => "Verified",
        };
        status.phase = GrantPhase::Ended;
        status.ended_at = Some(now.into());
        status.rights_end_by = rights_end_by(grant, now).map(Into::into);
        condition(&mut status, grant, ENDED, ConditionStatus::True, verified, why, now);
        // What was started goes after the right is gone: before, more could be started.
        let stopping = stopping::begin(grant, &mut status, now);
        // What was never given has changed nothing.
        let comparing = reason.and_then(|_| drift::begin(observed, &mut status, now));
        return Plan {
            actions,
            status: changed(grant, status),
            report_always: false,
            warning: review.warning,
            wake_at: stopping.into_iter().chain(review.next_at).chain(comparing).min(),
        };
    }
    status.phase = GrantPhase::Ending;
    drift::note(observed, &mut status, now);
    // The message keeps the cause, not the hindrance: the next decision reads it from here.
    condition(&mut status, grant, ENDED, ConditionStatus::False, "Unverified", why, now);
    Plan {
        actions,
        status: changed(grant, status),
        report_always: false,
        warning: None,
        wake_at: Some(open_until.unwrap_or(now + RETRY)),
    }
}

/// Why there is no right that could never be given: the reason of the condition `Active` of the grant, and of what follows it.
pub const NOT_GIVEN: &str = "NotGiven";

/// The objects of this grant that still stand: those that it recorded, and those that say they were
/// made for it. What somebody else made under the same name is left alone. Bindings go first: they are
/// what gives the right. The marker goes last: its holder is marked for as long as there is a right.
pub(super) fn deletions(observed: &Observed) -> Vec<Action> {
    let status = observed.grant.status.as_ref();
    let is_ours = |live: &LiveObject| {
        live.grant_uid.as_deref() == Some(uid(&observed.grant))
            || status.is_some_and(|status| all_recorded(status).any(|known| known.uid == live.uid))
    };
    let mut in_order: Vec<_> = observed.objects.iter().collect();
    in_order.sort_by_key(|(object, _)| match object.content {
        Content::Binding { .. } => 0,
        Content::Role { .. } => 1,
        Content::Marker { .. } => 2,
    });
    in_order
        .into_iter()
        .filter_map(|(object, live)| Some((object, live.found().filter(|live| is_ours(live))?)))
        .map(|(object, live)| Action::Delete { object: object.clone(), uid: live.uid.clone() })
        .collect()
}

/// A grant that is over gives nothing, not even when its bindings come back (from a backup, say). It
/// goes when it was deleted and its request knows: a request that lost its grant unseen would be
/// granted again. An emergency stays until it is reviewed, or deleting it would pay the debt.
fn over(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let mut actions = deletions(observed);
    let mut status = observed.grant.status.clone().unwrap_or_default();
    let owes = awaits_review(&observed.grant).is_some();
    let mut review = review::ReviewOutlook::default();
    if owes {
        review = review::note(observed, &mut status, now);
    }
    let stop = stopping::outlook(observed, &mut status, now);
    actions.extend(stop.actions);
    let comparing = drift::outlook(observed, &mut status, now);
    let is_deleted = observed.grant.metadata.deletion_timestamp.is_some();
    let leaves = is_deleted && has_finalizer(&observed.grant) && !owes && stop.next_at.is_none();
    if actions.is_empty() && leaves && request_knows(observed) {
        actions.push(Action::RemoveFinalizer);
    }
    // No event follows a look-up that failed, and somebody waits: whoever deleted the grant for it to
    // go, and whoever reviewed the emergency for that to count.
    let unread = (leaves && observed.request.failure().is_some())
        || (owes && observed.decisions.failure().is_some());
    let soon = unread.then(|| now + LOOK_AGAIN);
    Plan {
        actions,
        status: changed(&observed.grant, status),
        report_always: false,
        warning: review.warning,
        wake_at: soon.into_iter().chain(review.next_at).chain(stop.next_at).chain(comparing).min(),
    }
}

/// Whether it is Lapse that keeps a Grant from going.
pub(super) fn has_finalizer(grant: &Grant) -> bool {
    grant.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == GRANT_FINALIZER)
}

/// Whether the request has recorded all that became of its right, or is gone itself.
pub(super) fn request_knows(observed: &Observed) -> bool {
    match &observed.request {
        Read::Missing => true,
        Read::Failed(_) => false,
        Read::Found(request) => {
            request.metadata.uid.as_ref() != Some(&observed.grant.spec.request.uid)
                || is_settled(request)
        }
    }
}

pub(super) fn condition(
    status: &mut GrantStatus,
    grant: &Grant,
    r#type: &str,
    value: ConditionStatus,
    reason: &str,
    message: String,
    now: DateTime<Utc>,
) {
    status.observed_generation = grant.metadata.generation;
    status.conditions.set_condition(Condition {
        r#type: r#type.to_owned(),
        status: value,
        reason: reason.to_owned(),
        message,
        last_transition_time: now.into(),
        observed_generation: grant.metadata.generation,
    });
    let order = [ACTIVE, ENDED, STOPPED, DRIFTED, REVIEWED];
    let position = |of: &Condition| order.iter().position(|known| *known == of.r#type);
    status.conditions.sort_by_key(position);
}

/// The status, if it says anything new. What lists show follows from the rest, so it is no reason to write.
pub(super) fn changed(grant: &Grant, mut status: GrantStatus) -> Option<GrantStatus> {
    if let Some(known) = &grant.status {
        outside::keep_texts(&known.conditions, &mut status.conditions);
    }
    let columns = columns(grant, &status);
    (grant.status.as_ref() != Some(&status))
        .then_some(GrantStatus { columns: Some(columns), ..status })
}

#[cfg(test)]
mod tests;
