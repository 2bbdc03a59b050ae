//! Attestations: whatever is changed of a signed object, the signature does not hold for it.
//!
//! The input is `{"annotation", "kind", "namespace", "name", "generateName", "spec"}`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use lapse_engine::attest::{Attestation, KeySet, PublicKey, Subject, key_id, sign, verify};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    annotation: Option<String>,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    generate_name: String,
    #[serde(default)]
    spec: Value,
}

impl Stored {
    fn subject(&self) -> Subject<'_> {
        let Self { kind, namespace, name, generate_name, spec, annotation: _ } = self;
        Subject { kind, namespace, name, generate_name, spec }
    }
}

fn admitted() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

static SIGNED: LazyLock<(Stored, Attestation, KeySet)> = LazyLock::new(signed);

/// What was signed: the one object that the key ever signed.
fn signed() -> (Stored, Attestation, KeySet) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let object = Stored {
        annotation: None,
        kind: "AccessRequest".into(),
        namespace: "shop".into(),
        name: "fix".into(),
        generate_name: String::new(),
        spec: json!({"reason": "Checkout fails", "duration": "1h", "priority": 3}),
    };
    let attestation = sign(&key, &object.subject(), admitted(), [1; 16]).unwrap();
    let public = PublicKey::new(&key.verifying_key(), admitted());
    let published = serde_json::to_string(&public).unwrap();
    let published = BTreeMap::from([(key_id(&key.verifying_key()), published)]);
    (object, attestation, KeySet::read(&published).0)
}

fn check(bytes: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(bytes) else { return };
    let (original, attestation, keys) = &*SIGNED;
    let annotation = stored.annotation.as_deref();
    let Ok(verified) = verify(keys, &stored.subject(), annotation, admitted()) else { return };
    assert_eq!(&verified, attestation, "nothing else was ever signed");
    assert_eq!(
        (&stored.kind, &stored.namespace, &stored.name),
        (&original.kind, &original.namespace, &original.name)
    );
    // Numbers have one form in what is signed, and several in what is sent.
    let canonical = |spec: &Value| serde_json_canonicalizer::to_string(spec).unwrap();
    assert_eq!(canonical(&stored.spec), canonical(&original.spec));
}

#[test]
fn attestation() {
    lapse_fuzz::fuzz!("attestation", check);
}

/// Without this the target could agree with everything.
#[test]
fn what_was_signed_verifies() {
    let (original, attestation, keys) = signed();
    let annotation = serde_json::to_string(&attestation).unwrap();
    let verified = verify(&keys, &original.subject(), Some(&annotation), admitted());
    assert_eq!(verified, Ok(attestation));
    let corpus = include_str!("__fuzz__/attestation/corpus/signed.json");
    let seed: Stored = serde_json::from_str(corpus).unwrap();
    assert_eq!(seed.annotation.as_deref(), Some(&*annotation));
    assert!(verify(&keys, &seed.subject(), seed.annotation.as_deref(), admitted()).is_ok());
}
