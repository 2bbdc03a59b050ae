//! The attestation: a signature by which a request or a decision proves that admission stamped it.
//!
//! The webhook signs with Ed25519 (RFC 8032) over the canonical JSON (RFC 8785) of what identifies
//! the object and everything that decides. At that moment an object has no UID and, with
//! `generateName`, no name, so neither can be signed; freshness against the creation time, and
//! counting a nonce once, close the gap.

mod attested;
mod keys;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use lapse_crds::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use attested::Attested;
pub use keys::{KeyError, KeySet, PublicKey, key_id};

/// The version of the set of signed fields.
const VERSION: u32 = 1;
/// The version where a host vouches for who it was, and no credential of the cluster. The fields are the same: a release that
/// knows no such thing would take the user name in the stamp for one that the API server authenticated, so it is to know
/// nothing of the whole.
const VOUCHED: u32 = 2;
/// How far the creation of an object may lie from its admission, either way.
const FRESHNESS: TimeDelta = TimeDelta::seconds(60);
/// The API server appends so many characters to a `generateName`…
const GENERATED_SUFFIX: usize = 5;
/// …of which it keeps so many (`k8s.io/apiserver/pkg/storage/names`).
const GENERATED_BASE: usize = 58;

/// The version that a spec needs.
fn version_of(spec: &Value) -> u32 {
    let is_vouched = |stamp: &str| {
        let who = spec.get(stamp).and_then(|stamp| stamp.get("endpointUser"));
        who.is_some_and(|who| !who.is_null())
    };
    if is_vouched("requester") || is_vouched("decider") { VOUCHED } else { VERSION }
}

/// What identifies an object, and everything in it that decides.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The kind of the object.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name; empty at admission when it is to be generated.
    pub name: &'a str,
    /// Its `generateName`; empty when absent.
    pub generate_name: &'a str,
    /// Its spec as it is stored, not as a type of ours reads it: a field that we do not know is
    /// signed too.
    pub spec: &'a Value,
}

/// The content of the annotation `lapse.dev/attestation`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attestation {
    /// The version of the set of signed fields.
    pub version: u32,
    /// Which key signed.
    pub key: String,
    /// When admission stamped the object.
    pub admitted_at: Timestamp,
    /// A number used once, in hexadecimal digits.
    pub nonce: String,
    /// Whether the name was known and signed; otherwise `generateName` was.
    pub named: bool,
    /// The signature, in base64.
    pub signature: String,
}

/// Why an object is not honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// The annotation is missing.
    #[error("it carries no attestation: it did not pass Lapse's admission webhook")]
    Absent,
    /// The annotation cannot be read.
    #[error("its attestation cannot be read: {0}")]
    Malformed(String),
    /// It was signed with another set of fields.
    #[error("its attestation has version {0}; this release knows versions {VERSION} and {VOUCHED}")]
    Version(u32),
    /// The key is not published. This can be a matter of time.
    #[error("its attestation was signed by the key {0}, which is not published")]
    UnknownKey(String),
    /// The key was not in force when the object was admitted.
    #[error("its attestation was signed by the key {0}, which was not in force then")]
    KeyNotInForce(String),
    /// The object was created at another time than it was admitted.
    #[error("it was created at {created}, but its attestation is of {admitted}")]
    Stale {
        /// When it was created.
        created: String,
        /// When it was admitted.
        admitted: Timestamp,
    },
    /// The name is not one that the API server would have generated.
    #[error("its name was not generated from the generateName that was signed")]
    Name,
    /// The signature is of something else.
    #[error("its attestation does not match its content")]
    Mismatch,
}

impl AttestationError {
    /// Whether waiting can help: a key is published by its webhook a moment after it was made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::UnknownKey(_))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedFields<'a> {
    version: u32,
    kind: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_name: Option<&'a str>,
    spec: &'a Value,
    admitted_at: Timestamp,
    nonce: &'a str,
}

