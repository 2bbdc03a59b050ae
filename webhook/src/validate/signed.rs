//! Requests and decisions: stamped, signed, and never changed.

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use lapse_cluster::clock;
use lapse_crds::{ATTESTATION, AccessDecisionSpec, AccessRequestSpec, Identity, created_at};
use lapse_engine::attest::{AttestationError, KeySet, Subject, verify};
use serde_json::Value;

use crate::admission::{Admission, caller};
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::{Kind, Request};
use crate::size::check_size;

/// Admits a request or a decision.
pub(crate) async fn signed(
    admission: &Admission,
    kind: Kind,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(object) = &request.object else {
        return Err(NotAdmitted::Failed("The API server sent no object".to_owned()));
    };
    check_size(kind, request)?;
    if request.operation == Operation::Update {
        return unchanged(kind, object, request.old_object.as_ref()).map(|()| Admitted::default());
    }
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let stamp = stamp_of(kind, spec)?;
    // Told first: without a signature the stamp is whatever the client wrote.
    if !request.dry_run && annotation(object).is_none() {
        return Err(refusal(kind, &AttestationError::Absent));
    }
    if stamp.as_ref() != Some(&caller(&request.user_info)?) {
        return Err(NotAdmitted::Forbidden(format!(
            "spec.{} is not who you are. Lapse stamps it: leave it out of the manifest",
            field(kind)
        )));
    }
    // Dry runs are never signed, and never stored.
    if !request.dry_run {
        let now = clock::now();
        let first = check(&admission.key_set(), kind, request, object, now);
        match first {
            Err(error) if error.may_pass() => {
                admission.refresh_keys().await?;
                check(&admission.key_set(), kind, request, object, now)
            }
            other => other,
        }
        .map_err(|error| refusal(kind, &error))?;
    }
    Ok(Admitted::default())
}

fn refusal(kind: Kind, error: &AttestationError) -> NotAdmitted {
    let kind = kind.name();
    match error {
        AttestationError::Absent => NotAdmitted::Forbidden(format!(
            "this {kind} has not been stamped by Lapse. Ask whoever runs Lapse whether the \
             MutatingWebhookConfiguration lapse stands as installed"
        )),
        AttestationError::Mismatch => NotAdmitted::Forbidden(format!(
            "something changed this {kind} after Lapse had signed it. Ask whoever runs the cluster \
             which mutating webhook or policy changes objects of lapse.dev, and exclude them there"
        )),
        error => NotAdmitted::Failed(format!("This {kind} is not honoured: {error}")),
    }
}

fn field(kind: Kind) -> &'static str {
    match kind {
        Kind::AccessDecision => "decider",
        _ => "requester",
    }
}

/// Who the object says made it. What cannot be read has not been judged either.
fn stamp_of(kind: Kind, spec: &Value) -> Result<Option<Identity>, NotAdmitted> {
    let stamp = match kind {
        Kind::AccessDecision => {
            serde_json::from_value(spec.clone()).map(|spec: AccessDecisionSpec| spec.decider)
        }
        _ => serde_json::from_value(spec.clone()).map(|spec: AccessRequestSpec| spec.requester),
    };
    stamp.map_err(|error| NotAdmitted::Invalid(format!("spec: {error}")))
}

fn check(
    keys: &KeySet,
    kind: Kind,
    request: &Request,
    object: &DynamicObject,
    now: DateTime<Utc>,
) -> Result<(), AttestationError> {
    let metadata = &object.metadata;
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let subject = Subject {
        kind: kind.name(),
        namespace: request.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
        generate_name: metadata.generate_name.as_deref().unwrap_or_default(),
        spec,
    };
    let created = created_at(metadata).unwrap_or(now);
    verify(keys, &subject, annotation(object), created).map(drop)
}

fn annotation(object: &DynamicObject) -> Option<&str> {
    let annotations = object.metadata.annotations.as_ref()?;
    annotations.get(ATTESTATION).map(String::as_str)
}

/// Approvals are bound to what was asked, so what was asked stays.
fn unchanged(
    kind: Kind,
    object: &DynamicObject,
    old: Option<&DynamicObject>,
) -> Result<(), NotAdmitted> {
    let Some(old) = old else {
        return Err(NotAdmitted::Failed("The API server sent no old object".to_owned()));
    };
    if object.data.get("spec") != old.data.get("spec") {
        let instead = match kind {
            Kind::AccessDecision => "Make another decision instead",
            _ => "Delete it and make another request",
        };
        return Err(NotAdmitted::Invalid(format!(
            "the spec of an {} cannot be changed once it is made. {instead}",
            kind.name()
        )));
    }
    if annotation(object) != annotation(old) {
        return Err(NotAdmitted::Invalid(format!(
            "the annotation {ATTESTATION} is Lapse's signature over this {}: it can be neither \
             changed nor removed",
            kind.name()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
