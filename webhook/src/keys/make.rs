//! Making keys and certificates.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use lapse_engine::order::{Succession, sign_succession};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use zeroize::Zeroizing;

use super::material::{PATH_DIGITS, Pair};
use super::publish::{HANDOVER, TOLERANCE};
use super::{KeyMaterialError, Material, Renewal, Stored};

/// How long an authority lasts.
const AUTHORITY_LIFE: TimeDelta = TimeDelta::days(365);
/// How long a serving certificate lasts: shorter than the last third of the authority's life, so that
/// it never outlives the authority that signed it.
const SERVING_LIFE: TimeDelta = TimeDelta::days(90);
/// A certificate is valid from a little earlier, for API servers whose clock is behind.
const BACKDATED: TimeDelta = TimeDelta::minutes(5);

/// Makes anew what must be, and keeps the rest.
pub(crate) fn make(
    stored: Stored,
    renewal: &Renewal,
    now: DateTime<Utc>,
) -> Result<Material, KeyMaterialError> {
    let (signing, successions) = match stored.signing {
        Some(key) if !renewal.signing => (key, stored.successions),
        previous => {
            let next = SigningKey::from_bytes(&*random::<32>()?);
            let previous = previous.filter(|_| renewal.succession);
            let successions = successions(stored.successions, previous.as_ref(), &next, now)?;
            (next, successions)
        }
    };
    let path = match stored.path {
        Some(path) if !renewal.path => path,
        _ => new_path()?,
    };
    let (authority, previous_authority) = match stored.authority {
        Some(pair) if !renewal.authority => {
            let previous = stored.previous_authority;
            let valid = previous.filter(|(_, facts)| facts.not_after > now);
            (pair, valid.map(|(certificate, _)| certificate))
        }
        old => {
            let previous = old.filter(|pair| pair.facts.not_after > now);
            (new_authority(now)?, previous.map(|pair| pair.certificate))
        }
    };
    let serving = match (stored.serving, &renewal.serving) {
        (Some(pair), None) => pair,
        (_, names) => {
            let names = names.iter().flatten().cloned().collect();
            new_serving(&authority, "lapse-webhook", names, now)?
        }
    };
    let gateway = match (stored.gateway, &renewal.gateway) {
        (known, None) => known,
        (_, Some(names)) => {
            let names = names.iter().cloned().collect();
            Some(new_serving(&authority, "lapse-gateway", names, now)?)
        }
    };
    Ok(Material { signing, successions, path, authority, previous_authority, serving, gateway })
}

/// How many successions are kept: with a new key every 90 days, those of ten years.
const SUCCESSIONS: usize = 40;

/// How hosts that know an earlier key come to know the next one. A key that is distrusted names no successor: then the
/// chain begins anew, and hosts are enrolled again.
fn successions(
    known: Vec<Succession>,
    previous: Option<&SigningKey>,
    next: &SigningKey,
    now: DateTime<Utc>,
) -> Result<Vec<Succession>, KeyMaterialError> {
    let Some(previous) = previous else { return Ok(Vec::new()) };
    let succession =
        sign_succession(previous, &next.verifying_key(), now - TOLERANCE, now + HANDOVER);
    let succession = succession.map_err(|error| KeyMaterialError::Make {
        what: "succession of keys",
        why: error.to_string(),
    })?;
    let all: Vec<Succession> = known.into_iter().chain([succession]).collect();
    let from = all.len().saturating_sub(SUCCESSIONS);
    Ok(all.into_iter().skip(from).collect())
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyMaterialError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(KeyMaterialError::Random)?;
    Ok(bytes)
}

fn new_path() -> Result<Zeroizing<String>, KeyMaterialError> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut path = Zeroizing::new(String::with_capacity(PATH_DIGITS));
    for byte in random::<32>()?.iter() {
        path.push(char::from(DIGITS[usize::from(byte >> 4)]));
        path.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    Ok(path)
}

fn new_authority(now: DateTime<Utc>) -> Result<Pair, KeyMaterialError> {
    let mut params = params("certificate authority", Vec::new(), now, AUTHORITY_LIFE)?;
    // The name is unique, so that the issuer of a certificate tells which authority it was.
    let tag: String = new_path()?.chars().take(8).collect();
    let name = format!("lapse-webhook authority {} {tag}", now.format("%Y-%m-%d"));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let wrong = failed("certificate authority");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(&wrong)?;
    let certificate = params.self_signed(&key).map_err(&wrong)?;
    pair("certificate authority", certificate.pem(), &key)
}

fn new_serving(
    authority: &Pair,
    common_name: &str,
    names: Vec<String>,
    now: DateTime<Utc>,
) -> Result<Pair, KeyMaterialError> {
    let wrong = failed("serving certificate");
    let mut params = params("serving certificate", names, now, SERVING_LIFE)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let signer = KeyPair::from_pem(&authority.key).map_err(&wrong)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).map_err(&wrong)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(&wrong)?;
    let certificate = params.signed_by(&key, &issuer).map_err(&wrong)?;
    pair("serving certificate", certificate.pem(), &key)
}

pub(super) fn params(
    what: &'static str,
    names: Vec<String>,
    now: DateTime<Utc>,
    life: TimeDelta,
) -> Result<CertificateParams, KeyMaterialError> {
    let mut params = CertificateParams::new(names).map_err(failed(what))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let time = |time: DateTime<Utc>| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = time(now - BACKDATED);
    params.not_after = time(now + life);
    Ok(params)
}

fn pair(what: &'static str, certificate: String, key: &KeyPair) -> Result<Pair, KeyMaterialError> {
    let key = Zeroizing::new(key.serialize_pem());
    Pair::read(certificate, key).map_err(|why| KeyMaterialError::Make { what, why })
}

pub(super) fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> KeyMaterialError {
    move |error| KeyMaterialError::Make { what, why: error.to_string() }
}