fn signed_bytes(
    subject: &Subject<'_>,
    (version, named): (u32, bool),
    admitted_at: Timestamp,
    nonce: &str,
) -> Result<Vec<u8>, AttestationError> {
    let fields = SignedFields {
        version,
        kind: subject.kind,
        namespace: subject.namespace,
        name: named.then_some(subject.name),
        generate_name: (!named).then_some(subject.generate_name),
        spec: subject.spec,
        admitted_at,
        nonce,
    };
    serde_json_canonicalizer::to_vec(&fields)
        .map_err(|error| AttestationError::Malformed(error.to_string()))
}

/// Signs an object as admission sees it. The nonce must never repeat.
pub fn sign(
    key: &SigningKey,
    subject: &Subject<'_>,
    admitted_at: DateTime<Utc>,
    nonce: [u8; 16],
) -> Result<Attestation, AttestationError> {
    let admitted_at = Timestamp::new(admitted_at);
    let nonce = crate::role::hex(&nonce);
    let named = !subject.name.is_empty();
    let version = version_of(subject.spec);
    let signature = key.sign(&signed_bytes(subject, (version, named), admitted_at, &nonce)?);
    Ok(Attestation {
        version,
        key: key_id(&key.verifying_key()),
        admitted_at,
        nonce,
        named,
        signature: BASE64.encode(signature.to_bytes()),
    })
}

/// Verifies the annotation of a stored object. `created` is its creation time, to the second.
pub fn verify(
    keys: &KeySet,
    subject: &Subject<'_>,
    annotation: Option<&str>,
    created: DateTime<Utc>,
) -> Result<Attestation, AttestationError> {
    let attestation = verify_content(keys, subject, annotation)?;
    let admitted = attestation.admitted_at;
    if (created - admitted.time()).abs() > FRESHNESS {
        return Err(AttestationError::Stale { created: created.to_rfc3339(), admitted });
    }
    Ok(attestation)
}

/// Verifies who signed an object, and that it is what was signed; not that it is the one object that was made then. That
/// is enough for what carries its own end, and is told apart by a name that is never given again: an order.
pub fn verify_content(
    keys: &KeySet,
    subject: &Subject<'_>,
    annotation: Option<&str>,
) -> Result<Attestation, AttestationError> {
    let annotation = annotation.ok_or(AttestationError::Absent)?;
    let attestation: Attestation = serde_json::from_str(annotation)
        .map_err(|error| AttestationError::Malformed(error.to_string()))?;
    match attestation.version {
        VERSION | VOUCHED => {}
        other => return Err(AttestationError::Version(other)),
    }
    // A signature of the one is none of the other, whatever an earlier release has signed without knowing it.
    if attestation.version != version_of(subject.spec) {
        return Err(AttestationError::Mismatch);
    }
    let key = keys.in_force(&attestation.key, attestation.admitted_at.time())?;
    verify_signature(key, subject, &attestation)?;
    // The signature comes first: of what is not signed, nothing is worth reporting.
    if !attestation.named && !is_generated(subject.name, subject.generate_name) {
        return Err(AttestationError::Name);
    }
    Ok(attestation)
}

fn verify_signature(
    key: &VerifyingKey,
    subject: &Subject<'_>,
    attestation: &Attestation,
) -> Result<(), AttestationError> {
    let Attestation { version, named, admitted_at, nonce, .. } = attestation;
    let bytes = signed_bytes(subject, (*version, *named), *admitted_at, nonce)?;
    let signature = read_signature(&attestation.signature)
        .ok_or_else(|| AttestationError::Malformed("the signature is not 64 bytes".into()))?;
    key.verify_strict(&bytes, &signature).map_err(|_| AttestationError::Mismatch)
}

/// A signature, from base64.
pub(crate) fn read_signature(text: &str) -> Option<Signature> {
    Signature::from_slice(&BASE64.decode(text).ok()?).ok()
}

/// A public key, from base64.
pub(crate) fn read_key(text: &str) -> Option<VerifyingKey> {
    let bytes = <[u8; 32]>::try_from(BASE64.decode(text).ok()?).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// Whether the API server can have made this name from this `generateName`.
fn is_generated(name: &str, generate_name: &str) -> bool {
    let base = &generate_name[..generate_name.floor_char_boundary(GENERATED_BASE)];
    !base.is_empty()
        && name.strip_prefix(base).is_some_and(|suffix| {
            suffix.len() == GENERATED_SUFFIX
                && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests;
