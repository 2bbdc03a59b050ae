//! Grants: written for a request that is approved, as it was approved.

use futures::FutureExt as _;
use lapse_cluster::{RequestAsOf, clock};
use lapse_crds::Grant;
use lapse_engine::attest::AttestationError;
use lapse_engine::request::Observed;
use lapse_engine::{Read, confine};

use super::{decode, refusal};
use crate::admission::{Admission, Request};
use crate::answer::{Admitted, NotAdmitted};
use crate::stamp::check_name;

/// Admits a Grant.
pub(crate) async fn grant(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let Some(object) = &request.object else {
        return Err(NotAdmitted::Failed("The API server sent no object".to_owned()));
    };
    let grant: Grant = decode(object)?;
    let of = &grant.spec.request;
    check_name("spec.request.namespace", &of.namespace)?;
    check_name("spec.request.name", &of.name)?;
    let what = format!("no such Grant follows from AccessRequest {}/{}", of.namespace, of.name);
    let mut observed = look(admission, &grant, &what).boxed().await?;
    // A key that another replica of this webhook made a moment ago.
    if has_unknown_key(&observed) {
        admission.refresh_keys().await?;
        observed = look(admission, &grant, &what).boxed().await?;
    }
    confine::grant(observed, &grant, clock::now()).map_err(|why| refusal(&what, why))?;
    Ok(Admitted::default())
}

async fn look(admission: &Admission, grant: &Grant, what: &str) -> Result<Observed, NotAdmitted> {
    let reader = admission.reader();
    let of = &grant.spec.request;
    let gone = || NotAdmitted::NotConfirmed(format!("{what}: there is none"));
    // What to look at follows from the spec of the request.
    let known = match reader.request(&of.namespace, &of.name).await {
        Read::Found(known) => known.object,
        Read::Missing => return Err(gone()),
        Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
    };
    let observed = reader.observe_request(&known, RequestAsOf::NOW).boxed().await;
    let observed = observed.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    observed.ok_or_else(gone)
}

fn has_unknown_key(observed: &Observed) -> bool {
    let of_request = observed.request.attestation.as_ref().err();
    let decisions = observed.decisions.found().into_iter().flatten();
    let of_decisions = decisions.filter_map(|decision| decision.attestation.as_ref().err());
    of_request.into_iter().chain(of_decisions).any(AttestationError::may_pass)
}
