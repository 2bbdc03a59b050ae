//! Roles and bindings: made for a Grant that is to be given, as it says.

use futures::FutureExt as _;
use kube::core::DynamicObject;
use lapse_cluster::{Freshness, clock, objects};
use lapse_crds::{GRANT_LABEL, GRANT_UID, Grant, RbacKind};
use lapse_engine::Read;
use lapse_engine::confine;
use lapse_engine::grant::ObjectSpec;
use lapse_engine::target::Place;

use super::refusal;
use crate::admission::{Admission, Request};
use crate::answer::{Admitted, NotAdmitted};
use crate::stamp::check_name;

/// Admits a role or a binding.
///
/// Single objects are read as they are now, the Grant above all: the controllers record there that a right
/// ends. Lists are as the API server has them at hand. What those miss, a Deny of the last milliseconds, the
/// controllers find when the right is held, and end it then (docs/decisions/0011).
pub(crate) async fn object(
    admission: &Admission,
    kind: RbacKind,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(made) = &request.object else {
        return Err(NotAdmitted::Failed("The API server sent no object".to_owned()));
    };
    let name = made.metadata.name.as_deref().unwrap_or_default();
    let what = format!("no such {kind} follows from a Grant");
    let refused = |why: String| NotAdmitted::NotConfirmed(format!("{what}: {why}"));
    let (grant, uid) = marks(made).ok_or_else(|| {
        refused(format!("its label {GRANT_LABEL} and its annotation {GRANT_UID} name none"))
    })?;
    check_name(GRANT_LABEL, grant)?;
    let reader = admission.reader();
    let grant = match reader.grant(grant).await {
        Read::Found(found) if found.metadata.uid.as_deref() == Some(uid) => found,
        Read::Found(_) => return Err(refused(format!("Grant {grant} has another UID"))),
        Read::Missing => return Err(refused(format!("there is no Grant {grant}"))),
        Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
    };
    let now = clock::now();
    let observed = reader.observe_grant_anew(&grant, Freshness::AtHand, now).boxed().await;
    let observed = observed.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    let observed = observed.ok_or_else(|| refused("the Grant was deleted".to_owned()))?;
    let place = Place { namespace: made.metadata.namespace.clone() };
    let expected = confine::object(observed, kind, &place, name, now);
    let expected = expected.map_err(|why| refusal(&what, why))?;
    match difference(&grant, &expected, made)? {
        Some(field) => Err(refused(format!("{field} is not what the Grant says"))),
        None => Ok(Admitted::default()),
    }
}

/// The name and the UID of the Grant that an object says it is made for.
fn marks(made: &DynamicObject) -> Option<(&str, &str)> {
    let grant = made.metadata.labels.as_ref()?.get(GRANT_LABEL)?;
    let uid = made.metadata.annotations.as_ref()?.get(GRANT_UID)?;
    Some((grant, uid))
}

/// What differs from the object as the controller makes it, if anything does.
pub(super) fn difference(
    grant: &Grant,
    expected: &ObjectSpec,
    made: &DynamicObject,
) -> Result<Option<&'static str>, NotAdmitted> {
    let live = objects::live(&expected.content, made.clone())
        .map_err(|error| NotAdmitted::Invalid(format!("it cannot be read: {error}")))?;
    if !expected.is_intact(&live, grant.metadata.uid.as_deref().unwrap_or_default()) {
        return Ok(Some("what it gives, or to whom,"));
    }
    Ok(confine::difference(&objects::manifest(grant, expected).metadata, &made.metadata))
}
