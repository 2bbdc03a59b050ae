//! Grants: written for a request that is approved, as it was approved.

use futures::FutureExt as _;
use lapse_cluster::{Freshness, RequestAsOf, clock};
use lapse_crds::{AccessRequest, Grant};
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
    // What to look at follows from the spec of the request, which never changes.
    let asked = match admission.reader().request(&of.namespace, &of.name).await {
        Read::Found(asked) => asked.object,
        Read::Missing => return Err(gone(&what)),
        Read::Failed(why) => return Err(NotAdmitted::Failed(why)),
    };
    let look = async |as_of: RequestAsOf| look(admission, &asked, as_of, &what).await;
    let observed = look(as_new_as_needed(&asked, &grant)).await?;
    if !has_unknown_key(&observed) && confine::grant(observed, &grant, clock::now()).is_ok() {
        return Ok(Admitted::default());
    }
    // What was at hand may lack the approval that the Grant is written for.
    let mut observed = look(RequestAsOf::NOW).await?;
    if has_unknown_key(&observed) {
        admission.refresh_keys().await?;
        observed = look(RequestAsOf::NOW).await?;
    }
    confine::grant(observed, &grant, clock::now()).map_err(|why| refusal(&what, why))?;
    Ok(Admitted::default())
}

/// How new the lists must be to let a Grant through: as new as the controller needs them to write it. Others
/// are as the API server has them at hand, or each right would cost up to 100 ms. What those miss, a Deny of
/// the last milliseconds, the controllers find when the right is held, and end it then
/// (docs/decisions/0011).
pub(super) fn as_new_as_needed(request: &AccessRequest, grant: &Grant) -> RequestAsOf {
    let is_unasked = grant.spec.approved_by.is_empty();
    let as_of = RequestAsOf::to_give(request, is_unasked, Freshness::AtHand);
    RequestAsOf { engaging: Freshness::Now, ..as_of }
}

async fn look(
    admission: &Admission,
    asked: &AccessRequest,
    as_of: RequestAsOf,
    what: &str,
) -> Result<Observed, NotAdmitted> {
    let observed = admission.reader().observe_request(asked, as_of).boxed().await;
    let observed = observed.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    observed.ok_or_else(|| gone(what))
}

fn gone(what: &str) -> NotAdmitted {
    NotAdmitted::NotConfirmed(format!("{what}: there is none"))
}

/// Whether another replica of this webhook may have signed a moment ago, with a key that it had just made.
fn has_unknown_key(observed: &Observed) -> bool {
    let of_request = observed.request.attestation.as_ref().err();
    let decisions = observed.decisions.found().into_iter().flatten();
    let of_decisions = decisions.filter_map(|decision| decision.attestation.as_ref().err());
    of_request.into_iter().chain(of_decisions).any(AttestationError::may_pass)
}
