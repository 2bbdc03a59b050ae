//! What an agent says of what would outlast access on its host, signed with its own key: a gateway can withhold it, and can
//! accuse nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use lapse_crds::{ComparedGrant, Drift, DriftFinding};
use serde::{Deserialize, Serialize};

use super::ReceiptError;
use crate::attest::{read_key, read_signature};

/// The version of the set of signed fields.
const VERSION: u32 = 1;

/// What an agent found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// What would outlast access, the oldest first.
    pub findings: Vec<DriftFinding>,
    /// How many more there are.
    pub left_out: u32,
    /// The last Grants after whose end the host was compared with what it was before.
    pub compared: Vec<ComparedGrant>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    version: u32,
    kind: &'static str,
    endpoint_uid: &'a str,
    #[serde(flatten)]
    report: &'a DriftReport,
}

fn signed_bytes(endpoint_uid: &str, report: &DriftReport) -> Result<Vec<u8>, ReceiptError> {
    let signed = Signed { version: VERSION, kind: "Drift", endpoint_uid, report };
    serde_json_canonicalizer::to_vec(&signed)
        .map_err(|error| ReceiptError::Malformed(error.to_string()))
}

impl DriftReport {
    /// Signs it, for the Endpoint of this UID.
    pub fn sign(self, endpoint_uid: &str, key: &SigningKey) -> Result<Drift, ReceiptError> {
        let signature = key.sign(&signed_bytes(endpoint_uid, &self)?);
        let Self { findings, left_out, compared } = self;
        let signature = BASE64.encode(signature.to_bytes());
        Ok(Drift { findings, left_out, compared, signature })
    }
}

/// Verifies what an Endpoint says was found on its host with the key of its agent, in base64.
pub fn verify_drift(
    public_key: &str,
    endpoint_uid: &str,
    drift: &Drift,
) -> Result<DriftReport, ReceiptError> {
    let malformed = |what: &str| ReceiptError::Malformed(what.to_owned());
    let key = read_key(public_key)
        .ok_or_else(|| malformed("the agent's public key is not an Ed25519 key in base64"))?;
    let Drift { findings, left_out, compared, signature } = drift.clone();
    let signature = read_signature(&signature)
        .ok_or_else(|| malformed("its signature is not 64 bytes in base64"))?;
    let report = DriftReport { findings, left_out, compared };
    key.verify_strict(&signed_bytes(endpoint_uid, &report)?, &signature)
        .map_err(|_| ReceiptError::Signature)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_believed_of_its_own_agent_and_endpoint_alone() {
        let (key, other) = (SigningKey::from_bytes(&[5; 32]), SigningKey::from_bytes(&[6; 32]));
        let public = |key: &SigningKey| BASE64.encode(key.verifying_key().as_bytes());
        let compared =
            |found| ComparedGrant { grant: "shop-fix".into(), found, reverted: 0, unseen: None };
        let report = DriftReport { compared: vec![compared(0)], ..DriftReport::default() };
        let drift = report.clone().sign("u-1", &key).unwrap();
        assert_eq!(verify_drift(&public(&key), "u-1", &drift), Ok(report));
        let forged = Drift { compared: vec![compared(1)], ..drift.clone() };
        for (by, endpoint, drift) in
            [(&other, "u-1", &drift), (&key, "u-2", &drift), (&key, "u-1", &forged)]
        {
            let refused = verify_drift(&public(by), endpoint, drift).unwrap_err();
            assert_eq!(refused, ReceiptError::Signature);
        }
    }
}
