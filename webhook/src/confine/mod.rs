//! What is written in the controller's name: let through only if the engine, asked again about what is
//! stored, would write the very same.
//!
//! So a stolen token of the controller gives nobody anything that was not approved. Who may do what at all,
//! and what the controller may do to objects that stand, the admission policies of the chart say.

mod decision;
mod grant;
mod object;

use kube::core::DynamicObject;
use lapse_cluster::ObserveError;
use lapse_crds::AccessDecision;
use lapse_engine::Read;
use lapse_engine::attest::{AttestationError, Attested};
use lapse_engine::confine::Unconfirmed;
use serde::de::DeserializeOwned;

pub(crate) use decision::decision;
pub(crate) use grant::{grant, order};
pub(crate) use object::object;

use crate::answer::NotAdmitted;

/// The object of a review, typed.
fn decode<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, NotAdmitted> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| NotAdmitted::invalid("spec", format!("it cannot be read: {error}")))
}

/// Whether somebody said something that was signed by a key which is not known here.
fn has_unknown_keys(decisions: &Read<Vec<Attested<AccessDecision>>>) -> bool {
    let decisions = decisions.found().into_iter().flatten();
    decisions.filter_map(|said| said.attestation.as_ref().err()).any(AttestationError::may_pass)
}

/// The answer when the engine would not write the same; `what` begins the sentence.
fn refusal(what: &str, why: Unconfirmed) -> NotAdmitted {
    match why {
        Unconfirmed::Refused(why) => NotAdmitted::NotConfirmed(format!("{what}: {why}")),
        Unconfirmed::Unknown(why) => NotAdmitted::Failed(format!("{what}: {why}")),
    }
}

/// The answer when it could not be told how something stands.
fn unobserved(what: &str, error: &ObserveError) -> NotAdmitted {
    match error {
        ObserveError::Unread(why) => NotAdmitted::Failed(why.clone()),
        ObserveError::MadeAnew(_) => NotAdmitted::NotConfirmed(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests;
