//! Where a request was made, verified before it is signed: what does not verify is refused, and never passed over.

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{AccessRequest, AccessRequestSpec, Identity, Origin};
use lapse_engine::Read;
use lapse_engine::endpoint::EndpointFacts;
use lapse_engine::origin::Provenance;
use serde_json::{Map, Value};

use super::opened::check_name;
use crate::admission::Admission;
use crate::answer::NotAdmitted;
use crate::asked::Request;

/// Where a request says that it was made, and what is known of that Endpoint.
pub(super) struct Claim(Read<EndpointFacts>);

impl Claim {
    /// Reads it; `None` if a request says nothing of it, or what the schema refuses.
    pub(super) async fn read(
        admission: &Admission,
        request: &Request,
    ) -> Result<Option<Self>, NotAdmitted> {
        let origin = request.object.as_ref().and_then(|object| object.data.pointer("/spec/origin"));
        let Some(Ok(origin)) = origin.map(|said| serde_json::from_value::<Origin>(said.clone()))
        else {
            return Ok(None);
        };
        check_name("spec.origin.endpoint", &origin.endpoint)?;
        Ok(Some(Self(admission.reader().endpoint(&origin.endpoint).await)))
    }
}

/// Verifies that the agent of that host has signed this request, for a local user of its requester.
pub(super) fn verify(
    request: &Request,
    spec: &AccessRequestSpec,
    claim: Option<&Claim>,
    requester: &Identity,
    now: DateTime<Utc>,
) -> Result<(), NotAdmitted> {
    if spec.origin.is_none() {
        return Ok(());
    }
    let object = request.object.as_ref();
    let name = object.and_then(|object| object.metadata.name.clone()).unwrap_or_default();
    if name.is_empty() {
        return Err(NotAdmitted::invalid(
            "metadata.name",
            "metadata.name is required with spec.origin: an agent signs for one request, by its name",
        ));
    }
    let written = object.and_then(|object| object.data.get("spec")).and_then(Value::as_object);
    if written.map(without_stamps) != as_understood(spec)? {
        return Err(NotAdmitted::invalid(
            "spec.origin",
            "spec.origin is about what this release understands of the request, and something in the spec is written \
             otherwise: leave out what is empty or false, and write times with microseconds, as `kubectl jit request \
             --from-host` does",
        ));
    }
    let namespace = request.namespace.clone();
    let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
    let made = AccessRequest { metadata, spec: spec.clone(), status: None };
    match Provenance::of(&made, requester, now, claim.map(|Claim(endpoint)| endpoint)) {
        Provenance::Proven(_) | Provenance::Unsaid => Ok(()),
        Provenance::Void(why) => Err(NotAdmitted::invalid(
            "spec.origin",
            format!(
                "spec.origin proves nothing: {why}. Request again with `kubectl jit request --from-host` on that host, \
                 or without spec.origin"
            ),
        )),
        Provenance::Unknown(why) => Err(NotAdmitted::Failed(why)),
    }
}

/// What of a spec is asked: all but what says by whom and where.
fn without_stamps(spec: &Map<String, Value>) -> Map<String, Value> {
    let asked = spec.iter().filter(|(field, _)| !["requester", "origin"].contains(&&***field));
    asked.map(|(field, value)| (field.clone(), value.clone())).collect()
}

/// The same as it is understood: a field that this release does not know is none that an agent has signed.
fn as_understood(spec: &AccessRequestSpec) -> Result<Option<Map<String, Value>>, NotAdmitted> {
    let spec = serde_json::to_value(spec);
    let spec = spec.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    Ok(spec.as_object().map(without_stamps))
}

#[cfg(test)]
mod tests;
