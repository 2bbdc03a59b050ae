//! Who a client certificate is of. That it chains to the authority and is in its time, TLS has checked by then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What the name of an endpoint begins with, in its certificate.
const PREFIX: &str = "lapse://endpoint/";

/// The agent that a certificate is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name of its Endpoint.
    pub(crate) name: String,
    /// The UID of its Endpoint.
    pub(crate) uid: String,
    /// Its public key, in base64.
    pub(crate) public_key: String,
    /// When the certificate ends.
    pub(crate) expires_at: DateTime<Utc>,
}

/// Why a certificate is no agent's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the client certificate cannot be read: {0}")]
    Malformed(String),
    /// One that was made for a server must not stand for an agent.
    #[error(
        "the client certificate is not for clients: it lacks the extended key usage clientAuth"
    )]
    Usage,
    #[error("the client certificate has no Ed25519 key: enrol this host again")]
    Key,
    #[error(
        "the client certificate does not name one endpoint by its URI {PREFIX}NAME/UID: enrol this host again"
    )]
    Name,
}

/// Reads whose certificate it is.
pub(crate) fn identity_of(certificate: &[u8]) -> Result<Identity, IdentityError> {
    let malformed = |error: &dyn ToString| IdentityError::Malformed(error.to_string());
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| malformed(&error))?;
    // TLS takes a certificate without any usage for one of all usages.
    let usage = certificate.extended_key_usage().map_err(|error| malformed(&error))?;
    if !usage.is_some_and(|usage| usage.value.client_auth) {
        return Err(IdentityError::Usage);
    }
    let key = certificate.public_key();
    let bytes = key.subject_public_key.data.as_ref();
    if key.algorithm.algorithm != OID_SIG_ED25519 || bytes.len() != 32 {
        return Err(IdentityError::Key);
    }
    let names = certificate.subject_alternative_name().map_err(|error| malformed(&error))?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut places = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(PREFIX),
        _ => None,
    });
    let (Some(place), None) = (places.next(), places.next()) else {
        return Err(IdentityError::Name);
    };
    let (name, uid) = place.split_once('/').ok_or(IdentityError::Name)?;
    if !is_object_name(name) || uid.is_empty() || uid.contains('/') {
        return Err(IdentityError::Name);
    }
    let expires_at = certificate.validity().not_after.timestamp();
    let expires_at = DateTime::from_timestamp(expires_at, 0).ok_or(IdentityError::Name)?;
    let (name, uid) = (name.to_owned(), uid.to_owned());
    Ok(Identity { name, uid, public_key: BASE64.encode(bytes), expires_at })
}

/// Whether this can be the name of an object: it becomes part of a path at the API server, where `../` would be another.
pub(crate) fn is_object_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.chars().all(is_inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
        SanType, SignatureAlgorithm,
    };
    use rstest::rstest;

    use super::*;

    fn certificate(
        uris: &[&str],
        usage: ExtendedKeyUsagePurpose,
        algorithm: &'static SignatureAlgorithm,
    ) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn an_agent_is_known_by_name_uid_and_key() {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let bytes = certificate(&["lapse://endpoint/web-1.x/u-1"], usage, &PKCS_ED25519);
        let identity = identity_of(&bytes).unwrap();
        assert_eq!((identity.name.as_str(), identity.uid.as_str()), ("web-1.x", "u-1"));
        assert_eq!(identity.public_key.len(), 44);
    }

    #[rstest]
    #[case::none(&[])]
    #[case::two(&["lapse://endpoint/a/u", "lapse://endpoint/b/v"])]
    #[case::path(&["lapse://endpoint/../u"])]
    #[case::deeper(&["lapse://endpoint/a/u/v"])]
    #[case::other(&["lapse://endpoints/a/u"])]
    #[case::no_uid(&["lapse://endpoint/a/"])]
    fn what_names_no_endpoint_is_nobody(#[case] uris: &[&str]) {
        let bytes = certificate(uris, ExtendedKeyUsagePurpose::ClientAuth, &PKCS_ED25519);
        assert_eq!(identity_of(&bytes), Err(IdentityError::Name));
    }

    #[test]
    fn another_usage_and_another_key_are_refused() {
        let uris = ["lapse://endpoint/a/u"];
        let server = certificate(&uris, ExtendedKeyUsagePurpose::ServerAuth, &PKCS_ED25519);
        assert_eq!(identity_of(&server), Err(IdentityError::Usage));
        let curve =
            certificate(&uris, ExtendedKeyUsagePurpose::ClientAuth, &PKCS_ECDSA_P256_SHA256);
        assert_eq!(identity_of(&curve), Err(IdentityError::Key));
        assert!(matches!(identity_of(b"rubbish"), Err(IdentityError::Malformed(_))));
    }
}
