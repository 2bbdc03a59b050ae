//! Roles and bindings: made for a Grant that is to be given, as it says.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use kube::core::DynamicObject;
use lapse_cluster::{Occasion, Reader, clock, objects};
use lapse_crds::{GRANT_LABEL, GRANT_UID, Grant, RbacKind};
use lapse_engine::Read;
use lapse_engine::confine::{self, Unconfirmed};
use lapse_engine::grant::{Content, LiveObject, ObjectSpec};
use lapse_engine::target::Place;

use super::{has_unknown_keys, refusal, unobserved};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::stamp::check_name;

/// Admits a role or a binding.
///
/// Single objects are read as they are now, the Grant above all: the controllers record there that a right
/// ends. What the index misses, a Deny of the last milliseconds, its event brings, and ends the right then.
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
    // Where the marker stands follows from what the index has of the Grant, most often.
    let (grant_read, early) = tokio::join!(reader.grant(grant), early_marker(reader, grant));
    let grant = match grant_read {
        Read::Found(found) if found.metadata.uid.as_deref() == Some(uid) => found,
        Read::Found(_) => return Err(refused(format!("Grant {grant} has another UID"))),
        Read::Missing => return Err(refused(format!("there is no Grant {grant}"))),
        Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
    };
    let place = Place { namespace: made.metadata.namespace.clone() };
    let expected = expected(admission, &grant, kind, &place, name).await;
    let expected = expected?.map_err(|why| refusal(&what, why))?;
    if let Some(field) = difference(&grant, &expected, made)? {
        return Err(refused(format!("{field} is not what the Grant says")));
    }
    if kind == RbacKind::ClusterRole {
        not_aggregated(reader, made).await.map_err(|why| refusal(&what, why))?;
    }
    // There is no right without the mark of who holds it.
    if expected.gives() {
        marked(reader, &grant, early).await.map_err(|why| refusal(&what, why))?;
    }
    Ok(Admitted::default())
}

/// The object that is to be made for a Grant, if one is.
///
/// A Grant is confirmed when it is written, by everything that bears on it, and it never changes. So while that is only
/// moments ago, its objects follow from it alone, as long as nobody said no, and a binding from its marker, too: there
/// is no right without the mark of who holds it.
async fn expected(
    admission: &Admission,
    grant: &Grant,
    kind: RbacKind,
    place: &Place,
    name: &str,
) -> Result<Result<ObjectSpec, Unconfirmed>, NotAdmitted> {
    let (reader, now) = (admission.reader(), clock::now());
    if confine::was_confirmed(grant, now) {
        let uid = &grant.spec.request.uid;
        let mut decisions = reader.index().decisions(uid);
        if has_unknown_keys(&decisions) {
            admission.refresh_keys().await?;
            reader.index().verify_again();
            decisions = reader.index().decisions(uid);
        }
        let home = &reader.settings().namespace;
        return Ok(confine::object_of_confirmed(grant, &decisions, home, kind, place, name, now));
    }
    let occasion = Occasion::Confirm { unasked: false };
    let observed = reader.observe_grant_anew(grant, occasion, now).boxed().await;
    let observed =
        observed.map_err(|error| unobserved("no such object follows from a Grant", &error))?;
    Ok(match observed {
        Some(observed) => confine::object(observed, kind, place, name, now),
        None => Err(Unconfirmed::Refused("the Grant was deleted".to_owned())),
    })
}

/// Labels of others are let be, but for those by which another role would take over what was approved for one person.
async fn not_aggregated(reader: &Reader, made: &DynamicObject) -> Result<(), Unconfirmed> {
    let labels = made.metadata.labels.clone().unwrap_or_default();
    match reader.aggregating(&labels).await {
        Read::Missing => Ok(()),
        Read::Found(role) => Err(Unconfirmed::Refused(format!(
            "by its labels ClusterRole {role} takes over its rules, and with them whoever holds that. Exclude \
             ClusterRoles named lapse:* from whatever adds labels"
        ))),
        Read::Failed(why) => Err(Unconfirmed::Unknown(why)),
    }
}

fn marker(objects: Vec<ObjectSpec>) -> Option<ObjectSpec> {
    objects.into_iter().find(|object| matches!(object.content, Content::Marker { .. }))
}

/// The marker of a Grant and what stands in its place, looked at beside the Grant itself.
async fn early_marker(reader: &Reader, grant: &str) -> Option<(ObjectSpec, Read<LiveObject>)> {
    let known = reader.index().grant(grant)?;
    let marker = marker(ObjectSpec::all_of_live(known.live()?, &reader.settings().namespace))?;
    let live = objects::look(reader.client(), &marker).await;
    Some((marker, live))
}

/// Waits for the marker of a Grant, which the controller sends before its bindings or beside them.
async fn marked(
    reader: &Reader,
    grant: &Grant,
    early: Option<(ObjectSpec, Read<LiveObject>)>,
) -> Result<(), Unconfirmed> {
    let home = &reader.settings().namespace;
    let uid = grant.metadata.uid.as_deref().unwrap_or_default();
    // Those of releases that knew no sessions have none.
    let Some(marker) = marker(ObjectSpec::all_of(grant, home)) else { return Ok(()) };
    let mut early = early.filter(|(known, _)| *known == marker).map(|(_, live)| live);
    let mut pause = Duration::from_millis(1);
    let until = Instant::now() + Occasion::Confirm { unasked: false }.patience();
    loop {
        let live = match early.take() {
            Some(live) => live,
            None => objects::look(reader.client(), &marker).await,
        };
        match live {
            Read::Found(live) if marker.is_intact(&live, uid) => return Ok(()),
            Read::Found(_) => {
                return Err(Unconfirmed::Refused("its marker is another's".to_owned()));
            }
            Read::Missing if Instant::now() >= until => {
                return Err(Unconfirmed::Refused("its marker does not stand".to_owned()));
            }
            Read::Failed(why) if Instant::now() >= until => {
                return Err(Unconfirmed::Unknown(why));
            }
            Read::Missing | Read::Failed(_) => tokio::time::sleep(pause).await,
        }
        pause = (2 * pause).min(Duration::from_millis(50));
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
        .map_err(|error| NotAdmitted::invalid("metadata", format!("it cannot be read: {error}")))?;
    if !expected.is_intact(&live, grant.metadata.uid.as_deref().unwrap_or_default()) {
        return Ok(Some("what it gives, or to whom,"));
    }
    Ok(confine::difference(&objects::manifest(grant, expected).metadata, &made.metadata))
}
