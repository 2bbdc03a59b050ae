//! The secrets of the webhook: what they are, when they are made anew, and how they are published.
//!
//! Pure: reading and writing the cluster is the [keeper](crate::keeper)'s.

mod agent;
mod certificate;
mod make;
mod material;
mod publish;
mod renew;
mod trust;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub(crate) use agent::{AgentCertificate, Asked};
pub(crate) use certificate::normalize;
pub(crate) use make::make;
pub(crate) use material::{Material, Stored};
pub(crate) use publish::{
    Standing, end_handover, publish, retire_others, retire_soon, standing, valid_from,
};
pub(crate) use renew::{Names, Renewal, next};
pub(crate) use trust::{GatewayFiles, trust_of};

/// Why keys cannot be made or used. Never with any part of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyMaterialError {
    /// The system gives no randomness.
    #[error("drawing random bytes: {0}")]
    Random(getrandom::Error),
    /// A certificate cannot be made.
    #[error("making the {what}: {why}")]
    Make {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate cannot be served.
    #[error("using the serving certificate: {0}")]
    Serve(String),
}

/// The keys in force: what the server serves with and signs with.
pub(crate) struct Keys {
    /// Signs what was stamped.
    pub(crate) signing: SigningKey,
    /// The certificate that is served.
    pub(crate) certificate: Arc<CertifiedKey>,
    /// What the API server must trust, in PEM.
    pub(crate) bundle: String,
    /// When the serving certificate ends.
    pub(crate) certificate_expires: DateTime<Utc>,
    name: Option<String>,
    authority: material::Pair,
    path: Zeroizing<String>,
    path_digest: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("certificate_expires", &self.certificate_expires)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Puts what is stored to use.
    pub(crate) fn new(material: Material) -> Result<Self, KeyMaterialError> {
        let serve = |why: String| KeyMaterialError::Serve(why);
        let chain = CertificateDer::pem_slice_iter(material.serving.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| serve(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(material.serving.key.as_bytes())
            .map_err(|_| serve("its key is no private key in PEM".to_owned()))?;
        let key = any_ecdsa_type(&key).map_err(|error| serve(error.to_string()))?;
        Ok(Self {
            certificate: Arc::new(CertifiedKey::new(chain, key)),
            bundle: material.bundle(),
            certificate_expires: material.serving.facts.not_after,
            name: material.serving.facts.names.first().cloned(),
            authority: material.authority.clone(),
            path_digest: Sha256::digest(material.path.as_bytes()).into(),
            path: material.path,
            signing: material.signing,
        })
    }

    /// One of the names that the serving certificate is for.
    pub(crate) fn name(&self) -> Option<String> {
        self.name.clone()
    }

    /// Signs the certificate of an agent.
    pub(crate) fn sign_agent(
        &self,
        asked: &Asked,
        endpoint: &str,
        uid: &str,
        now: DateTime<Utc>,
    ) -> Result<AgentCertificate, KeyMaterialError> {
        agent::sign(&self.authority, asked, endpoint, uid, now)
    }

    /// Whether this is the path. Digests are compared, so that the time it takes says nothing about
    /// how much of a guess is right.
    pub(crate) fn is_path(&self, candidate: &str) -> bool {
        <[u8; 32]>::from(Sha256::digest(candidate.as_bytes())) == self.path_digest
    }

    /// The path at which this half of admission is served. It is a secret.
    pub(crate) fn path_to(&self, verb: &str) -> Zeroizing<String> {
        Zeroizing::new(format!("/{}/{verb}", *self.path))
    }
}

#[cfg(test)]
mod tests;
