//! Where a request was made, verified before it is signed: what does not verify is refused, and never passed over.

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{AccessRequest, AccessRequestSpec, Identity, Origin};
use lapse_engine::Read;
use lapse_engine::endpoint::EndpointFacts;
use lapse_engine::origin::{OriginError, Provenance};
use serde::Serialize;
use serde_json::{Map, Value};

use super::opened::check_name;
use crate::admission::Admission;
use crate::answer::NotAdmitted;
use crate::asked::Request;

/// Where a request says that it was made, and what is known of that Endpoint.
pub(super) struct Claim {
    origin: Origin,
    endpoint: Read<EndpointFacts>,
}

impl Claim {
    /// One that was read.
    #[cfg(test)]
    pub(super) fn of(origin: Origin, endpoint: Read<EndpointFacts>) -> Self {
        Self { origin, endpoint }
    }

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
        let endpoint = admission.reader().endpoint(&origin.endpoint).await;
        Ok(Some(Self { origin, endpoint }))
    }

    /// What it says, and what is known of its Endpoint.
    pub(super) fn found(&self) -> Result<(&Origin, &EndpointFacts), NotAdmitted> {
        match &self.endpoint {
            Read::Found(facts) => Ok((&self.origin, facts)),
            Read::Missing => Err(NotAdmitted::invalid(
                "spec.origin",
                format!(
                    "spec.origin proves nothing: {}",
                    OriginError::Missing(self.origin.endpoint.clone())
                ),
            )),
            Read::Failed(why) => Err(NotAdmitted::Failed(why.clone())),
        }
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
    check_understood(request, spec, &["requester"])?;
    let namespace = request.namespace.clone();
    let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
    let made = AccessRequest { metadata, spec: spec.clone(), status: None };
    match Provenance::of(&made, requester, now, claim.map(|claim| &claim.endpoint)) {
        Provenance::Proven(_) | Provenance::Unsaid => Ok(()),
        Provenance::Void(why) if requester.endpoint_user.is_some() => Err(NotAdmitted::invalid(
            "spec.origin",
            format!(
                "spec.origin proves nothing: {why}. Request again with `lapse request` on that host"
            ),
        )),
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

/// Refuses what is written otherwise than it is understood, but for these stamps: a field that this release does not know is
/// none that an agent has signed.
pub(super) fn check_understood<T: Serialize>(
    request: &Request,
    spec: &T,
    stamps: &[&str],
) -> Result<(), NotAdmitted> {
    let understood = serde_json::to_value(spec);
    let understood = understood.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    let written = request.object.as_ref().and_then(|object| object.data.get("spec"));
    let said = |spec: &Value| spec.as_object().map(|spec| without(spec, stamps));
    if written.and_then(said) == said(&understood) {
        return Ok(());
    }
    Err(NotAdmitted::invalid(
        "spec.origin",
        "spec.origin is about what this release understands of the request, and something in the spec is written \
         otherwise: leave out what is empty or false, and write times with microseconds, as `kubectl jit request \
         --from-host` does",
    ))
}

/// What of a spec is said: all but what says by whom and where.
fn without(spec: &Map<String, Value>, stamps: &[&str]) -> Map<String, Value> {
    let said = spec.iter().filter(|(field, _)| *field != "origin" && !stamps.contains(&&***field));
    said.map(|(field, value)| (field.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
