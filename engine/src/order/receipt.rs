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
    /// Whether the holder ended it on the host. Not among the signed fields: a release that does not know it could not
    /// verify the others. It has a signature of its own.
    #[serde(skip)]
    pub ended_by_holder: bool,
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

/// What a signature of an agent says.
#[derive(Clone, Copy, Serialize)]
enum Statement {
    /// How an order stands.
    Receipt,
    /// That its holder ended it on the host.
    EndedByHolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    version: u32,
    kind: Statement,
    endpoint_uid: &'a str,
    #[serde(flatten)]
    receipt: &'a Receipt,
}

fn signed_bytes(
    kind: Statement,
    endpoint_uid: &str,
    receipt: &Receipt,
) -> Result<Vec<u8>, ReceiptError> {
    let signed = Signed { version: VERSION, kind, endpoint_uid, receipt };
    serde_json_canonicalizer::to_vec(&signed)
        .map_err(|error| ReceiptError::Malformed(error.to_string()))
}

impl Receipt {
    /// Signs it, for the Endpoint of this UID.
    pub fn sign(self, endpoint_uid: &str, key: &SigningKey) -> Result<OrderStatus, ReceiptError> {
        let signed = |kind| -> Result<String, ReceiptError> {
            let signature = key.sign(&signed_bytes(kind, endpoint_uid, &self)?);
            Ok(BASE64.encode(signature.to_bytes()))
        };
        let signature = signed(Statement::Receipt)?;
        let by_holder = self.ended_by_holder.then(|| signed(Statement::EndedByHolder));
        let ended_by_holder = by_holder.transpose()?;
        let Self { grant, request_uid, state, since, message, sequence, ended_by_holder: _ } = self;
        Ok(OrderStatus {
            grant,
            request_uid,
            state,
            since,
            message,
            sequence,
            signature,
            ended_by_holder,
        })
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
    let OrderStatus {
        grant,
        request_uid,
        state,
        since,
        message,
        sequence,
        signature,
        ended_by_holder: by_holder,
    } = status.clone();
    let ended_by_holder = by_holder.is_some();
    let receipt = Receipt { grant, request_uid, state, since, message, sequence, ended_by_holder };
    let by_holder = by_holder.map(|signature| (Statement::EndedByHolder, signature));
    for (kind, signature) in [(Statement::Receipt, signature)].into_iter().chain(by_holder) {
        let signature = read_signature(&signature)
            .ok_or_else(|| malformed("its signature is not 64 bytes in base64"))?;
        key.verify_strict(&signed_bytes(kind, endpoint_uid, &receipt)?, &signature)
            .map_err(|_| ReceiptError::Signature)?;
    }
    Ok(receipt)
}
