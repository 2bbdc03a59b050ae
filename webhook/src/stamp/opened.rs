//! The request that a decision is about.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessDecisionSpec, AccessRequest, Identity, Verdict, created_at};
use lapse_engine::attest::Attested;
use lapse_engine::target::ResolvedTarget;

use crate::admission::Admission;
use crate::answer::{NotAdmitted, known};

/// The fields that say what a decision is about.
pub(super) const REQUEST_NAME: &str = "spec.request.name";
pub(super) const REQUEST_UID: &str = "spec.request.uid";

/// A request that somebody decides about.
pub(super) struct Opened {
    pub(super) request: AccessRequest,
    pub(super) requester: Identity,
    pub(super) target: ResolvedTarget,
    pub(super) requested_at: DateTime<Utc>,
}

impl Opened {
    /// Reads it as it is now.
    pub(super) async fn read(
        admission: &Admission,
        namespace: &str,
        decision: &AccessDecisionSpec,
    ) -> Result<Self, NotAdmitted> {
        let name = &decision.request.name;
        Self::of(attested(admission, namespace, name, decision.verdict).await?, namespace, decision)
    }

    fn of(
        attested: Attested<AccessRequest>,
        namespace: &str,
        decision: &AccessDecisionSpec,
    ) -> Result<Self, NotAdmitted> {
        let name = &decision.request.name;
        let uid = attested.object.metadata.uid.clone().unwrap_or_default();
        check_uid(decision, namespace, &uid)?;
        // Taking a right back must work when the key that signed the request is gone.
        let requested_at = match attested.attestation {
            Ok(attestation) => attestation.admitted_at.time(),
            Err(_) if decision.verdict != Verdict::Approve => {
                created_at(&attested.object.metadata).unwrap_or_default()
            }
            Err(error) => {
                let message = format!(
                    "request {name} cannot be decided: {error}. Delete it and create it again"
                );
                return Err(NotAdmitted::invalid(REQUEST_NAME, message));
            }
        };
        let request = attested.object;
        let target = ResolvedTarget::resolve(&request.spec.target, namespace);
        let (Some(requester), Some(target)) = (request.spec.requester.clone(), target) else {
            let message = format!(
                "request {name} names no requester or no target, so nothing can be decided. Delete it and create it \
                 again"
            );
            return Err(NotAdmitted::invalid(REQUEST_NAME, message));
        };
        Ok(Self { request, requester, target, requested_at })
    }
}

/// The request. If its signature is by a key that this replica does not know yet, the keys are read
/// again: another replica may have made one a moment ago.
async fn attested(
    admission: &Admission,
    namespace: &str,
    name: &str,
    verdict: Verdict,
) -> Result<Attested<AccessRequest>, NotAdmitted> {
    let missing = || {
        let message = format!(
            "there is no AccessRequest {name} in namespace {namespace}; see `kubectl get areq -n \
             {namespace}`"
        );
        NotAdmitted::invalid(REQUEST_NAME, message)
    };
    let read = async || admission.reader().request(namespace, name).await;
    let first = known(read().await)?.ok_or_else(missing)?;
    match &first.attestation {
        // Saying no needs no signature, and waits for none.
        Err(error) if error.may_pass() && verdict == Verdict::Approve => {
            admission.refresh_keys().await?;
            known(read().await)?.ok_or_else(missing)
        }
        _ => Ok(first),
    }
}

/// An approval holds for what its author saw: one that names another UID was meant for a request of
/// the same name that is gone.
fn check_uid(
    decision: &AccessDecisionSpec,
    namespace: &str,
    actual: &str,
) -> Result<(), NotAdmitted> {
    let name = &decision.request.name;
    match decision.request.uid.as_deref() {
        Some(named) if named != actual => {
            let message = format!(
                "spec.request.uid is {named}, but request {name} has the UID {actual}: it was deleted and created \
                 again. Look at it with `kubectl get areq {name} -n {namespace} -o yaml, then decide about it again"
            );
            Err(NotAdmitted::invalid(REQUEST_UID, message))
        }
        _ => Ok(()),
    }
}

/// Refuses what is no name: it becomes part of a URL, and of a selector.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), NotAdmitted> {
    if is_object_name(name) {
        return Ok(());
    }
    let message = format!(
        "{field} is {name:?}, which is not the name of an object: lower case letters, digits, - and ., a letter or \
         digit at both ends of each part"
    );
    Err(NotAdmitted::invalid(field, message))
}

/// Whether this is a name that the API server gives to objects (RFC 1123 subdomain).
pub(super) fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().next_back().is_some_and(alphanumeric)
            && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
