use rstest::rstest;
use serde_json::json;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn published(key: &PublicKey, id: &str) -> KeySet {
    let entry = (id.to_owned(), serde_json::to_string(key).unwrap());
    let (keys, errors) = KeySet::read([(&entry.0, &entry.1)]);
    assert_eq!(errors, vec![]);
    keys
}

fn keys(seed: u8) -> KeySet {
    let verifying = key(seed).verifying_key();
    published(&PublicKey::new(&verifying, time(-1000)), &key_id(&verifying))
}

struct Fixture {
    spec: Value,
    name: String,
    generate_name: String,
    namespace: String,
    kind: String,
}

impl Fixture {
    fn subject(&self) -> Subject<'_> {
        Subject {
            kind: &self.kind,
            namespace: &self.namespace,
            name: &self.name,
            generate_name: &self.generate_name,
            spec: &self.spec,
        }
    }
}

fn fixture() -> Fixture {
    Fixture {
        spec: json!({"verdict": "Approve", "request": {"uid": "u", "name": "r"}}),
        name: "fix".into(),
        generate_name: String::new(),
        namespace: "shop".into(),
        kind: "AccessDecision".into(),
    }
}

fn signed(fixture: &Fixture) -> String {
    let attestation = sign(&key(1), &fixture.subject(), time(0), [7; 16]).unwrap();
    serde_json::to_string(&attestation).unwrap()
}

#[test]
fn verifies_what_it_signed() {
    let fixture = fixture();
    let annotation = signed(&fixture);
    let attestation = verify(&keys(1), &fixture.subject(), Some(&annotation), time(1)).unwrap();
    assert_eq!(attestation.admitted_at.time(), time(0));
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let mut fixture = fixture();
    let annotation = signed(&fixture);
    fixture.spec = json!({"request": {"name": "r", "uid": "u"}, "verdict": "Approve"});
    verify(&keys(1), &fixture.subject(), Some(&annotation), time(0)).unwrap();
}

#[rstest]
#[case::spec(|f: &mut Fixture| f.spec["verdict"] = json!("Deny"))]
#[case::added_field(|f: &mut Fixture| f.spec["duration"] = json!("8h"))]
#[case::null_field(|f: &mut Fixture| f.spec["duration"] = Value::Null)]
#[case::name(|f: &mut Fixture| f.name = "other".into())]
#[case::namespace(|f: &mut Fixture| f.namespace = "bank".into())]
#[case::kind(|f: &mut Fixture| f.kind = "AccessRequest".into())]
fn any_change_is_a_mismatch(#[case] change: fn(&mut Fixture)) {
    let mut fixture = fixture();
    let annotation = signed(&fixture);
    change(&mut fixture);
    let error = verify(&keys(1), &fixture.subject(), Some(&annotation), time(0)).unwrap_err();
    assert_eq!(error, AttestationError::Mismatch);
}

#[rstest]
#[case("fix-abcde", Ok(()))]
#[case("fix-abcdef", Err(AttestationError::Name))]
#[case("other-abcde", Err(AttestationError::Name))]
#[case("abcde", Err(AttestationError::Name))]
#[case("fix", Err(AttestationError::Name))]
fn a_generated_name_follows_from_its_prefix(
    #[case] name: &str,
    #[case] expected: Result<(), AttestationError>,
) {
    let mut fixture = fixture();
    fixture.name = String::new();
    fixture.generate_name = "fix-".into();
    let annotation = signed(&fixture);
    fixture.name = name.into();
    let verified = verify(&keys(1), &fixture.subject(), Some(&annotation), time(0));
    assert_eq!(verified.map(|_| ()), expected);
}

#[test]
fn long_generated_names_are_cut_as_the_api_server_cuts_them() {
    let prefix = "x".repeat(80);
    assert!(is_generated(&format!("{}abcde", "x".repeat(58)), &prefix));
    assert!(!is_generated(&format!("{}abcde", "x".repeat(40)), &prefix));
}

#[rstest]
#[case(-61, false)]
#[case(-60, true)]
#[case(60, true)]
#[case(61, false)]
fn is_fresh_for_a_minute(#[case] created: i64, #[case] fresh: bool) {
    let fixture = fixture();
    let annotation = signed(&fixture);
    let verified = verify(&keys(1), &fixture.subject(), Some(&annotation), time(created));
    assert_eq!(verified.is_ok(), fresh, "{verified:?}");
}

#[test]
fn another_key_does_not_do() {
    let fixture = fixture();
    let annotation = signed(&fixture);
    let error = verify(&keys(2), &fixture.subject(), Some(&annotation), time(0)).unwrap_err();
    assert!(error.may_pass(), "{error}");

    // The identifier of a published key does not help a signature by another.
    let mut forged: Attestation = serde_json::from_str(&annotation).unwrap();
    forged.key = key_id(&key(2).verifying_key());
    let forged = serde_json::to_string(&forged).unwrap();
    let error = verify(&keys(2), &fixture.subject(), Some(&forged), time(0)).unwrap_err();
    assert_eq!(error, AttestationError::Mismatch);
}

