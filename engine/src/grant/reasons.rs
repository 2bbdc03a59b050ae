//! Why a right ends, or cannot be given at all.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessRequest, EndReason, GrantSpec, Identity, PolicyMode};

use super::decide::{expiry, uid};
use super::object::{Content, ObjectSpec, all_recorded};
use super::{Observed, host};
use crate::Read;
use crate::approval::Statements;
use crate::identity::describe;
use crate::policy::{Bans, Policy, RolesKnown, Rule};
use crate::role::Kept;
use crate::target::{Namespace, ResolvedTarget};

/// Why a right ends, and in words.
pub(super) type End = (Option<EndReason>, String);

/// Why a right ends, apart from what happened to its bindings.
pub(super) fn why_ended(observed: &Observed, now: DateTime<Utc>) -> Option<End> {
    let grant = &observed.grant;
    let ended = |reason, message: String| Some((Some(reason), message));
    if grant.metadata.deletion_timestamp.is_some() {
        return ended(EndReason::GrantDeleted, "The grant was deleted.".to_owned());
    }
    if now >= expiry(grant) {
        return ended(EndReason::Expired, format!("It expired at {}.", grant.spec.expires_at));
    }
    why_people_ended(observed)
        .or_else(|| why_request_ended(observed))
        .or_else(|| why_namespace_ended(observed))
        .or_else(|| host::why_ended(observed))
        .or_else(|| why_policy_ended(observed, now))
        .or_else(|| why_role_ended(observed))
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
        let message = format!("Ended early by {}.", describe(&end.decider));
        (Some(EndReason::EndedByRequester), message)
    })
}

/// A namespace that is being deleted keeps its bindings, and what they allow, for as long as a pod hangs in it.
fn why_namespace_ended(observed: &Observed) -> Option<End> {
    let is_going = |namespace: &Read<Namespace>| namespace.found().is_some_and(|it| it.is_going);
    let (name, _) =
        observed.surroundings.namespaces.iter().find(|(_, namespace)| is_going(namespace))?;
    let message = format!("Namespace {name} is being deleted.");
    Some((Some(EndReason::TargetDeleted), message))
}

/// What the request itself has recorded. A request is granted once and its end is final, so a Grant
/// that stands beside that was made by a process that had not seen it: one that was suspended for a
/// while, say, and created the Grant anew after another had deleted it.
fn why_request_ended(observed: &Observed) -> Option<End> {
    let request = observed.request.found()?;
    let status = request.status.as_ref()?;
    if is_over(request) {
        let reason = status.end_reason.unwrap_or(EndReason::Revoked);
        let message = format!("The request is over: it is {}.", status.phase);
        return Some((Some(reason), message));
    }
    let recorded = status.grant.as_ref()?;
    (recorded.uid != uid(&observed.grant)).then(|| {
        let message = "The request was granted by another Grant, which is gone.".to_owned();
        (Some(EndReason::GrantDeleted), message)
    })
}

/// Whether the request has reached a phase that is final.
fn is_over(request: &AccessRequest) -> bool {
    request.status.as_ref().is_some_and(|status| status.phase.is_terminal())
}

fn request_deleted() -> End {
    (Some(EndReason::RequestDeleted), "The request was deleted.".to_owned())
}

/// A policy that is gone, switched off or no longer allows the requester ends its grants. One that
/// cannot be compiled ends none: that is a mistake, not a decision.
fn why_policy_ended(observed: &Observed, now: DateTime<Utc>) -> Option<End> {
    let of_grant = &observed.grant.spec.policy;
    let deleted = || {
        let message = format!("JitPolicy {} was deleted.", of_grant.name);
        Some((Some(EndReason::PolicyDeleted), message))
    };
    if !observed.knows_policy() {
        return None;
    }
    let Some(state) = observed.policy() else { return deleted() };
    let switched = match state.mode {
        PolicyMode::Disabled => Some("off"),
        PolicyMode::Audit => Some("to Audit, in which it grants nothing"),
        PolicyMode::Enforce => None,
    };
    if let Some(switched) = switched {
        let message = format!("JitPolicy {} was switched {switched}.", of_grant.name);
        return Some((Some(EndReason::PolicyDisabled), message));
    }
    let (requester, target) = (requester(observed)?, target(observed)?);
    if let Some(ban) = bans(observed).and_then(|bans| bans.in_force(now)) {
        return Some((Some(EndReason::DeniedByPolicy), ban.message(requester)));
    }
    // What cannot be read may be what was offered.
    let is_known = observed.surroundings.failure().is_none();
    let policy = match &state.compiled {
        Ok(Rule::Allow(policy)) if is_known => policy,
        Ok(Rule::Deny(_)) => {
            let message = format!("JitPolicy {} no longer allows anything.", of_grant.name);
            return Some((Some(EndReason::RequesterNotAllowed), message));
        }
        _ => return None,
    };
    let message = if !policy.allows_requester(requester) {
        format!("JitPolicy {} no longer allows {}.", of_grant.name, requester.username)
    } else if !policy.offers(&target, &observed.surroundings) {
        format!("JitPolicy {} no longer offers {target}.", of_grant.name)
    } else {
        return None;
    };
    Some((Some(EndReason::RequesterNotAllowed), message))
}

/// A role that allows more than was approved ends the right, unless the policy says to keep it. A policy
/// that cannot be compiled does not say so.
fn why_role_ended(observed: &Observed) -> Option<End> {
    if observed.policy()?.policy().is_some_and(Policy::keeps_widened) {
        return None;
    }
    Some((Some(EndReason::RoleWidened), widened(observed)?))
}

