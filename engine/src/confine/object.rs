//! Whether a role or a binding follows from a grant.

use chrono::{DateTime, Utc};
use lapse_crds::{GrantPhase, RbacKind};

use super::{Unconfirmed, obstacle};
use crate::Read;
use crate::grant::{Action, ObjectSpec, Observed, decide};
use crate::target::Place;

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
        return refused(format!("the grant is {stands}, and what it needs is made once"));
    }
    let status = plan.status.as_ref().or(observed.grant.status.as_ref());
    let phase = status.map(|status| status.phase).unwrap_or_default();
    // An end that is certain needs no look-up.
    if phase == GrantPhase::Pending
        && let Some(why) = observed.first_failure()
    {
        return Err(Unconfirmed::Unknown(why));
    }
    let why = status.and_then(|status| obstacle(&status.conditions)).unwrap_or_default();
    refused(format!("nothing is to be made for the grant any more. {why}").trim_end().to_owned())
}
