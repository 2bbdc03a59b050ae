//! What hosts and the gateway are given of all this.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use k8s_openapi::ByteString;
use lapse_engine::order::{PublishedTrust, TrustError, pin_of, sign_authorities};

use super::Material;

/// The key of the published trust in its `ConfigMap`.
const TRUST: &str = "trust.json";
/// The key of the pin.
const PIN: &str = "pin";

/// What hosts are told: whom to trust, and by which pin they know that.
///
/// Nothing is said anew while it says the same: each saying has a time, and hosts store the latest.
pub(crate) fn trust_of(
    published: &BTreeMap<String, String>,
    material: &Material,
    valid_from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<String, String>, TrustError> {
    let key = material.signing.verifying_key();
    let known = published.get(TRUST).and_then(|text| serde_json::from_str(text).ok());
    let certificates = material.bundle();
    let trust = PublishedTrust {
        key: BASE64.encode(key.as_bytes()),
        valid_from: valid_from.into(),
        successions: material.successions.clone(),
        authorities: sign_authorities(&material.signing, certificates, now)?,
    };
    let is_same = |known: &PublishedTrust| {
        let authorities = (&known.authorities.certificates, &known.authorities.key);
        known.key == trust.key
            && known.valid_from == trust.valid_from
            && known.successions == trust.successions
            && authorities == (&trust.authorities.certificates, &trust.authorities.key)
    };
    let trust = known.filter(is_same).unwrap_or(trust);
    let text =
        serde_json::to_string(&trust).map_err(|error| TrustError::Malformed(error.to_string()))?;
    let mut data = published.clone();
    data.insert(TRUST.to_owned(), text);
    data.insert(PIN.to_owned(), pin_of(&key));
    Ok(data)
}

/// The files of the gateway: its certificate, the key of that, and who signs the certificates of agents.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GatewayFiles(BTreeMap<String, ByteString>);

impl GatewayFiles {
    /// What the gateway is given; `None` where there is none.
    pub(crate) fn of(material: &Material) -> Option<Self> {
        let pair = material.gateway.as_ref()?;
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        Some(Self(BTreeMap::from([
            ("tls.crt".to_owned(), bytes(&pair.certificate)),
            ("tls.key".to_owned(), bytes(&pair.key)),
            ("ca.crt".to_owned(), bytes(&material.bundle())),
        ])))
    }

    /// As the data of a Secret.
    pub(crate) fn data(&self) -> &BTreeMap<String, ByteString> {
        &self.0
    }
}
