//! Whom a host trusts: the keys that sign orders, from the one that was pinned at its enrolment on, and the authorities
//! of the gateway's certificates, which those keys sign for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use lapse_crds::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::attest::{self, KeySet, PublicKey, key_id};
use crate::role::hex;

/// The version of the set of signed fields.
const VERSION: u32 = 1;

/// What an installation publishes for its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishedTrust {
    /// The key that signs orders now, in base64.
    pub key: String,
    /// From when on.
    pub valid_from: Timestamp,
    /// How each key followed on the one before, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub successions: Vec<Succession>,
    /// Who signs the gateway's certificates.
    pub authorities: Authorities,
}

/// A key follows on another, which signs that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Succession {
    /// The identifier of the key that signed this.
    pub previous: String,
    /// The key that follows, in base64.
    pub key: String,
    /// From when on it is in force.
    pub valid_from: Timestamp,
    /// From when on the previous one is not.
    pub retires_previous_at: Timestamp,
    /// The signature of the previous key, in base64.
    pub signature: String,
}

/// The authorities of the gateway's certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorities {
    /// Their certificates, in PEM.
    pub certificates: String,
    /// When this was said. What was said earlier is not heard again.
    pub issued_at: Timestamp,
    /// The identifier of the key that signed this.
    pub key: String,
    /// Its signature, in base64.
    pub signature: String,
}

/// Why what is published is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// The key is not the one that was pinned.
    #[error(
        "its key has the pin {found}, and {pinned} was given: this is another installation, or its keys were replaced \
         since the pin was read. Read the pin again from the cluster"
    )]
    Pin {
        /// What it has.
        found: String,
        /// What was given.
        pinned: String,
    },
    /// No succession leads from a trusted key to this one.
    #[error(
        "no trusted key signed for the key {0}: keys were replaced in an emergency, or this is not the installation \
         that this host enrolled with. Enrol this host again"
    )]
    Broken(String),
    /// A signature is of something else.
    #[error("a signature in it does not match its content")]
    Signature,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedSuccession<'a> {
    version: u32,
    kind: &'static str,
    previous: &'a str,
    key: &'a str,
    valid_from: Timestamp,
    retires_previous_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedAuthorities<'a> {
    version: u32,
    kind: &'static str,
    certificates: &'a str,
    issued_at: Timestamp,
}

fn canonical(value: &impl Serialize) -> Result<Vec<u8>, TrustError> {
    serde_json_canonicalizer::to_vec(value)
        .map_err(|error| TrustError::Malformed(error.to_string()))
}

/// What identifies a key to whoever enrols a host: `sha256:` and the SHA-256 of its 32 bytes.
#[must_use]
pub fn pin_of(key: &VerifyingKey) -> String {
    format!("sha256:{}", hex(&Sha256::digest(key.as_bytes())))
}

/// Signs that a key follows on this one.
pub fn sign_succession(
    previous: &SigningKey,
    next: &VerifyingKey,
    valid_from: DateTime<Utc>,
    retires_previous_at: DateTime<Utc>,
) -> Result<Succession, TrustError> {
    let (valid_from, retires_previous_at) = (valid_from.into(), retires_previous_at.into());
    let id = key_id(&previous.verifying_key());
    let key = BASE64.encode(next.as_bytes());
    let signature = previous.sign(&succession_bytes(&id, &key, valid_from, retires_previous_at)?);
    let signature = BASE64.encode(signature.to_bytes());
    Ok(Succession { previous: id, key, valid_from, retires_previous_at, signature })
}

fn succession_bytes(
    previous: &str,
    key: &str,
    valid_from: Timestamp,
    retires_previous_at: Timestamp,
) -> Result<Vec<u8>, TrustError> {
    let kind = "Succession";
    canonical(&SignedSuccession {
        version: VERSION,
        kind,
        previous,
        key,
        valid_from,
        retires_previous_at,
    })
}

/// Signs for the authorities of the gateway's certificates.
pub fn sign_authorities(
    key: &SigningKey,
    certificates: String,
    issued_at: DateTime<Utc>,
) -> Result<Authorities, TrustError> {
    let issued_at = issued_at.into();
    let signature = key.sign(&authorities_bytes(&certificates, issued_at)?);
    Ok(Authorities {
        certificates,
        issued_at,
        key: key_id(&key.verifying_key()),
        signature: BASE64.encode(signature.to_bytes()),
    })
}

