//! The public keys that attestations are verified with.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use lapse_crds::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Attestation, AttestationError};
use crate::role::hex;

/// A public key as it is published: one entry of the config map `lapse-attestation-keys`, under the
/// identifier of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicKey {
    /// The key, in base64.
    pub ed25519: String,
    /// Nothing that was admitted before this is verified with the key.
    pub valid_from: Timestamp,
    /// Nothing that was admitted at this time or later is verified with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
}

/// Why a published key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The entry is not what was published.
    #[error("the public key {id} cannot be read: {why}")]
    Malformed {
        /// The identifier of the entry.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// The entry stands under another key's identifier.
    #[error("the public key under {id} is not the key {id}")]
    WrongId {
        /// The identifier of the entry.
        id: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: VerifyingKey,
    valid_from: DateTime<Utc>,
    retired_at: Option<DateTime<Utc>>,
}

/// The keys that are known. Empty: nothing verifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(BTreeMap<String, Entry>);

/// The identifier of a key: the first 16 hexadecimal digits of the SHA-256 of its bytes.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    let mut id = hex(&Sha256::digest(key.as_bytes()));
    id.truncate(16);
    id
}

impl PublicKey {
    /// A key that is in force from this time on.
    #[must_use]
    pub fn new(key: &VerifyingKey, valid_from: DateTime<Utc>) -> Self {
        Self {
            ed25519: BASE64.encode(key.as_bytes()),
            valid_from: valid_from.into(),
            retired_at: None,
        }
    }
}

impl KeySet {
    /// Reads the published keys. One that cannot be read is left out and reported; the others hold.
    pub fn read<'a>(
        published: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> (Self, Vec<KeyError>) {
        let mut keys = BTreeMap::new();
        let mut errors = Vec::new();
        for (id, text) in published {
            match read_entry(id, text) {
                Ok(entry) => {
                    keys.insert(id.clone(), entry);
                }
                Err(error) => errors.push(error),
            }
        }
        (Self(keys), errors)
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys are in force at this time.
    #[must_use]
    pub fn in_force_at(&self, at: DateTime<Utc>) -> usize {
        self.0.keys().filter(|id| self.in_force(id, at).is_ok()).count()
    }

    /// Whether an attestation that was verified before still holds: its key may have been distrusted since. A key is
    /// known by a hash of itself, so its bytes are the same.
    pub fn still_honours(&self, attestation: &Attestation) -> Result<(), AttestationError> {
        self.in_force(&attestation.key, attestation.admitted_at.time()).map(drop)
    }

    pub(super) fn in_force(
        &self,
        id: &str,
        at: DateTime<Utc>,
    ) -> Result<&VerifyingKey, AttestationError> {
        let entry = self.0.get(id).ok_or_else(|| AttestationError::UnknownKey(id.to_owned()))?;
        let retired = entry.retired_at.is_some_and(|retired_at| at >= retired_at);
        if at < entry.valid_from || retired {
            return Err(AttestationError::KeyNotInForce(id.to_owned()));
        }
        Ok(&entry.key)
    }
}

fn read_entry(id: &str, text: &str) -> Result<Entry, KeyError> {
    let malformed = |why: String| KeyError::Malformed { id: id.to_owned(), why };
    let published: PublicKey =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let bytes = BASE64.decode(&published.ed25519).map_err(|error| malformed(error.to_string()))?;
    let bytes = bytes.try_into().map_err(|_| malformed("it is not 32 bytes long".into()))?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|error| malformed(error.to_string()))?;
    if key_id(&key) != id {
        return Err(KeyError::WrongId { id: id.to_owned() });
    }
    Ok(Entry {
        key,
        valid_from: published.valid_from.time(),
        retired_at: published.retired_at.map(Timestamp::time),
    })
}
