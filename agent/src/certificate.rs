//! The certificate of this host: whose it is, and for how long.

use chrono::{DateTime, Utc};
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::X509Certificate;

/// Why a certificate is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Another key.
    #[error("it is not for the key of this host")]
    Key,
    /// Nobody whom this host trusts has signed it.
    #[error("no authority that this host trusts has signed it")]
    Signature,
    /// It lasts no longer than the one that is there.
    #[error("it lasts no longer than the one that this host has")]
    Older,
}

/// When a certificate is good, from and to.
///
/// # Errors
/// If it cannot be read.
pub fn validity(pem: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), CertificateError> {
    let pem = read(pem)?;
    let validity = parse(&pem)?.validity().clone();
    let time = |time: x509_parser::time::ASN1Time| {
        DateTime::from_timestamp(time.timestamp(), 0)
            .ok_or_else(|| CertificateError::Malformed("its time is none".to_owned()))
    };
    Ok((time(validity.not_before)?, time(validity.not_after)?))
}

/// Whether a certificate may take the place of this one: for the same key, by an authority that is trusted, for longer.
/// A gateway that sent another would keep the host away for ever.
///
/// # Errors
/// If it may not.
pub fn check_next(
    next: &str,
    current: &str,
    key: &[u8; 32],
    authorities: &str,
) -> Result<(), CertificateError> {
    let pem = read(next)?;
    let certificate = parse(&pem)?;
    if certificate.public_key().subject_public_key.data.as_ref() != key {
        return Err(CertificateError::Key);
    }
    let is_signed = Pem::iter_from_buffer(authorities.as_bytes()).flatten().any(|authority| {
        authority.parse_x509().is_ok_and(|authority| {
            certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    });
    if !is_signed {
        return Err(CertificateError::Signature);
    }
    if validity(next)?.1 <= validity(current)?.1 {
        return Err(CertificateError::Older);
    }
    Ok(())
}

fn read(text: &str) -> Result<Pem, CertificateError> {
    let read = parse_x509_pem(text.as_bytes());
    Ok(read.map_err(|error| CertificateError::Malformed(error.to_string()))?.1)
}

fn parse(pem: &Pem) -> Result<X509Certificate<'_>, CertificateError> {
    pem.parse_x509().map_err(|error| CertificateError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519,
    };
    use rstest::rstest;

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn certificate(by: &CertifiedIssuer<'_, KeyPair>, key: &KeyPair, days: i64) -> String {
        let mut params = CertificateParams::default();
        let end = DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + days);
        params.not_after = rcgen::date_time_ymd(2024, 1, 1)
            + std::time::Duration::from_secs(
                u64::try_from(end.timestamp() - 1_704_067_200).unwrap(),
            );
        params.signed_by(key, by).unwrap().pem()
    }

    #[rstest]
    #[case::longer(true, true, 2, Ok(()))]
    #[case::as_long(true, true, 1, Err(CertificateError::Older))]
    #[case::of_another_key(true, false, 2, Err(CertificateError::Key))]
    #[case::by_another_authority(false, true, 2, Err(CertificateError::Signature))]
    fn what_a_gateway_sends_is_looked_at(
        #[case] is_ours: bool,
        #[case] is_own: bool,
        #[case] days: i64,
        #[case] expected: Result<(), CertificateError>,
    ) {
        let (own, other) = (authority(), authority());
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let thief = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let current = certificate(&own, &key, 1);
        let next = certificate(
            if is_ours { &own } else { &other },
            if is_own { &key } else { &thief },
            days,
        );
        let bytes: [u8; 32] = key.public_key_raw().try_into().unwrap();
        assert_eq!(check_next(&next, &current, &bytes, &own.pem()), expected);
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(matches!(validity("x"), Err(CertificateError::Malformed(_))));
    }
}
