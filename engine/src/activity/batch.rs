//! Entries that travel together, signed with the key of their agent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::attest::read_key;

/// The version of the set of signed fields.
const VERSION: u32 = 1;
/// The most bytes of the lines of a batch.
pub const MOST_BYTES: usize = 64 * 1024;
/// The longest name of a series.
const LONGEST_NAME: usize = 64;

/// Entries that travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// What the agent calls the series that the entries are numbered in: a random name, another at each start.
    pub series: String,
    /// The number of the first entry.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// The entries, each a line of JSON.
    pub lines: String,
}

/// Why a batch is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It cannot be signed or read.
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
    series: &'a str,
    first: u64,
    last: u64,
    lines: String,
}

fn malformed(what: impl Into<String>) -> BatchError {
    BatchError::Malformed(what.into())
}

impl Batch {
    fn signed_bytes(&self, endpoint_uid: &str) -> Result<Vec<u8>, BatchError> {
        let Self { series, first, last, lines } = self;
        let lines = format!("sha256:{}", BASE64.encode(Sha256::digest(lines)));
        let signed = Signed {
            version: VERSION,
            kind: "Activity",
            endpoint_uid,
            series,
            first: *first,
            last: *last,
            lines,
        };
        serde_json_canonicalizer::to_vec(&signed).map_err(|error| malformed(error.to_string()))
    }

    /// The agent's signature, for the Endpoint of this UID. The same batch has the same one each time.
    pub fn sign(&self, endpoint_uid: &str, key: &SigningKey) -> Result<[u8; 64], BatchError> {
        Ok(key.sign(&self.signed_bytes(endpoint_uid)?).to_bytes())
    }

    /// The entries, as objects: one of a newer agent may say what this release does not know.
    fn entries(&self) -> Result<Vec<Map<String, Value>>, BatchError> {
        let mut expected = self.first;
        let mut entries = Vec::new();
        for line in self.lines.lines() {
            let entry: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| malformed(error.to_string()))?;
            if entry.get("sequence").and_then(Value::as_u64) != Some(expected) {
                return Err(malformed("its entries are not numbered as it says"));
            }
            expected = expected.saturating_add(1);
            entries.push(entry);
        }
        let is_whole = !entries.is_empty() && expected.checked_sub(1) == Some(self.last);
        is_whole.then_some(entries).ok_or_else(|| malformed("it lacks entries that it names"))
    }
}

/// Verifies a batch of an Endpoint with the key of its agent, in base64. Returns its entries.
pub fn verify_batch(
    public_key: &str,
    endpoint_uid: &str,
    batch: &Batch,
    signature: &[u8],
) -> Result<Vec<Map<String, Value>>, BatchError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric();
    if batch.lines.len() > MOST_BYTES {
        return Err(malformed(format!("it has more than {MOST_BYTES} bytes")));
    }
    if !(1..=LONGEST_NAME).contains(&batch.series.len()) || !batch.series.bytes().all(is_name) {
        return Err(malformed("the name of its series has other than letters and digits"));
    }
    let key = read_key(public_key)
        .ok_or_else(|| malformed("the agent's public key is not an Ed25519 key in base64"))?;
    let signature = Signature::from_slice(signature)
        .map_err(|_| malformed("its signature does not have 64 bytes"))?;
    key.verify_strict(&batch.signed_bytes(endpoint_uid)?, &signature)
        .map_err(|_| BatchError::Signature)?;
    batch.entries()
}