fn authorities_bytes(certificates: &str, issued_at: Timestamp) -> Result<Vec<u8>, TrustError> {
    canonical(&SignedAuthorities { version: VERSION, kind: "Authorities", certificates, issued_at })
}

fn read_key(text: &str) -> Result<VerifyingKey, TrustError> {
    attest::read_key(text)
        .ok_or_else(|| TrustError::Malformed("a key is not an Ed25519 key in base64".to_owned()))
}

fn check(key: &VerifyingKey, bytes: &[u8], signature: &str) -> Result<(), TrustError> {
    let signature = attest::read_signature(signature)
        .ok_or_else(|| TrustError::Malformed("a signature is not 64 bytes in base64".to_owned()))?;
    key.verify_strict(bytes, &signature).map_err(|_| TrustError::Signature)
}

/// Whom one host trusts, as it keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustStore {
    keys: BTreeMap<String, PublicKey>,
    authorities: Authorities,
}

impl TrustStore {
    /// At an enrolment: believes what is published if its key is the one that was pinned.
    pub fn pinned(published: &PublishedTrust, pin: &str) -> Result<Self, TrustError> {
        let key = read_key(&published.key)?;
        let found = pin_of(&key);
        if found != pin {
            return Err(TrustError::Pin { found, pinned: pin.to_owned() });
        }
        let keys =
            BTreeMap::from([(key_id(&key), PublicKey::new(&key, published.valid_from.time()))]);
        let store = Self { keys, authorities: published.authorities.clone() };
        store.check_authorities(&published.authorities)?;
        Ok(store)
    }

    /// Later: follows the successions from the keys that are trusted, and hears what those say. Returns whether anything
    /// is new. Nothing is taken over of what is not believed.
    pub fn follow(&mut self, published: &PublishedTrust) -> Result<bool, TrustError> {
        let mut next = self.clone();
        for succession in &published.successions {
            next.succeed(succession)?;
        }
        let current = key_id(&read_key(&published.key)?);
        if !next.keys.contains_key(&current) {
            return Err(TrustError::Broken(current));
        }
        let said = &published.authorities;
        next.check_authorities(said)?;
        if said.issued_at > next.authorities.issued_at {
            next.authorities = said.clone();
        }
        let is_new = next != *self;
        *self = next;
        Ok(is_new)
    }

    fn succeed(&mut self, succession: &Succession) -> Result<(), TrustError> {
        let Succession { previous, key, valid_from, retires_previous_at, signature } = succession;
        let successor = read_key(key)?;
        // What is not known was before the pinned key, or follows on another.
        let Some(known) = self.keys.get_mut(previous) else { return Ok(()) };
        let bytes = succession_bytes(previous, key, *valid_from, *retires_previous_at)?;
        check(&read_key(&known.ed25519)?, &bytes, signature)?;
        // Whom a key names first is its one successor: a key that leaked after its time names no other.
        match known.retired_at {
            Some(_) => return Ok(()),
            None => known.retired_at = Some(*retires_previous_at),
        }
        self.keys
            .entry(key_id(&successor))
            .or_insert_with(|| PublicKey::new(&successor, valid_from.time()));
        Ok(())
    }

    fn check_authorities(&self, said: &Authorities) -> Result<(), TrustError> {
        let known = self.keys.get(&said.key).ok_or_else(|| TrustError::Broken(said.key.clone()))?;
        let bytes = authorities_bytes(&said.certificates, said.issued_at)?;
        check(&read_key(&known.ed25519)?, &bytes, &said.signature)
    }

    /// The keys that orders are verified with.
    #[must_use]
    pub fn keys(&self) -> KeySet {
        let texts: BTreeMap<String, String> = self
            .keys
            .iter()
            .filter_map(|(id, key)| Some((id.clone(), serde_json::to_string(key).ok()?)))
            .collect();
        KeySet::read(&texts).0
    }

    /// The authorities of the gateway's certificates, in PEM.
    #[must_use]
    pub fn authorities(&self) -> &str {
        &self.authorities.certificates
    }
}
