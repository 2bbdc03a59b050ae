//! What a host is told, what it answers, and whom it trusts.
//!
//! An order is a Grant with the webhook's attestation of it: whoever carries it can read it and leave it out, and can
//! change nothing. The agent verifies it with keys of which the first was pinned at its enrolment, and each later one is
//! signed with the one before. A receipt is signed with the agent's key, so that whoever carries it back cannot say that
//! a right is gone which is not.

mod drift;
mod receipt;
#[cfg(test)]
mod tests;
mod trust;

use chrono::{DateTime, Utc};
use lapse_crds::{EndpointTarget, GrantSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attest::{self, AttestationError, KeySet};

pub use drift::{DriftReport, verify_drift};
pub use receipt::{Receipt, ReceiptError, verify_receipt};
pub use trust::{
    Authorities, PublishedTrust, Succession, TrustError, TrustStore, pin_of, sign_authorities,
    sign_succession,
};

/// The kind that the attestation of an order names.
pub const ORDER_KIND: &str = "Grant";

/// An order as it travels: the Grant, and the webhook's attestation of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The name of the Grant. It follows from the UID of its request, so it is never given twice.
    pub grant: String,
    /// The spec of the Grant, as it is stored.
    pub spec: Value,
    /// The content of its annotation `lapse.dev/attestation`.
    pub attestation: String,
}

/// The host that judges an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The name of its Endpoint.
    pub name: String,
    /// The UID of its Endpoint.
    pub uid: String,
}

/// An order that was verified: for this host, and by a key that it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedOrder {
    /// The name of the Grant.
    pub grant: String,
    /// What it says.
    pub spec: GrantSpec,
    /// What may be done, by whom.
    pub target: EndpointTarget,
    /// The local user who may.
    pub local_user: String,
    /// When the webhook confirmed it.
    pub admitted_at: DateTime<Utc>,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The webhook did not sign this.
    #[error("it is not what Lapse's webhook signed: {0}")]
    Attestation(#[from] AttestationError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// It says something that this release does not know, and that may limit the right.
    #[error("it has fields that this agent does not know; update the agent")]
    Unknown,
    /// It is for something else.
    #[error("it is for {found}, and this is {own}")]
    OtherHost {
        /// For which.
        found: String,
        /// What this host is.
        own: String,
    },
}

/// Verifies an order on its host. Its time is looked at by whoever carries it out, who has more clocks than one.
pub fn verify(keys: &KeySet, own: &Host, order: &Order) -> Result<VerifiedOrder, OrderError> {
    let subject = attest::Subject {
        kind: ORDER_KIND,
        namespace: "",
        name: &order.grant,
        generate_name: "",
        spec: &order.spec,
    };
    // What was signed without a name never verifies here: it would have to be generated from an empty one.
    let attestation = attest::verify_content(keys, &subject, Some(&order.attestation))?;
    let malformed = |error: serde_json::Error| OrderError::Malformed(error.to_string());
    let spec: GrantSpec = serde_json::from_value(order.spec.clone()).map_err(malformed)?;
    if serde_json::to_value(&spec).map_err(malformed)? != order.spec {
        return Err(OrderError::Unknown);
    }
    let missing = |what: &str| OrderError::Malformed(format!("it has no {what}"));
    let target = spec.target.endpoint.clone().ok_or_else(|| missing("target.endpoint"))?;
    let uid = target.uid.clone().ok_or_else(|| missing("target.endpoint.uid"))?;
    if (&target.name, &uid) != (&own.name, &own.uid) {
        return Err(OrderError::OtherHost {
            found: format!("{} ({uid})", target.name),
            own: format!("{} ({})", own.name, own.uid),
        });
    }
    let local_user =
        target.local_user.clone().ok_or_else(|| missing("target.endpoint.localUser"))?;
    if target.application.is_some() && target.program.is_none() {
        return Err(missing("target.endpoint.program"));
    }
    let admitted_at = attestation.admitted_at.time();
    Ok(VerifiedOrder { grant: order.grant.clone(), spec, target, local_user, admitted_at })
}
