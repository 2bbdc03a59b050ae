//! Who this host is to the cluster, and whom it trusts. Kept in files that root alone can read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use lapse_engine::order::{Host, TrustStore};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::journal::{JournalError, read, write};
use crate::places::Places;

/// What comes before the 32 bytes of a seed in its DER form (RFC 8410).
const SEED: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Who this host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Where the gateway is: `https://HOST:PORT`.
    pub gateway: String,
    /// Its Endpoint.
    pub endpoint: Host,
    /// The machine that enrolled, as [`crate::fingerprint`] has it: on any other, this is a copy.
    pub machine: String,
    /// When it enrolled, by the clock of the cluster. An order that was signed before is for who was here before.
    pub enrolled_at: DateTime<Utc>,
    /// Its certificate, in PEM.
    pub certificate: String,
    /// The one before: what a gateway sends in its place may be worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The key of this host. It never leaves it.
#[derive(Clone)]
pub struct HostKey(SigningKey);

/// Why a host is nobody yet.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It has not enrolled.
    #[error("this host has not enrolled: run `lapse-agent enrol`")]
    Missing,
    /// A file of it cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key.
    #[error("the key of this host cannot be used: {0}. Enrol it again")]
    Key(String),
    /// What the host calls itself.
    #[error(
        "/etc/machine-id: {0}. It is what tells this host from a copy of it (systemd-machine-id-setup)"
    )]
    Machine(String),
    /// The number of the hardware.
    #[error("{path}: {why}. It is what tells this host from a copy of it")]
    Hardware {
        /// Where it stands.
        path: String,
        /// Why it cannot be read.
        why: String,
    },
}

impl HostKey {
    /// A new one.
    ///
    /// # Errors
    /// If the kernel gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| IdentityError::Key(error.to_string()))?;
        Ok(Self::from_seed(&seed))
    }

    /// The one of this seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What signs receipts.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.0
    }

    /// What others know it by.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// PKCS #8, in DER.
    #[must_use]
    pub fn der(&self) -> Zeroizing<Vec<u8>> {
        let seed = Zeroizing::new(self.0.to_bytes());
        Zeroizing::new(SEED.iter().chain(seed.iter()).copied().collect())
    }

    /// The same, as certificates are asked for with it.
    ///
    /// # Errors
    /// If it cannot be used for that.
    pub fn pair(&self) -> Result<KeyPair, IdentityError> {
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(self.der().as_slice()));
        pair.map_err(|error| IdentityError::Key(error.to_string()))
    }

    /// A request for a certificate, in PEM.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn certificate_request(&self) -> Result<String, IdentityError> {
        let wrong = |error: rcgen::Error| IdentityError::Key(error.to_string());
        let asked = CertificateParams::default().serialize_request(&self.pair()?).map_err(wrong)?;
        asked.pem().map_err(wrong)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    ed25519: String,
}

/// All of it.
pub struct Enrolled {
    /// Who this host is.
    pub identity: Identity,
    /// Its key.
    pub key: HostKey,
    /// Whom it trusts.
    pub trust: TrustStore,
}

impl Enrolled {
    /// Reads it.
    ///
    /// # Errors
    /// If this host has not enrolled, or a file cannot be used.
    pub fn read(places: &Places) -> Result<Self, IdentityError> {
        let state = places.state();
        let identity = read(state.join("identity.json"))?.ok_or(IdentityError::Missing)?;
        let trust = read(state.join("trust.json"))?.ok_or(IdentityError::Missing)?;
        let stored: StoredKey = read(state.join("key.json"))?.ok_or(IdentityError::Missing)?;
        let seed = BASE64.decode(&stored.ed25519).ok().and_then(|bytes| bytes.try_into().ok());
        let seed: [u8; 32] = seed.ok_or_else(|| IdentityError::Key("it is no key".to_owned()))?;
        Ok(Self { identity, key: HostKey::from_seed(&seed), trust })
    }

    /// Keeps it. Who the host is comes last, so that half of it is nobody.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, places: &Places) -> Result<(), JournalError> {
        let state = places.state();
        let key = StoredKey { ed25519: BASE64.encode(self.key.0.to_bytes()) };
        write(state.join("key.json"), &key)?;
        write_trust(places, &self.trust)?;
        write_identity(places, &self.identity)
    }
}

/// Keeps who this host is.
///
/// # Errors
/// If it cannot be written.
pub fn write_identity(places: &Places, identity: &Identity) -> Result<(), JournalError> {
    write(places.state().join("identity.json"), identity)
}

/// Keeps whom this host trusts.
///
/// # Errors
/// If it cannot be written.
pub fn write_trust(places: &Places, trust: &TrustStore) -> Result<(), JournalError> {
    write(places.state().join("trust.json"), trust)
}
