//! The certificate authority of a control plane, its server certificate and its users'.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SigningKey,
};

use super::der;

const CA_NAME: &str = "lapse-control-plane";

/// A key and what proves whose it is, both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// The keys with which service account tokens are signed and checked, both in PEM.
#[derive(Clone, Debug)]
pub(super) struct KeyPairPem {
    /// The public key.
    pub(super) public: String,
    /// The private key, PKCS #8.
    pub(super) private: String,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    key: KeyPair,
    params: CertificateParams,
    certificate: String,
}

impl Authority {
    /// A new authority with an ECDSA P-256 key.
    pub fn generate() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("signing the CA certificate")?.pem();
        Ok(Self { key, params, certificate })
    }

    /// The authority's own certificate and key.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { certificate: self.certificate.clone(), key: self.key.serialize_pem() }
    }

    /// A server certificate for these DNS names and addresses.
    pub fn server(&self, names: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).context("signing a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A client certificate by which Kubernetes knows a user and their groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        // Encoded here because rcgen's names hold one organisation, and each group is one.
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).context("drawing a serial number")?;
        let body = der::client_certificate_body(&der::ClientCertificate {
            serial,
            issuer: CA_NAME,
            user,
            groups,
            public_key_info: &key.subject_public_key_info(),
        });
        let signature = self.key.sign(&body).context("signing a certificate")?;
        let certificate = der::pem("CERTIFICATE", &der::signed(&body, &signature));
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// A key pair for service account tokens.
pub(super) fn service_account_keys() -> Result<KeyPairPem> {
    let key = KeyPair::generate()?;
    Ok(KeyPairPem { public: key.public_key_pem(), private: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    fn der_of(pem: &str) -> Vec<u8> {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        BASE64_STANDARD.decode(body).unwrap()
    }

    fn count(haystack: &[u8], needle: &[u8]) -> usize {
        haystack.windows(needle.len()).filter(|window| *window == needle).count()
    }

    #[test]
    fn every_group_is_an_organisation_of_the_subject() {
        let authority = Authority::generate().unwrap();
        let alice = authority.client("alice", &["shop-developers", "oncall", "third"]).unwrap();
        let bytes = der_of(&alice.certificate);
        assert_eq!(count(&bytes, &[0x55, 0x04, 0x0a]), 3);
        for name in ["alice", "shop-developers", "oncall", "third"] {
            assert_eq!(count(&bytes, name.as_bytes()), 1, "{name}");
        }
    }

    #[test]
    fn the_issuer_is_encoded_as_the_authority_encodes_its_own_name() {
        let authority = Authority::generate().unwrap();
        let name = der::name(&[(der::COMMON_NAME, CA_NAME)]);
        // Once as subject, once as issuer of the self-signed certificate.
        assert_eq!(count(&der_of(&authority.identity().certificate), &name), 2);
    }
}
