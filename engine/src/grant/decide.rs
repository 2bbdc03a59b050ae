//! What is to be done about a grant.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    Condition, ConditionStatus, Conditions as _, EndReason, GRANT_FINALIZER, Grant, GrantPhase,
    GrantStatus,
};

use super::{BindingSpec, LiveBinding, Observed};
use crate::Read;
use crate::approval::Statements;
use crate::policy::PolicyState;
use crate::target::ResolvedTarget;

/// One thing to do. Creating needs the lease; the others need nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create a binding, with POST: if its name is taken, that is an obstacle.
    Create(BindingSpec),
    /// Delete the binding of this UID, and no other of the same name.
    Delete {
        /// The binding.
        binding: BindingSpec,
        /// The UID that it must have.
        uid: String,
    },
    /// Let the grant itself go.
    RemoveFinalizer,
}

/// What is to be done about a grant. When there are actions, the status is reported only if they
/// fail: what they change brings a new decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What the status must say, if it does not yet.
    pub status: Option<GrantStatus>,
    /// When to decide again, if nothing happens before.
    pub wake_at: Option<DateTime<Utc>>,
}

/// Why a right ends, and in words.
type End = (Option<EndReason>, String);

/// Decides what is to be done about a grant.
#[must_use]
pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    let status = grant.status.clone().unwrap_or_default();
    match status.phase {
        GrantPhase::Ended => over(observed),
        GrantPhase::Ending => {
            let why = status
                .conditions
                .condition(ENDED)
                .map(|ended| ended.message.clone());
            end(observed, (status.end_reason, why.unwrap_or_default()), now)
        }
        GrantPhase::Pending => match why_ended(observed, now).or_else(|| why_not_given(observed)) {
            Some(why) => end(observed, why, now),
            None => activate(observed, now),
        },
        GrantPhase::Active => {
            match why_ended(observed, now).or_else(|| why_bindings_ended(observed)) {
                Some(why) => end(observed, why, now),
                None => Plan {
                    actions: vec![],
                    status: None,
                    wake_at: Some(expiry(grant)),
                },
            }
        }
    }
}

/// How soon a right that could not be verified to be gone is looked at again.
const RETRY: TimeDelta = TimeDelta::seconds(1);

const ACTIVE: &str = "Active";
const ENDED: &str = "Ended";

fn expiry(grant: &Grant) -> DateTime<Utc> {
    grant.spec.expires_at.time()
}

fn uid(grant: &Grant) -> &str {
    grant.metadata.uid.as_deref().unwrap_or_default()
}

/// Why a right ends, apart from what happened to its bindings.
fn why_ended(observed: &Observed, now: DateTime<Utc>) -> Option<End> {
    let grant = &observed.grant;
    let ended = |reason, message: String| Some((Some(reason), message));
    if grant.metadata.deletion_timestamp.is_some() {
        return ended(EndReason::GrantDeleted, "The grant was deleted.".to_owned());
    }
    if now >= expiry(grant) {
        return ended(
            EndReason::Expired,
            format!("Its time was up at {}.", grant.spec.expires_at),
        );
    }
    why_people_ended(observed).or_else(|| why_policy_ended(observed))
}

fn why_people_ended(observed: &Observed) -> Option<End> {
    let of_grant = &observed.grant.spec.request;
    let request = match &observed.request {
        Read::Found(request) => request,
        Read::Failed(_) => return None,
        Read::Missing => return Some(request_deleted()),
    };
    if request.metadata.uid.as_ref() != Some(&of_grant.uid)
        || request.metadata.deletion_timestamp.is_some()
    {
        return Some(request_deleted());
    }
    let statements = Statements::about(&of_grant.uid, observed.decisions.found()?);
    if let Some(denial) = statements.denial() {
        let message = format!("Denied by {}.", denial.decider.username);
        return Some((Some(EndReason::Revoked), message));
    }
    let requester = request.spec.requester.as_ref()?;
    statements.end(requester).map(|end| {
        let message = format!("Ended early by {}.", end.decider.username);
        (Some(EndReason::EndedByRequester), message)
    })
}

fn request_deleted() -> End {
    (
        Some(EndReason::RequestDeleted),
        "The request was deleted.".to_owned(),
    )
}

