//! Grants: written for a request that is approved, as it was approved.

use futures::FutureExt as _;
use lapse_cluster::{Occasion, clock};
use lapse_crds::Grant;
use lapse_engine::attest::AttestationError;
use lapse_engine::confine;
use lapse_engine::request::Observed;

use super::{decode, refusal, unobserved};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::Request;
use crate::news::Patience;
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
        let Err(why) = confine::grant(observed, &grant, clock::now()) else {
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
    let decisions = observed.decisions.found().into_iter().flatten();
    let of_decisions = decisions.filter_map(|decision| decision.attestation.as_ref().err());
    of_request.into_iter().chain(of_decisions).any(AttestationError::may_pass)
}
