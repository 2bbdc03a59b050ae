//! The content of the Secret `lapse-webhook-keys`.

use std::collections::BTreeMap;
use std::fmt;

use ed25519_dalek::SigningKey;
use k8s_openapi::ByteString;
use lapse_engine::order::Succession;
use rcgen::{KeyPair, PublicKeyData as _};
use zeroize::Zeroizing;

use super::certificate::Facts;

const SIGNING_KEY: &str = "signing.key";
const PATH: &str = "path";
const AUTHORITY: [&str; 2] = ["ca.crt", "ca.key"];
const PREVIOUS_AUTHORITY: &str = "previous-ca.crt";
const SERVING: [&str; 2] = ["tls.crt", "tls.key"];
const GATEWAY: [&str; 2] = ["gateway.crt", "gateway.key"];
const SUCCESSIONS: &str = "successions";

/// The number of hexadecimal digits of the path: 32 bytes.
pub(super) const PATH_DIGITS: usize = 64;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its private key.
    pub(crate) key: Zeroizing<String>,
    /// What the certificate says.
    pub(crate) facts: Facts,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Pair {
    /// Reads a pair. A key that is not the certificate's is no pair: TLS would fail with it.
    pub(super) fn read(certificate: String, key: Zeroizing<String>) -> Result<Self, String> {
        let facts = Facts::read(&certificate)?;
        let pair = KeyPair::from_pem(&key).map_err(|_| "it is no private key in PEM".to_owned())?;
        if pair.subject_public_key_info() != facts.public_key {
            return Err("the key is not the certificate's".to_owned());
        }
        Ok(Self { certificate, key, facts })
    }
}

/// Everything that the webhook needs.
#[derive(Clone)]
pub(crate) struct Material {
    /// Signs what was stamped.
    pub(crate) signing: SigningKey,
    /// How it followed on the keys before it, the oldest first.
    pub(crate) successions: Vec<Succession>,
    /// The path under which admission is served, 64 hexadecimal digits.
    pub(crate) path: Zeroizing<String>,
    /// The authority that signs serving certificates.
    pub(crate) authority: Pair,
    /// The certificate of the authority before this one, while it is still trusted.
    pub(crate) previous_authority: Option<String>,
    /// The serving certificate.
    pub(crate) serving: Pair,
    /// That of the gateway, where there is one.
    pub(crate) gateway: Option<Pair>,
}

impl Material {
    /// What the API server must trust.
    pub(crate) fn bundle(&self) -> String {
        let previous = self.previous_authority.as_deref().unwrap_or_default();
        format!("{}{previous}", self.authority.certificate)
    }

    /// Writes everything into the data of the Secret. What it does not know, it leaves.
    pub(crate) fn write(&self, data: &mut BTreeMap<String, ByteString>) {
        let Self { signing, successions, path, authority, previous_authority, serving, gateway } =
            self;
        let mut set = |key: &str, value: &[u8]| {
            data.insert(key.to_owned(), ByteString(value.to_vec()));
        };
        set(SIGNING_KEY, &*Zeroizing::new(signing.to_bytes()));
        set(PATH, path.as_bytes());
        // A list of texts is always JSON.
        set(SUCCESSIONS, &serde_json::to_vec(successions).unwrap_or_default());
        let gateway = gateway.as_ref().map(|pair| (GATEWAY, pair));
        for (keys, pair) in [(AUTHORITY, authority), (SERVING, serving)].into_iter().chain(gateway)
        {
            set(keys[0], pair.certificate.as_bytes());
            set(keys[1], pair.key.as_bytes());
        }
        match previous_authority {
            Some(previous) => set(PREVIOUS_AUTHORITY, previous.as_bytes()),
            None => drop(data.remove(PREVIOUS_AUTHORITY)),
        }
    }
}

/// What of it is stored and can be used.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    /// See [`Material::signing`].
    pub(crate) signing: Option<SigningKey>,
    /// See [`Material::successions`].
    pub(crate) successions: Vec<Succession>,
    /// See [`Material::path`].
    pub(crate) path: Option<Zeroizing<String>>,
    /// See [`Material::authority`].
    pub(crate) authority: Option<Pair>,
    /// See [`Material::previous_authority`], with what it says.
    pub(crate) previous_authority: Option<(String, Facts)>,
    /// See [`Material::serving`].
    pub(crate) serving: Option<Pair>,
    /// See [`Material::gateway`].
    pub(crate) gateway: Option<Pair>,
}

impl Stored {
    /// Reads the data of the Secret. What cannot be read counts as absent, and is told in words that
    /// hold nothing secret.
    pub(crate) fn read(data: &BTreeMap<String, ByteString>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut usable = |what: &str, found: Result<(), String>| {
            if let Err(why) = found {
                problems.push(format!("{what} cannot be used: {why}"));
            }
        };
        let mut stored = Self::default();
        if let Some(bytes) = data.get(SIGNING_KEY) {
            let key = SigningKey::try_from(&*bytes.0).map(|key| stored.signing = Some(key));
            usable(SIGNING_KEY, key.map_err(|_| "it is not 32 bytes".into()));
        }
        if let Some(path) = text(data, PATH) {
            let fine = is_path(&path);
            stored.path = fine.then_some(path);
            let why = || "it is not 64 hexadecimal digits".to_owned();
            usable(PATH, fine.then_some(()).ok_or_else(why));
        }
        if let Some(bytes) = data.get(SUCCESSIONS) {
            let known = serde_json::from_slice(&bytes.0).map(|known| stored.successions = known);
            usable(SUCCESSIONS, known.map_err(|error| error.to_string()));
        }
        for (keys, place) in [
            (AUTHORITY, &mut stored.authority),
            (SERVING, &mut stored.serving),
            (GATEWAY, &mut stored.gateway),
        ] {
            if let (Some(certificate), Some(key)) = (text(data, keys[0]), text(data, keys[1])) {
                let pair = Pair::read((*certificate).clone(), key);
                usable(keys[0], pair.map(|pair| *place = Some(pair)));
            }
        }
        if let Some(previous) = text(data, PREVIOUS_AUTHORITY) {
            let facts = Facts::read(&previous);
            let keep = facts.map(|facts| {
                stored.previous_authority = Some(((*previous).clone(), facts));
            });
            usable(PREVIOUS_AUTHORITY, keep);
        }
        (stored, problems)
    }

    /// Everything, if everything is there.
    pub(crate) fn complete(self) -> Option<Material> {
        Some(Material {
            signing: self.signing?,
            successions: self.successions,
            path: self.path?,
            authority: self.authority?,
            previous_authority: self.previous_authority.map(|(certificate, _)| certificate),
            serving: self.serving?,
            gateway: self.gateway,
        })
    }
}

fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Option<Zeroizing<String>> {
    // What is not UTF-8 is no PEM and no path: it reads as empty, which is reported.
    data.get(key)
        .map(|bytes| Zeroizing::new(String::from_utf8(bytes.0.clone()).unwrap_or_default()))
}

fn is_path(path: &str) -> bool {
    path.len() == PATH_DIGITS && path.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
