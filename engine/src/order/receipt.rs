//! What a host answers, signed with its own key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use lapse_crds::{OrderState, OrderStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::attest::{read_key, read_signature};

/// The version of the set of signed fields.
const VERSION: u32 = 1;

/// What an agent says of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The name of the Grant.
    pub grant: String,
    /// The UID of the request that it was given for.
    pub request_uid: String,
    /// Where it stands.
    pub state: OrderState,
    /// Since when, by the clock of the host.
    pub since: Timestamp,
    /// Why, for `Failed` and `Ending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A number that grows with each receipt for this order.
    pub sequence: i64,
}

/// Why a receipt is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Another key signed it, or it is not what was signed.
    #[error("it is not signed with the key of the agent that enrolled")]
    Signature,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    version: u32,
    kind: &'static str,
    endpoint_uid: &'a str,
    #[serde(flatten)]
    receipt: &'a Receipt,
}

fn signed_bytes(endpoint_uid: &str, receipt: &Receipt) -> Result<Vec<u8>, ReceiptError> {
    let signed = Signed { version: VERSION, kind: "Receipt", endpoint_uid, receipt };
    serde_json_canonicalizer::to_vec(&signed)
        .map_err(|error| ReceiptError::Malformed(error.to_string()))
}

impl Receipt {
    /// Signs it, for the Endpoint of this UID.
    pub fn sign(self, endpoint_uid: &str, key: &SigningKey) -> Result<OrderStatus, ReceiptError> {
        let signature = key.sign(&signed_bytes(endpoint_uid, &self)?);
        let Self { grant, request_uid, state, since, message, sequence } = self;
        let signature = BASE64.encode(signature.to_bytes());
        Ok(OrderStatus { grant, request_uid, state, since, message, sequence, signature })
    }
}

/// Verifies what an Endpoint says of an order with the key of its agent, in base64.
pub fn verify_receipt(
    public_key: &str,
    endpoint_uid: &str,
    status: &OrderStatus,
) -> Result<Receipt, ReceiptError> {
    let malformed = |what: &str| ReceiptError::Malformed(what.to_owned());
    let key = read_key(public_key)
        .ok_or_else(|| malformed("the agent's public key is not an Ed25519 key in base64"))?;
    let OrderStatus { grant, request_uid, state, since, message, sequence, signature } =
        status.clone();
    let signature = read_signature(&signature)
        .ok_or_else(|| malformed("its signature is not 64 bytes in base64"))?;
    let receipt = Receipt { grant, request_uid, state, since, message, sequence };
    key.verify_strict(&signed_bytes(endpoint_uid, &receipt)?, &signature)
        .map_err(|_| ReceiptError::Signature)?;
    Ok(receipt)
}
