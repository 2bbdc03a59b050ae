//! Decisions: deleted when what they are about is over and its retention has passed, and not before. A Deny
//! that the controller could delete would protect from everybody but whoever stole its token.

use lapse_cluster::clock;
use lapse_crds::AccessDecision;
use lapse_engine::confine;
use lapse_engine::grant::grant_name;
use lapse_engine::retention::is_about;
use lapse_engine::{Read, retention};

use super::{decode, refusal};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::stamp::check_name;

/// Admits the deletion of a decision.
pub(crate) async fn decision(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(object) = &request.old_object else {
        return Err(NotAdmitted::Failed("The API server sent no old object".to_owned()));
    };
    let decision: AccessDecision = decode(object)?;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let about = &decision.spec.request.name;
    check_name("spec.request.name", about)?;
    let reader = admission.reader();
    let found = reader.request(namespace, about).await.map(|attested| attested.object);
    let retentions = match reader.index().retentions() {
        Read::Found(retentions) => retentions,
        Read::Missing => retention::Retentions::default(),
        Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
    };
    // One that was never stamped is about whichever request has the name.
    let uid_of = |found: &lapse_crds::AccessRequest| found.metadata.uid.clone();
    let own = found.found().and_then(uid_of).filter(|uid| is_about(&decision, uid));
    let grant = match decision.spec.request.uid.clone().or(own) {
        Some(uid) => reader.grant(&grant_name(namespace, about, &uid)).await,
        None => Read::Missing,
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let what = format!("AccessDecision {name} stays");
    confine::decision(&decision, &found, &grant, retentions, clock::now())
        .map_err(|why| refusal(&what, why))?;
    Ok(Admitted::default())
}