/// That the role allows more than when the Grant was written, in words, if it does.
fn widened(observed: &Observed) -> Option<String> {
    let GrantSpec { rules_hash, rules, .. } = &observed.grant.spec;
    let widened = observed.role.found()?.widened_since(Kept { hash: Some(rules_hash), rules })?;
    Some(format!("The role {widened}."))
}

/// When a Deny policy will be in force that matches the grant, if none is now.
pub(super) fn banned_from(observed: &Observed, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    bans(observed)?.return_at(now)
}

/// The bans that match the grant, at whatever time.
fn bans(observed: &Observed) -> Option<Bans<'_>> {
    let (requester, target) = (requester(observed)?, target(observed)?);
    let roles = RolesKnown { asked: &observed.role, banned: &observed.banned_roles };
    Some(Bans::on(observed.policies.found()?, requester, &target, &observed.surroundings, roles))
}

fn requester(observed: &Observed) -> Option<&Identity> {
    observed.request.found()?.spec.requester.as_ref()
}

fn target(observed: &Observed) -> Option<ResolvedTarget> {
    let spec = &observed.grant.spec;
    ResolvedTarget::resolve(&spec.target, &spec.request.namespace)
}

/// By how much the clocks of those who end rights may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(1);

/// What happened to the objects of an active grant. They are never made again: somebody removed or
/// changed them, and that is a decision. Of what goes in its last second it is not known who took it: another replica does
/// so when its time is up by that one's clock. Its time tells, which comes at once.
pub(super) fn why_objects_ended(observed: &Observed, now: DateTime<Utc>) -> Option<End> {
    let status = observed.grant.status.as_ref()?;
    if observed.role.is_missing() {
        return Some((Some(EndReason::TargetDeleted), "The role was deleted.".to_owned()));
    }
    if let Some(gone) = host::why_gone(observed) {
        return Some(gone);
    }
    // A process that has just started may see what somebody's word led to before it has listed that word. Nothing stands any
    // more, so why it went can wait.
    if is_all_gone(observed) && observed.decisions.failure().is_some() {
        return None;
    }
    observed.objects.iter().find_map(|(object, live)| {
        let recorded = all_recorded(status).find(|known| object.is_recorded_as(known));
        match live {
            Read::Failed(_) => None,
            Read::Missing if now + CLOCKS_DIFFER >= expiry(&observed.grant) => None,
            Read::Missing => {
                let namespace = object.place.namespace.as_ref();
                let gone = namespace.is_some_and(|name| {
                    observed.surroundings.namespaces.get(name).is_some_and(Read::is_missing)
                });
                Some(if gone {
                    let message = format!("Namespace {} was deleted.", namespace?);
                    (Some(EndReason::TargetDeleted), message)
                } else {
                    let message = format!("{} was deleted.", object.describe());
                    (Some(EndReason::BindingDeleted), message)
                })
            }
            Read::Found(live) => {
                let same = recorded.is_some_and(|known| known.uid == live.uid);
                (!same || !object.is_intact(live, uid(&observed.grant))).then(|| {
                    let message = format!("{} was changed.", object.describe());
                    (Some(EndReason::BindingChanged), message)
                })
            }
        }
    })
}

/// What gives the right stands, and the mark of its holder does not, which was made before and goes after it: somebody took it
/// away before it was recorded. Nothing is made anew for a right that was held without.
pub(super) fn why_unmarked(observed: &Observed) -> Option<End> {
    let is_marker = |object: &ObjectSpec| matches!(object.content, Content::Marker { .. });
    let mut objects = observed.objects.iter();
    let (marker, _) = objects.find(|(object, live)| is_marker(object) && live.is_missing())?;
    let own = Some(uid(&observed.grant));
    let stands = observed.objects.iter().any(|(object, live)| {
        let is_own = live.found().is_some_and(|live| live.grant_uid.as_deref() == own);
        matches!(object.content, Content::Binding { .. }) && is_own
    });
    let message = || format!("{} was deleted.", marker.describe());
    stands.then(|| (Some(EndReason::BindingDeleted), message()))
}

/// Whether none of its bindings is there.
fn is_all_gone(observed: &Observed) -> bool {
    let is_binding = |object: &ObjectSpec| matches!(object.content, Content::Binding { .. });
    let mut bindings = observed.objects.iter().filter(|(object, _)| is_binding(object)).peekable();
    bindings.peek().is_some() && bindings.all(|(_, live)| live.is_missing())
}

/// Why a right cannot be given, for good.
pub(super) fn why_not_given(observed: &Observed) -> Option<End> {
    let never = |message: String| Some((None, message));
    if let Some(obstacle) = observed.obstacle.as_ref().filter(|obstacle| obstacle.lasting) {
        return never(obstacle.message.clone());
    }
    if let Some(widened) = widened(observed) {
        return never(widened);
    }
    if observed.role.is_missing() {
        return never("The role no longer exists.".to_owned());
    }
    if let Some(never) = host::why_not_given(observed).or_else(|| host::why_gone(observed)) {
        return Some(never);
    }
    observed.objects.iter().find_map(|(object, live)| {
        let live = live.found()?;
        (!object.is_intact(live, uid(&observed.grant))).then(|| {
            let message = format!(
                "The name is taken: {} exists and was not created for this grant.",
                object.describe()
            );
            (None, message)
        })
    })
}
