//! Certificates of agents: short, for the key that they asked with, and good for nothing but being a client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType,
};

use super::KeyMaterialError;
use super::make::{failed, params};
use super::material::Pair;

/// How long the certificate of an agent lasts. It is renewed when a third of that has passed; a host that is switched off
/// for longer than the rest must enrol again. Who it is good for is looked at on each connection, so its length gives a
/// thief nothing: deleting the Endpoint, or enrolling anew, ends it at once.
const LIFE: TimeDelta = TimeDelta::days(30);
/// What comes before the 32 bytes of an Ed25519 key in its DER form (RFC 8410).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const WHAT: &str = "certificate of an agent";

/// A certificate that was asked for, and by which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The public key, in base64.
    pub(crate) public_key: String,
    pem: String,
}

/// A certificate of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentCertificate {
    /// In PEM.
    pub(crate) pem: String,
    /// When it ends.
    pub(crate) expires: DateTime<Utc>,
}

impl Asked {
    /// Reads what an agent asks with, which is signed with its key. Of what it says nothing but the key counts.
    pub(crate) fn read(pem: &str) -> Result<Self, String> {
        let asked = CertificateSigningRequestParams::from_pem(pem)
            .map_err(|error| format!("it is no certificate request that is signed: {error}"))?;
        let der = asked.public_key.subject_public_key_info();
        let key = der.strip_prefix(&ED25519).filter(|key| key.len() == 32);
        let key = key.ok_or("its key is not of the kind Ed25519")?;
        Ok(Self { public_key: BASE64.encode(key), pem: pem.to_owned() })
    }
}

/// Signs the certificate of an agent.
pub(super) fn sign(
    authority: &Pair,
    asked: &Asked,
    endpoint: &str,
    uid: &str,
    now: DateTime<Utc>,
) -> Result<AgentCertificate, KeyMaterialError> {
    let wrong = failed(WHAT);
    let mut asked = CertificateSigningRequestParams::from_pem(&asked.pem).map_err(&wrong)?;
    let expires = now + LIFE;
    let mut params = params(WHAT, Vec::new(), now, LIFE)?;
    let uri = format!("lapse://endpoint/{endpoint}/{uid}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(&wrong)?)];
    params.distinguished_name.push(DnType::CommonName, "lapse-agent");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    asked.params = params;
    let signer = KeyPair::from_pem(&authority.key).map_err(&wrong)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).map_err(&wrong)?;
    let certificate = asked.signed_by(&issuer).map_err(&wrong)?;
    Ok(AgentCertificate { pem: certificate.pem(), expires })
}