#[rstest]
#[case(Some(1), true)]
#[case(Some(0), false)]
#[case(None, true)]
fn a_key_holds_until_it_is_retired(#[case] retired: Option<i64>, #[case] holds: bool) {
    let fixture = fixture();
    let annotation = signed(&fixture);
    let verifying = key(1).verifying_key();
    let mut public = PublicKey::new(&verifying, time(-1));
    public.retired_at = retired.map(|seconds| time(seconds).into());
    let keys = published(&public, &key_id(&verifying));
    let verified = verify(&keys, &fixture.subject(), Some(&annotation), time(0));
    assert_eq!(verified.is_ok(), holds, "{verified:?}");
    assert_eq!(keys.in_force_at(time(0)), usize::from(holds));
}

#[rstest]
#[case(None, "carries no attestation")]
#[case(Some("{}"), "cannot be read")]
#[case(Some("rubbish"), "cannot be read")]
fn says_what_is_wrong(#[case] annotation: Option<&str>, #[case] words: &str) {
    let fixture = fixture();
    let error = verify(&keys(1), &fixture.subject(), annotation, time(0)).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.may_pass());
}

/// By a version of its own, so that an earlier release does not take the word of a host for a credential.
#[rstest]
#[case::who_asks("requester")]
#[case::who_decides("decider")]
fn what_a_host_vouches_for_is_signed_as_such(#[case] stamp: &str) {
    let mut of_host = fixture();
    of_host.spec[stamp] = json!({
        "username": "alice", "endpointUser": {"endpoint": "ws-1", "localUser": "al"},
    });
    let annotation = signed(&of_host);
    let attestation = verify(&keys(1), &of_host.subject(), Some(&annotation), time(0)).unwrap();
    assert_eq!(attestation.version, 2);
    // Neither is taken for the other.
    let as_version = |version: u32, annotation: &str| {
        let mut attestation: Attestation = serde_json::from_str(annotation).unwrap();
        attestation.version = version;
        serde_json::to_string(&attestation).unwrap()
    };
    let verified = |of: &Fixture, annotation: &str| {
        verify(&keys(1), &of.subject(), Some(annotation), time(0)).map(drop)
    };
    let mismatch = Err(AttestationError::Mismatch);
    assert_eq!(verified(&of_host, &as_version(1, &annotation)), mismatch);
    let ordinary = fixture();
    let annotation = signed(&ordinary);
    assert_eq!(verified(&ordinary, &annotation), Ok(()));
    assert_eq!(verified(&ordinary, &as_version(2, &annotation)), mismatch);
    assert_eq!(verified(&ordinary, &as_version(3, &annotation)), Err(AttestationError::Version(3)));
}

/// An earlier release signs what it does not know, as the first version.
#[test]
fn what_an_earlier_release_signed_vouches_for_nobody() {
    let mut of_host = fixture();
    of_host.spec["requester"] = json!({
        "username": "alice", "endpointUser": {"endpoint": "ws-1", "localUser": "al"},
    });
    let (admitted_at, nonce) = (Timestamp::new(time(0)), "07".repeat(16));
    let bytes = signed_bytes(&of_host.subject(), (1, true), admitted_at, &nonce).unwrap();
    let attestation = Attestation {
        version: 1,
        key: key_id(&key(1).verifying_key()),
        admitted_at,
        nonce,
        named: true,
        signature: BASE64.encode(key(1).sign(&bytes).to_bytes()),
    };
    let annotation = serde_json::to_string(&attestation).unwrap();
    let verified = verify(&keys(1), &of_host.subject(), Some(&annotation), time(0));
    assert_eq!(verified, Err(AttestationError::Mismatch));
}

#[test]
fn a_key_under_a_wrong_name_is_refused() {
    let public = PublicKey::new(&key(1).verifying_key(), time(0));
    let entry = ("0123456789abcdef".to_owned(), serde_json::to_string(&public).unwrap());
    let (keys, errors) = KeySet::read([(&entry.0, &entry.1)]);
    assert!(keys.is_empty());
    assert_eq!(errors, vec![KeyError::WrongId { id: entry.0 }]);
}

/// One of each.
#[test]
fn what_is_said() {
    use AttestationError as E;
    let all = [
        E::Absent,
        E::Malformed("the signature is not 64 bytes".into()),
        E::Version(3),
        E::UnknownKey("0123456789abcdef".into()),
        E::KeyNotInForce("0123456789abcdef".into()),
        E::Stale { created: "2026-11-21T12:00:00+00:00".into(), admitted: time(0).into() },
        E::Name,
        E::Mismatch,
    ];
    // A new one does not compile here without its example above.
    for error in &all {
        match error {
            E::Absent
            | E::Malformed(_)
            | E::Version(_)
            | E::UnknownKey(_)
            | E::KeyNotInForce(_)
            | E::Stale { .. }
            | E::Name
            | E::Mismatch => {}
        }
    }
    let keys = [
        KeyError::Malformed {
            id: "0123456789abcdef".into(),
            why: "it is not 32 bytes long".into(),
        },
        KeyError::WrongId { id: "0123456789abcdef".into() },
    ];
    let lines = all.iter().map(ToString::to_string).chain(keys.iter().map(ToString::to_string));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
