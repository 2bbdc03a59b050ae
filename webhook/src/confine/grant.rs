//! Grants: written for a request that is approved, as it was approved.

use futures::FutureExt as _;
use kube::core::DynamicObject;
use lapse_cluster::{Occasion, clock};
use lapse_crds::{ATTESTATION, Grant};
use lapse_engine::attest::{AttestationError, Subject, verify_content};
use lapse_engine::confine;
use lapse_engine::order::ORDER_KIND;
use lapse_engine::request::Observed;
use serde_json::Value;

use super::{decode, has_unknown_keys, refusal, unobserved};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::news::Patience;
use crate::stamp::check_name;

/// Admits a Grant. One that gives a right on a host must carry the signature that its agent asks for.
pub(crate) async fn grant(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let object = object_of(request)?;
    let mut grant: Grant = decode(object)?;
    if grant.spec.target.endpoint.is_some() && !request.dry_run {
        let annotations = grant.metadata.annotations.as_mut();
        let signature = annotations.and_then(|all| all.remove(ATTESTATION));
        let subject = Subject {
            kind: ORDER_KIND,
            namespace: "",
            name: grant.metadata.name.as_deref().unwrap_or_default(),
            generate_name: "",
            spec: object.data.get("spec").unwrap_or(&Value::Null),
        };
        let verified = verify_content(&admission.key_set(), &subject, signature.as_deref());
        if let Err(why) = verified {
            return Err(NotAdmitted::Failed(format!(
                "The order is not signed as it stands: {why}"
            )));
        }
    }
    confirm(admission, &grant).await
}

/// Confirms a Grant that gives a right on a host, before it is signed.
pub(crate) async fn order(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    confirm(admission, &decode(object_of(request)?)?).await
}

fn object_of(request: &Request) -> Result<&DynamicObject, NotAdmitted> {
    let missing = || NotAdmitted::Failed("The API server sent no object".to_owned());
    request.object.as_ref().ok_or_else(missing)
}

async fn confirm(admission: &Admission, grant: &Grant) -> Result<Admitted, NotAdmitted> {
    let of = &grant.spec.request;
    check_name("spec.request.namespace", &of.namespace)?;
    check_name("spec.request.name", &of.name)?;
    let what = format!("no such Grant follows from AccessRequest {}/{}", of.namespace, of.name);
    let reader = admission.reader();
    let unasked = grant.spec.approved_by.is_empty();
    let look = async || {
        let occasion = Occasion::Confirm { unasked };
        let policy = Some(&*grant.spec.policy.name);
        let observed = reader.observe_request(of, policy, occasion).boxed().await;
        let observed = observed.map_err(|error| unobserved(&what, &error))?;
        observed.ok_or_else(|| gone(&what))
    };
    // What was seen here may lack the approval that the Grant is written for.
    let mut patience = Patience::of(reader.index(), Occasion::Confirm { unasked });
    let mut observed = look().await?;
    if has_unknown_key(&observed) {
        admission.refresh_keys().await?;
        reader.index().verify_again();
        observed = look().await?;
    }
    loop {
        let Err(why) = confine::grant(observed, grant, clock::now()) else {
            return Ok(Admitted::default());
        };
        if !patience.outlasts().await {
            return Err(refusal(&what, why));
        }
        observed = look().await?;
    }
}

fn gone(what: &str) -> NotAdmitted {
    NotAdmitted::NotConfirmed(format!("{what}: there is none"))
}

/// Whether another replica of this webhook may have signed a moment ago, with a key that it had just made.
fn has_unknown_key(observed: &Observed) -> bool {
    let of_request = observed.request.attestation.as_ref().err();
    of_request.is_some_and(AttestationError::may_pass) || has_unknown_keys(&observed.decisions)
}
