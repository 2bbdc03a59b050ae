//! The statement itself: what is signed, and how.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use lapse_crds::{AccessDecisionSpec, AccessRequestSpec, Origin, RequestTarget, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::attest::{read_key, read_signature};
use crate::order::Host;
use crate::role::hex;

/// The version of the set of signed fields.
const VERSION: u32 = 1;

/// Why a statement is worth nothing, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It cannot be read or written.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// Another key signed it, or it is not what was signed.
    #[error("it is not signed with the key of the agent that enrolled")]
    Signature,
}

impl From<serde_json::Error> for StatementError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What is asked. The kind keeps it apart from whatever else may be asked one day.
#[derive(Serialize)]
struct Asked<'a> {
    version: u32,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    spec: &'a AccessRequestSpec,
}

/// The digest of a request that is to be made: `sha256:` and 64 hexadecimal digits. The stamp and the statement itself are
/// not among it.
///
/// # Errors
/// If the spec cannot be written as JSON.
pub fn digest_of(
    namespace: &str,
    name: &str,
    spec: &AccessRequestSpec,
) -> Result<String, StatementError> {
    let spec = &AccessRequestSpec { requester: None, origin: None, ..spec.clone() };
    let asked = Asked { version: VERSION, kind: "AccessRequest", namespace, name, spec };
    let bytes = serde_json_canonicalizer::to_vec(&asked)?;
    Ok(format!("sha256:{}", hex(&Sha256::digest(bytes))))
}

/// What is decided.
#[derive(Serialize)]
struct Decided<'a> {
    version: u32,
    kind: &'static str,
    namespace: &'a str,
    spec: &'a AccessDecisionSpec,
}

/// The digest of a decision by which somebody ends their own request; written in the same way. The request is the one of that
/// name: an agent gives no name twice. What is stamped is not among it.
///
/// # Errors
/// If the spec cannot be written as JSON.
pub fn digest_of_end(namespace: &str, spec: &AccessDecisionSpec) -> Result<String, StatementError> {
    let spec = &AccessDecisionSpec {
        request: RequestTarget { name: spec.request.name.clone(), uid: None },
        verdict: spec.verdict,
        duration: spec.duration,
        outcome: spec.outcome,
        comment: spec.comment.clone(),
        origin: None,
        decider: None,
        policy: None,
        rules_hash: None,
        rules: Vec::new(),
    };
    let decided = Decided { version: VERSION, kind: "AccessDecision", namespace, spec };
    let bytes = serde_json_canonicalizer::to_vec(&decided)?;
    Ok(format!("sha256:{}", hex(&Sha256::digest(bytes))))
}

/// Whether this is written as a digest is.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the fields are named as those of the API")]
struct Signed<'a> {
    version: u32,
    kind: &'static str,
    endpoint: &'a str,
    endpoint_uid: &'a str,
    local_user: &'a str,
    digest: &'a str,
    signed_at: Timestamp,
}

fn signed_bytes(
    host: &Host,
    local_user: &str,
    digest: &str,
    signed_at: Timestamp,
) -> Result<Vec<u8>, StatementError> {
    let Host { name: endpoint, uid: endpoint_uid } = host;
    Ok(serde_json_canonicalizer::to_vec(&Signed {
        version: VERSION,
        kind: "Origin",
        endpoint,
        endpoint_uid,
        local_user,
        digest,
        signed_at,
    })?)
}

/// States that a local user of this host asks for what has this digest. Who that is must come from the kernel.
///
/// # Errors
/// If the statement cannot be written as JSON.
pub fn sign(
    host: &Host,
    local_user: &str,
    digest: &str,
    now: DateTime<Utc>,
    key: &SigningKey,
) -> Result<Origin, StatementError> {
    let signed_at = Timestamp::new(now);
    let signature = key.sign(&signed_bytes(host, local_user, digest, signed_at)?);
    Ok(Origin {
        endpoint: host.name.clone(),
        uid: host.uid.clone(),
        local_user: local_user.to_owned(),
        signed_at,
        signature: BASE64.encode(signature.to_bytes()),
    })
}

