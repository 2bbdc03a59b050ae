//! Enrolment: the certificate of an agent, for a token that was never used, or for a key that is known.
//!
//! The gateway carries what an agent asks for into the status of its Endpoint. It is answered here and taken away again,
//! so that the token is never stored, and nothing else gives an agent a key.

use chrono::{DateTime, Utc};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use lapse_cluster::clock;
use lapse_crds::{Endpoint, EnrolledAgent, Enrolment, SigningRequest};
use lapse_engine::endpoint::{hash_of_token, wrong_token};

use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::keys::{Asked, Keys};

/// Answers what is asked for in the status of an Endpoint.
pub(crate) fn enrol(admission: &Admission, request: &Request) -> Result<Admitted, NotAdmitted> {
    let (new, old) = (read(request.object.as_ref())?, read(request.old_object.as_ref())?);
    let status = new.status.clone().unwrap_or_default();
    let known = old.status.unwrap_or_default().agent;
    let Some(asked) = status.signing else {
        if status.agent == known {
            return Ok(Admitted::default());
        }
        let message = "status.agent is the result of an enrolment, and nobody may write it";
        return Err(NotAdmitted::Forbidden(message.to_owned()));
    };
    // A certificate that nobody sees would be for nothing.
    let agent = if request.dry_run {
        known
    } else {
        Some(answer(&new, known, &asked, &*admission.keys()?, clock::now())?)
    };
    let done = if asked.token.is_some() { "enrolled" } else { "renewed" };
    Ok(Admitted { patch: Some(patch(agent)?), done, ..Admitted::default() })
}

fn read(object: Option<&kube::core::DynamicObject>) -> Result<Endpoint, NotAdmitted> {
    let object =
        object.ok_or_else(|| NotAdmitted::Failed("The API server sent no object".to_owned()))?;
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| NotAdmitted::invalid("status", format!("it cannot be read: {error}")))
}

/// The agent as it is known from now on.
fn answer(
    endpoint: &Endpoint,
    known: Option<EnrolledAgent>,
    asked: &SigningRequest,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<EnrolledAgent, NotAdmitted> {
    let name = endpoint.metadata.name.as_deref().unwrap_or_default();
    let uid = endpoint.metadata.uid.as_deref().unwrap_or_default();
    // The token comes first: whoever has none is told nothing of this Endpoint.
    let token_hash = asked.token.as_deref();
    let token_hash =
        token_hash.map(|token| check_token(endpoint, known.as_ref(), token, now)).transpose()?;
    if endpoint.metadata.deletion_timestamp.is_some() {
        return Err(NotAdmitted::Forbidden("this Endpoint is being deleted".to_owned()));
    }
    let csr =
        Asked::read(&asked.csr).map_err(|why| NotAdmitted::invalid("status.signing.csr", why))?;
    let agent = match token_hash {
        Some(token_hash) => {
            let machine = asked.machine.clone().ok_or_else(|| {
                NotAdmitted::invalid("status.signing.machine", "it says which machine enrols")
            })?;
            EnrolledAgent {
                public_key: csr.public_key.clone(),
                machine,
                enrolled_at: now.into(),
                token_hash,
                certificate: String::new(),
                certificate_expires_at: now.into(),
            }
        }
        None => known.filter(|agent| agent.public_key == csr.public_key).ok_or_else(|| {
            NotAdmitted::Forbidden(format!(
                "this is not the key of the agent that enrolled for Endpoint {name}; enrol again with a new token"
            ))
        })?,
    };
    let signed = keys.sign_agent(&csr, name, uid, now);
    let signed = signed.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    Ok(EnrolledAgent {
        certificate: signed.pem,
        certificate_expires_at: signed.expires.into(),
        ..agent
    })
}

/// Whether the token is the one that may be used, and was not yet; its hash.
fn check_token(
    endpoint: &Endpoint,
    known: Option<&EnrolledAgent>,
    token: &str,
    now: DateTime<Utc>,
) -> Result<String, NotAdmitted> {
    let name = endpoint.metadata.name.as_deref().unwrap_or_default();
    let refused = |why: &str| {
        let how = "ask an owner of it to set spec.enrolment to the hash of a new token";
        Err(NotAdmitted::Forbidden(format!("Endpoint {name} {why}; {how}")))
    };
    let hash = hash_of_token(token);
    let expected = endpoint.spec.enrolment.as_ref();
    let expected = expected.filter(|Enrolment { token_hash, .. }| *token_hash == hash);
    let Some(Enrolment { expires_at, .. }) = expected else {
        return Err(NotAdmitted::Forbidden(wrong_token(name)));
    };
    if known.is_some_and(|agent| agent.token_hash == hash) {
        return refused("has already used this token, and a token is good for one enrolment");
    }
    if now >= expires_at.time() {
        return refused(&format!("accepted this token until {expires_at}"));
    }
    Ok(hash)
}

fn patch(agent: Option<EnrolledAgent>) -> Result<Patch, NotAdmitted> {
    let path = |of: &str| PointerBuf::from_tokens(["status", of]);
    let mut operations = vec![PatchOperation::Remove(RemoveOperation { path: path("signing") })];
    if let Some(agent) = agent {
        let value =
            serde_json::to_value(agent).map_err(|error| NotAdmitted::Failed(error.to_string()))?;
        operations.push(PatchOperation::Add(AddOperation { path: path("agent"), value }));
    }
    Ok(Patch(operations))
}
