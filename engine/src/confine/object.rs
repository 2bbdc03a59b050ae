//! Whether a role or a binding follows from a grant.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessDecision, Grant, GrantPhase, RbacKind, created_at};

use super::{Unconfirmed, obstacle};
use crate::Read;
use crate::approval::{Statements, not_verified_yet};
use crate::attest::Attested;
use crate::grant::{Action, ObjectSpec, Observed, decide};
use crate::identity::username_of;
use crate::target::Place;

/// How long ago a Grant may have been written for its objects to follow from it alone.
const CONFIRMED_FOR: TimeDelta = TimeDelta::seconds(30);

/// Whether a Grant was confirmed only moments ago, by everything that bears on it, and nothing has become of it yet.
#[must_use]
pub fn was_confirmed(grant: &Grant, now: DateTime<Utc>) -> bool {
    let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let age = created_at(&grant.metadata).map(|created| now - created);
    phase == GrantPhase::Pending
        && grant.metadata.deletion_timestamp.is_none()
        && age.is_some_and(|age| age.abs() <= CONFIRMED_FOR)
}

/// The object of this kind, place and name that is made for such a Grant, as long as its time has not come and nobody
/// has said no.
///
/// # Errors
/// If none would be made, and why; or if that is not known.
pub fn object_of_confirmed(
    grant: &Grant,
    decisions: &Read<Vec<Attested<AccessDecision>>>,
    home: &str,
    kind: RbacKind,
    place: &Place,
    name: &str,
    now: DateTime<Utc>,
) -> Result<ObjectSpec, Unconfirmed> {
    let refused = |why: &str| Err(Unconfirmed::Refused(why.to_owned()));
    if let Some(why) = decisions.failure() {
        return Err(Unconfirmed::Unknown(why));
    }
    if now >= grant.spec.expires_at.time() {
        return refused("the Grant has expired");
    }
    let said = decisions.found().map(Vec::as_slice).unwrap_or_default();
    let statements = Statements::about(&grant.spec.request.uid, said);
    if let Some(denial) = statements.denial() {
        return refused(&format!("Denied by {}.", denial.decider.username));
    }
    if statements.end_of(&username_of(&grant.spec.subject)) {
        return refused("Ended early by its requester.");
    }
    if let Some(why) = not_verified_yet(&grant.spec.request.uid, said, now) {
        return Err(Unconfirmed::Unknown(why));
    }
    let is_it = |object: &ObjectSpec| {
        object.kind() == kind && object.place == *place && object.name == name
    };
    let object = ObjectSpec::all_of(grant, home).into_iter().find(is_it);
    object.map_or_else(|| refused("no such object belongs to the grant"), Ok)
}

/// The object of this kind, place and name that would be made for the grant, as it is observed, at this
/// time.
///
/// # Errors
/// If none would be made, and why; or if that is not known.
pub fn object(
    mut observed: Observed,
    kind: RbacKind,
    place: &Place,
    name: &str,
    now: DateTime<Utc>,
) -> Result<ObjectSpec, Unconfirmed> {
    let is_it = |object: &ObjectSpec| {
        object.kind() == kind && object.place == *place && object.name == name
    };
    // If one of this name stands already, the API server says so. It is judged nevertheless: it may be gone
    // by the time that this one is stored.
    for (object, live) in &mut observed.objects {
        if is_it(object) {
            *live = Read::Missing;
        }
    }
    let plan = decide(&observed, now);
    let made = plan.actions.iter().find_map(|action| match action {
        Action::Create(object) if is_it(object) => Some(object.clone()),
        _ => None,
    });
    if let Some(object) = made {
        return Ok(object);
    }
    let refused = |why: String| Err(Unconfirmed::Refused(why));
    if !observed.objects.iter().any(|(object, _)| is_it(object)) {
        return refused("no such object belongs to the grant".to_owned());
    }
    let stands = observed.grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if stands != GrantPhase::Pending {
        return refused(format!("the grant is {stands}, and its objects are created only once"));
    }
    let status = plan.status.as_ref().or(observed.grant.status.as_ref());
    let phase = status.map(|status| status.phase).unwrap_or_default();
    // An end that is certain needs no look-up.
    if phase == GrantPhase::Pending
        && let Some(why) = observed.first_failure(now)
    {
        return Err(Unconfirmed::Unknown(why));
    }
    let why = status.and_then(|status| obstacle(&status.conditions)).unwrap_or_default();
    refused(format!("nothing may be created for the grant any more. {why}").trim_end().to_owned())
}