/// Verifies that the agent with this key, in base64, has stated this of what has this digest.
///
/// # Errors
/// If it has not, or the statement cannot be read.
pub fn verify(origin: &Origin, public_key: &str, digest: &str) -> Result<(), StatementError> {
    let malformed = |what: &str| StatementError::Malformed(what.to_owned());
    let key = read_key(public_key)
        .ok_or_else(|| malformed("the agent's public key is not an Ed25519 key in base64"))?;
    let Origin { endpoint, uid, local_user, signed_at, signature } = origin;
    let signature = read_signature(signature)
        .ok_or_else(|| malformed("its signature is not 64 bytes in base64"))?;
    let host = Host { name: endpoint.clone(), uid: uid.clone() };
    key.verify_strict(&signed_bytes(&host, local_user, digest, *signed_at)?, &signature)
        .map_err(|_| StatementError::Signature)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::testing::life::time;
    use crate::testing::{person, request_spec};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(key: &SigningKey) -> String {
        BASE64.encode(key.verifying_key().as_bytes())
    }

    fn digest() -> String {
        digest_of("shop", "fix", &request_spec()).unwrap()
    }

    fn stated() -> Origin {
        let host = Host { name: "ws-1".into(), uid: "u-1".into() };
        sign(&host, "al", &digest(), time(0), &key(5)).unwrap()
    }

    #[test]
    fn it_is_about_what_is_asked_and_neither_the_stamp_nor_itself() {
        verify(&stated(), &public(&key(5)), &digest()).unwrap();
        let mut stored = request_spec();
        stored.requester = Some(person("somebody-else", &["others"]));
        stored.origin = Some(stated());
        assert_eq!(digest_of("shop", "fix", &stored).unwrap(), digest());
        assert!(is_digest(&digest()));
    }

    fn end_of(name: &str) -> AccessDecisionSpec {
        let spec = json!({"request": {"name": name}, "verdict": "End"});
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn an_end_is_of_one_request_and_neither_its_stamps_nor_itself() {
        let digest = digest_of_end("shop", &end_of("fix")).unwrap();
        let canonical = r#"{"kind":"AccessDecision","namespace":"shop","spec":{"request":{"name":"fix"},"verdict":"End"},"version":1}"#;
        assert_eq!(digest, format!("sha256:{}", hex(&Sha256::digest(canonical))));
        let mut stored = end_of("fix");
        stored.request.uid = Some("u".into());
        stored.decider = Some(person("alice", &[]));
        stored.rules_hash = Some("h".into());
        stored.origin = Some(stated());
        assert_eq!(digest_of_end("shop", &stored).unwrap(), digest);
        assert_ne!(digest_of_end("shop", &end_of("fix-2")).unwrap(), digest);
        assert_ne!(digest_of_end("bank", &end_of("fix")).unwrap(), digest);
        let denied = AccessDecisionSpec { verdict: lapse_crds::Verdict::Deny, ..end_of("fix") };
        assert_ne!(digest_of_end("shop", &denied).unwrap(), digest);
    }

    /// Agents and webhooks of all releases must agree on it.
    #[test]
    fn the_digest_is_that_of_canonical_json() {
        let spec = serde_json::from_value(json!({
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}}, "reason": "Checkout fails",
        }));
        let digest = digest_of("shop", "fix", &spec.unwrap()).unwrap();
        let canonical = r#"{"kind":"AccessRequest","name":"fix","namespace":"shop","spec":{"reason":"Checkout fails","target":{"kubernetes":{"role":{"kind":"ClusterRole","name":"edit"}}}},"version":1}"#;
        assert_eq!(digest, format!("sha256:{}", hex(&Sha256::digest(canonical))));
    }

    #[rstest]
    #[case::namespace(digest_of("bank", "fix", &request_spec()))]
    #[case::name(digest_of("shop", "fix-2", &request_spec()))]
    #[case::spec(digest_of("shop", "fix", &AccessRequestSpec { emergency: true, ..request_spec() }))]
    #[case::left_out(digest_of("shop", "fix", &AccessRequestSpec { duration: None, ..request_spec() }))]
    fn another_request_is_not_what_was_signed(#[case] other: Result<String, StatementError>) {
        let verified = verify(&stated(), &public(&key(5)), &other.unwrap());
        assert_eq!(verified, Err(StatementError::Signature));
    }

    #[rstest]
    #[case::endpoint(|o: &mut Origin| o.endpoint = "ws-2".into())]
    #[case::uid(|o: &mut Origin| o.uid = "u-2".into())]
    #[case::local_user(|o: &mut Origin| o.local_user = "root".into())]
    #[case::time(|o: &mut Origin| o.signed_at = time(1).into())]
    fn whatever_is_changed_of_it_is_not_what_was_signed(#[case] change: fn(&mut Origin)) {
        let mut origin = stated();
        change(&mut origin);
        let verified = verify(&origin, &public(&key(5)), &digest());
        assert_eq!(verified, Err(StatementError::Signature));
    }

    #[test]
    fn another_key_does_not_do_and_nonsense_is_told() {
        let verified = verify(&stated(), &public(&key(6)), &digest());
        assert_eq!(verified, Err(StatementError::Signature));
        let told = |origin: &Origin, key: &str| verify(origin, key, &digest()).unwrap_err();
        insta::assert_snapshot!(told(&stated(), "x"), @"it cannot be read: the agent's public key is not an Ed25519 key in base64");
        let cut = Origin { signature: "AAAA".into(), ..stated() };
        insta::assert_snapshot!(told(&cut, &public(&key(5))), @"it cannot be read: its signature is not 64 bytes in base64");
        insta::assert_snapshot!(verified.unwrap_err(), @"it is not signed with the key of the agent that enrolled");
    }

    /// A receipt is signed with the same key, and must never pass for a statement.
    #[test]
    fn what_the_key_signs_otherwise_is_no_statement() {
        let receipt = crate::order::Receipt {
            grant: "g".into(),
            request_uid: "u".into(),
            state: lapse_crds::OrderState::Active,
            since: time(0).into(),
            message: None,
            sequence: 1,
            ended_by_holder: false,
        };
        let signature = receipt.sign("u-1", &key(5)).unwrap().signature;
        let verified = verify(&Origin { signature, ..stated() }, &public(&key(5)), &digest());
        assert_eq!(verified, Err(StatementError::Signature));
    }

    #[rstest]
    #[case::not_so_named("3b2a000000000000000000000000000000000000000000000000000000000000")]
    #[case::short("sha256:3b2a")]
    #[case::upper_case("sha256:3B2A000000000000000000000000000000000000000000000000000000000000")]
    fn what_is_no_digest_is_known(#[case] text: &str) {
        assert!(!is_digest(text));
    }
}