/// A policy that is gone, switched off or no longer allows the requester ends its grants. One that
/// cannot be compiled ends none: that is a mistake, not a decision.
fn why_policy_ended(observed: &Observed) -> Option<End> {
    let of_grant = &observed.grant.spec.policy;
    let deleted = || {
        let message = format!("JitPolicy {} was deleted.", of_grant.name);
        Some((Some(EndReason::PolicyDeleted), message))
    };
    let policy = match &observed.policy {
        Read::Failed(_) => return None,
        Read::Missing => return deleted(),
        Read::Found(PolicyState { uid, .. }) if *uid != of_grant.uid => return deleted(),
        Read::Found(state) => state.compiled.as_ref().ok()?,
    };
    if policy.is_disabled() {
        let message = format!("JitPolicy {} was switched off.", of_grant.name);
        return Some((Some(EndReason::PolicyDisabled), message));
    }
    let requester = observed.request.found()?.spec.requester.as_ref()?;
    let namespace = &observed.grant.spec.request.namespace;
    let target = ResolvedTarget::resolve(&observed.grant.spec.target, namespace)?;
    let message = if !policy.allows_requester(requester) {
        format!(
            "JitPolicy {} no longer allows {}.",
            of_grant.name, requester.username
        )
    } else if !policy.offers(&target) {
        format!("JitPolicy {} no longer offers {target}.", of_grant.name)
    } else {
        return None;
    };
    Some((Some(EndReason::RequesterNotAllowed), message))
}

/// What happened to the bindings of an active grant. They are never made again: somebody removed or
/// changed them, and that is a decision.
fn why_bindings_ended(observed: &Observed) -> Option<End> {
    let status = observed.grant.status.as_ref()?;
    if observed.role.is_missing() {
        return Some((
            Some(EndReason::TargetDeleted),
            "The role was deleted.".to_owned(),
        ));
    }
    observed.bindings.iter().find_map(|(binding, live)| {
        let recorded = status.bindings.iter().find(|known| {
            known.kind == binding.place.kind() && known.namespace == binding.place.namespace
        });
        match live {
            Read::Failed(_) => None,
            Read::Missing => {
                let namespace = binding.place.namespace.as_ref();
                let gone = namespace.is_some_and(|name| {
                    observed.namespaces.get(name).is_some_and(Read::is_missing)
                });
                Some(if gone {
                    let message = format!("Namespace {} was deleted.", namespace?);
                    (Some(EndReason::TargetDeleted), message)
                } else {
                    let message = format!("{} was deleted.", binding.describe());
                    (Some(EndReason::BindingDeleted), message)
                })
            }
            Read::Found(live) => {
                let same = recorded.is_some_and(|known| known.uid == live.uid);
                (!same || !binding.is_intact(live, uid(&observed.grant))).then(|| {
                    let message = format!("{} was changed.", binding.describe());
                    (Some(EndReason::BindingChanged), message)
                })
            }
        }
    })
}

/// Why a right cannot be given, for good.
fn why_not_given(observed: &Observed) -> Option<End> {
    let never = |message: String| Some((None, message));
    if let Some(obstacle) = observed
        .obstacle
        .as_ref()
        .filter(|obstacle| obstacle.lasting)
    {
        return never(obstacle.message.clone());
    }
    if let Read::Found(role) = &observed.role
        && role.hash() != observed.grant.spec.rules_hash
    {
        return never("The rules of the role have changed since it was approved.".to_owned());
    }
    if observed.role.is_missing() {
        return never("The role does not exist any more.".to_owned());
    }
    observed.bindings.iter().find_map(|(binding, live)| {
        let live = live.found()?;
        (!binding.is_intact(live, uid(&observed.grant))).then(|| {
            let message = format!(
                "The name is taken: {} exists and was not made for this grant.",
                binding.describe()
            );
            (None, message)
        })
    })
}

/// Creates the bindings that are missing; when all stand, the grant is active.
fn activate(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    let unknown = observed.bindings.iter().find_map(|(_, live)| match live {
        Read::Failed(why) => Some(why.clone()),
        _ => None,
    });
    let blind = [
        unknown,
        failure(&observed.request),
        failure(&observed.decisions),
    ];
    let also = [failure(&observed.policy), failure(&observed.role)];
    if let Some(why) = blind.into_iter().chain(also).flatten().next() {
        return waiting(
            grant,
            format!("It waits for a look-up to succeed: {why}"),
            now,
        );
    }
    let mut missing = Vec::new();
    let mut recorded = Vec::new();
    for (binding, live) in &observed.bindings {
        match live {
            Read::Found(live) => recorded.push(binding.recorded(live)),
            _ => missing.push(Action::Create(binding.clone())),
        }
    }
    if !missing.is_empty() {
        let obstacle = observed
            .obstacle
            .as_ref()
            .map(|obstacle| obstacle.message.clone());
        let message = obstacle.unwrap_or_else(|| "The bindings are being made.".to_owned());
        return Plan {
            actions: missing,
            ..waiting(grant, message, now)
        };
    }
    let mut status = grant.status.clone().unwrap_or_default();
    status.phase = GrantPhase::Active;
    status.bindings = recorded;
    status.activated_at = Some(now.into());
    let message = format!("Held until {}.", grant.spec.expires_at);
    condition(
        &mut status,
        grant,
        ACTIVE,
        ConditionStatus::True,
        "Given",
        message,
        now,
    );
    Plan {
        actions: vec![],
        status: changed(grant, status),
        wake_at: Some(expiry(grant)),
    }
}

