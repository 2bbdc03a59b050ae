//! What a certificate says, read from the certificate itself: no second record can contradict it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, parse_x509_pem};

/// What a certificate says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whose it is.
    pub(crate) subject: String,
    /// Who signed it.
    pub(crate) issuer: String,
    /// From when it is valid.
    pub(crate) not_before: DateTime<Utc>,
    /// Until when.
    pub(crate) not_after: DateTime<Utc>,
    /// The DNS names and addresses that it is for.
    pub(crate) names: BTreeSet<String>,
    /// The public key, with its algorithm, in DER.
    pub(crate) public_key: Vec<u8>,
}

impl Facts {
    /// Reads the first certificate of a PEM file.
    pub(crate) fn read(pem: &str) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|error| error.to_string())?;
        let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or("a date out of range");
        let validity = certificate.validity();
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| error.to_string())?
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(name)
            .collect();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
            names,
            public_key: certificate.public_key().raw.to_vec(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Names as a certificate has them: addresses in their shortest form, names in lower case.
pub(crate) fn normalize(names: &[String]) -> BTreeSet<String> {
    let normal = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    };
    names.iter().map(normal).collect()
}
