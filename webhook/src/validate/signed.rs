//! Requests and decisions: stamped, signed, and never changed.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::core::DynamicObject;
use kube::core::admission::Operation;
use lapse_cluster::clock;
use lapse_crds::{
    ATTESTATION, AccessDecisionSpec, AccessRequestSpec, Identity, Origin, RequestPhase, created_at,
};
use lapse_engine::attest::{AttestationError, KeySet, Subject, verify};
use lapse_engine::do_all_fit;
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
        unchanged(kind, object, request.old_object.as_ref())?;
        let warnings = over(kind, request).into_iter().collect();
        return Ok(Admitted { warnings, ..Admitted::default() });
    }
    let spec = object.data.get("spec").unwrap_or(&Value::Null);
    let (stamp, origin) = stamp_of(kind, spec)?;
    // Told first: without a signature the stamp is whatever the client wrote.
    if !request.dry_run && annotation(object).is_none() {
        return Err(refusal(kind, &AttestationError::Absent));
    }
    let gateway = admission.reader().settings().gateway();
    let is_gateway = request.user_info.username.as_ref() == Some(&gateway);
    let is_stamped = |stamp: Identity| {
        if is_gateway {
            is_vouched_for(&stamp, origin.as_ref())
        } else {
            is_stamp_of(&stamp, &request.user_info)
        }
    };
    if !stamp.is_some_and(is_stamped) {
        return Err(NotAdmitted::Forbidden(format!(
            "spec.{} is not your identity. Lapse stamps it: leave it out of the manifest",
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

/// Whether a stamp is that of the caller. Of very many groups it has some.
fn is_stamp_of(stamp: &Identity, user: &UserInfo) -> bool {
    let Ok(caller) = caller(user) else { return false };
    let groups: HashSet<&String> = caller.groups.iter().collect();
    let named = caller.groups.iter().filter(|name| !name.is_empty()).count();
    // Destructured without `..`: a new field must be compared, too.
    let Identity {
        username,
        uid,
        groups: kept,
        groups_omitted,
        not_in_groups,
        credential_id,
        endpoint_user,
    } = stamp;
    let omitted = groups_omitted.map_or(0, |omitted| omitted as usize);
    (username, uid, credential_id) == (&caller.username, &caller.uid, &caller.credential_id)
        && kept.iter().all(|name| groups.contains(name))
        && kept.len() + omitted == named
        && groups_omitted.is_some() != do_all_fit(&caller.groups)
        && not_in_groups.iter().all(|name| !groups.contains(name))
        && endpoint_user.is_none()
}

/// Whether a stamp is that of somebody on a host, which is all that the gateway may submit. Who they are was verified before it
/// was signed.
fn is_vouched_for(stamp: &Identity, origin: Option<&Origin>) -> bool {
    // Destructured without `..`, too.
    let Identity {
        username,
        uid,
        groups,
        groups_omitted,
        not_in_groups,
        credential_id,
        endpoint_user,
    } = stamp;
    let is_of_host = endpoint_user.as_ref().zip(origin).is_some_and(|(who, origin)| {
        who.endpoint == origin.endpoint && who.local_user == origin.local_user
    });
    is_of_host
        && !username.is_empty()
        && (uid, credential_id, groups_omitted) == (&None, &None, &None)
        && groups.is_empty()
        && not_in_groups.is_empty()
}

fn refusal(kind: Kind, error: &AttestationError) -> NotAdmitted {
    let kind = kind.name();
    match error {
        AttestationError::Absent => NotAdmitted::Forbidden(format!(
            "this {kind} has not been stamped by Lapse. Ask whoever runs Lapse whether the \
             MutatingWebhookConfiguration lapse is as it was installed"
        )),
        AttestationError::Mismatch => NotAdmitted::Forbidden(format!(
            "something changed this {kind} after Lapse had signed it. Ask whoever runs the cluster \
             which mutating webhook or policy changes objects of lapse.dev, and exclude them there"
        )),
        error => NotAdmitted::Failed(format!("This {kind} is not accepted: {error}")),
    }
}

fn field(kind: Kind) -> &'static str {
    match kind {
        Kind::AccessDecision => "decider",
        _ => "requester",
    }
}

/// Who the object says made it, and which host vouches for that. What cannot be read has not been judged either.
fn stamp_of(kind: Kind, spec: &Value) -> Result<(Option<Identity>, Option<Origin>), NotAdmitted> {
    let stamp = match kind {
        Kind::AccessDecision => serde_path_to_error::deserialize(spec)
            .map(|spec: AccessDecisionSpec| (spec.decider, spec.origin)),
        _ => serde_path_to_error::deserialize(spec)
            .map(|spec: AccessRequestSpec| (spec.requester, spec.origin)),
    };
    stamp.map_err(|error| {
        let field = format!("spec.{}", error.path());
        let message = format!("{field}: {}", error.inner());
        NotAdmitted::invalid(field, message)
    })
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

/// Whoever applies their own request again that is over gets nothing by it. Others who write to it, such as components of
/// Lapse and Kubernetes, ask for nothing.
fn over(kind: Kind, request: &Request) -> Option<String> {
    let old = request.old_object.as_ref().filter(|_| kind == Kind::AccessRequest)?;
    let requester = old.data.get("spec")?.get("requester")?.get("username")?.as_str();
    if requester != request.user_info.username.as_deref() {
        return None;
    }
    let phase = old.data.get("status")?.get("phase")?;
    let phase: RequestPhase = serde_json::from_value(phase.clone()).ok()?;
    let name = old.metadata.name.as_deref().unwrap_or_default();
    phase.is_terminal().then(|| {
        format!(
            "request {name} is over ({phase}), and applying it again does nothing: create another one, with another \
             name or after deleting this one"
        )
    })
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
        let stamp = field(kind);
        let without = |object: &DynamicObject| {
            let mut spec = object.data.get("spec").cloned().unwrap_or_default();
            spec.as_object_mut().map(|spec| spec.remove(stamp));
            spec
        };
        if without(object) == without(old) {
            return Err(NotAdmitted::invalid_as_told(format!(
                "spec.{stamp} is stamped by Lapse when the {} is created, whatever the manifest says, and never \
                 changes: leave it out of the manifest",
                kind.name()
            )));
        }
        let instead = match kind {
            Kind::AccessDecision => "Create another decision instead",
            _ => "Delete it and create another request",
        };
        return Err(NotAdmitted::invalid_as_told(format!(
            "the spec of an {} cannot be changed once it is created. {instead}",
            kind.name()
        )));
    }
    if annotation(object) != annotation(old) {
        let message = format!(
            "the annotation {ATTESTATION} is Lapse's signature over this {}: it can be neither \
             changed nor removed",
            kind.name()
        );
        return Err(NotAdmitted::invalid("metadata.annotations", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