fn failure<T>(read: &Read<T>) -> Option<String> {
    match read {
        Read::Failed(why) => Some(why.clone()),
        Read::Found(_) | Read::Missing => None,
    }
}

fn waiting(grant: &Grant, message: String, now: DateTime<Utc>) -> Plan {
    let mut status = grant.status.clone().unwrap_or_default();
    condition(
        &mut status,
        grant,
        ACTIVE,
        ConditionStatus::False,
        "Pending",
        message,
        now,
    );
    Plan {
        actions: vec![],
        status: changed(grant, status),
        wake_at: Some(expiry(grant)),
    }
}

/// Takes the right back. It is `Ended` only when a live read shows that each binding is gone.
fn end(observed: &Observed, (reason, why): End, now: DateTime<Utc>) -> Plan {
    let grant = &observed.grant;
    let mut status = grant.status.clone().unwrap_or_default();
    status.end_reason = reason;
    let actions = deletions(observed);
    let unverified: Vec<String> = observed
        .bindings
        .iter()
        .filter_map(|(binding, live)| match live {
            Read::Failed(error) => Some(format!("{} cannot be read: {error}", binding.describe())),
            _ => None,
        })
        .collect();
    let short = reason.map_or_else(|| NOT_GIVEN.to_owned(), |reason| reason.to_string());
    condition(
        &mut status,
        grant,
        ACTIVE,
        ConditionStatus::False,
        &short,
        why.clone(),
        now,
    );
    if actions.is_empty() && unverified.is_empty() {
        status.phase = GrantPhase::Ended;
        status.ended_at = Some(now.into());
        condition(
            &mut status,
            grant,
            ENDED,
            ConditionStatus::True,
            "Verified",
            why,
            now,
        );
        return Plan {
            actions,
            status: changed(grant, status),
            wake_at: None,
        };
    }
    status.phase = GrantPhase::Ending;
    // The message keeps the cause, not the hindrance: the next decision reads it from here.
    condition(
        &mut status,
        grant,
        ENDED,
        ConditionStatus::False,
        "Unverified",
        why,
        now,
    );
    Plan {
        actions,
        status: changed(grant, status),
        wake_at: Some(now + RETRY),
    }
}

/// The reason of the condition `Active` of a grant whose right could never be given.
pub(crate) const NOT_GIVEN: &str = "NotGiven";

/// The bindings of this grant that still stand: those that it recorded, and those that say they were
/// made for it. A binding that somebody else made under the same name is left alone.
fn deletions(observed: &Observed) -> Vec<Action> {
    let recorded = observed
        .grant
        .status
        .as_ref()
        .map(|status| &status.bindings);
    let is_ours = |live: &LiveBinding| {
        live.grant_uid.as_deref() == Some(uid(&observed.grant))
            || recorded.is_some_and(|known| known.iter().any(|binding| binding.uid == live.uid))
    };
    observed
        .bindings
        .iter()
        .filter_map(|(binding, live)| Some((binding, live.found().filter(|live| is_ours(live))?)))
        .map(|(binding, live)| Action::Delete {
            binding: binding.clone(),
            uid: live.uid.clone(),
        })
        .collect()
}

/// A grant that is over gives nothing, not even when its bindings come back (from a backup, say). It
/// goes when it was deleted and its request knows: a request that lost its grant unseen would be
/// granted again.
fn over(observed: &Observed) -> Plan {
    let mut actions = deletions(observed);
    let metadata = &observed.grant.metadata;
    let has_finalizer = metadata
        .finalizers
        .as_ref()
        .is_some_and(|all| all.iter().any(|f| f == GRANT_FINALIZER));
    let known = match &observed.request {
        Read::Missing => true,
        Read::Failed(_) => false,
        Read::Found(request) => {
            request.metadata.uid.as_ref() != Some(&observed.grant.spec.request.uid)
                || request
                    .status
                    .as_ref()
                    .is_some_and(|status| status.phase.is_terminal())
        }
    };
    if actions.is_empty() && metadata.deletion_timestamp.is_some() && has_finalizer && known {
        actions.push(Action::RemoveFinalizer);
    }
    Plan {
        actions,
        status: None,
        wake_at: None,
    }
}

fn condition(
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
}

/// The status, if it says anything new.
fn changed(grant: &Grant, status: GrantStatus) -> Option<GrantStatus> {
    (grant.status.as_ref() != Some(&status)).then_some(status)
}

#[cfg(test)]
mod tests;
