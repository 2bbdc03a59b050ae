use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use lapse_crds::OrderState;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::attest::sign;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

fn published(current: &SigningKey, successions: Vec<Succession>, issued: i64) -> PublishedTrust {
    use base64::Engine as _;
    PublishedTrust {
        key: base64::engine::general_purpose::STANDARD.encode(current.verifying_key().as_bytes()),
        valid_from: at(0).into(),
        successions,
        authorities: sign_authorities(current, format!("authority {issued}"), at(issued)).unwrap(),
    }
}

fn trusting() -> TrustStore {
    TrustStore::pinned(&published(&key(1), vec![], 0), &pin_of(&key(1).verifying_key())).unwrap()
}

fn own() -> Host {
    Host { name: "web-1".into(), uid: "u-1".into() }
}

fn spec() -> Value {
    json!({
        "request": {"namespace": "ops", "name": "fix", "uid": "r-1"},
        "policy": {"name": "web", "uid": "p-1", "generation": 1},
        "subject": {"kind": "User", "name": "alice"},
        "username": "alice",
        "target": {"endpoint": {"name": "web-1", "uid": "u-1", "localUser": "alice", "group": "adm"}},
        "startsAt": "2024-10-04T00:00:00.000000Z",
        "expiresAt": "2024-10-04T01:00:00.000000Z",
        "rulesHash": "none",
    })
}

fn order(signer: &SigningKey, spec: Value, minute: i64) -> Order {
    let name = "ops-fix-0123456789";
    let subject =
        attest::Subject { kind: ORDER_KIND, namespace: "", name, generate_name: "", spec: &spec };
    let attestation = sign(signer, &subject, at(minute), [7; 16]).unwrap();
    let attestation = serde_json::to_string(&attestation).unwrap();
    Order { grant: name.into(), spec, attestation }
}

#[test]
fn what_the_webhook_signed_for_this_host_is_carried_out() {
    let verified = verify(&trusting().keys(), &own(), &order(&key(1), spec(), 1)).unwrap();
    assert_eq!(
        (verified.local_user.as_str(), verified.target.group.as_deref()),
        ("alice", Some("adm"))
    );
}

#[rstest]
#[case::another_host(|o: &mut Order| { *o = order(&key(1), { let mut s = spec(); s["target"]["endpoint"]["name"] = json!("web-2"); s }, 1); }, "it is for web-2 (u-1), and this is web-1 (u-1)")]
#[case::enrolled_before_under_this_name(|o: &mut Order| { *o = order(&key(1), { let mut s = spec(); s["target"]["endpoint"]["uid"] = json!("u-0"); s }, 1); }, "it is for web-1 (u-0), and this is web-1 (u-1)")]
#[case::another_grant(|o: &mut Order| o.grant = "ops-fix-x".into(), "it is not what Lapse's webhook signed: its attestation does not match its content")]
#[case::another_user(|o: &mut Order| o.spec["target"]["endpoint"]["localUser"] = json!("mallory"), "it is not what Lapse's webhook signed: its attestation does not match its content")]
#[case::longer(|o: &mut Order| o.spec["expiresAt"] = json!("2034-10-04T01:00:00.000000Z"), "it is not what Lapse's webhook signed: its attestation does not match its content")]
#[case::another_key(|o: &mut Order| *o = order(&key(2), spec(), 1), "it is not what Lapse's webhook signed: its attestation was signed by the key 8b73b7a3d4b0fe6f, which is not published")]
#[case::before_the_key(|o: &mut Order| *o = order(&key(1), spec(), -1), "it is not what Lapse's webhook signed: its attestation was signed by the key 34750f98bd59fcfc, which was not in force then")]
#[case::of_kubernetes(|o: &mut Order| { *o = order(&key(1), { let mut s = spec(); s["target"] = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}}); s }, 1); }, "it cannot be read: it has no target.endpoint")]
#[case::without_its_program(|o: &mut Order| { *o = order(&key(1), { let mut s = spec(); s["target"]["endpoint"] = json!({"name": "web-1", "uid": "u-1", "localUser": "alice", "application": "restart-web"}); s }, 1); }, "it cannot be read: it has no target.endpoint.program")]
#[case::newer(|o: &mut Order| { *o = order(&key(1), { let mut s = spec(); s["target"]["endpoint"]["runAs"] = json!("www-data"); s }, 1); }, "it has fields that this agent does not know; update the agent")]
fn what_is_not_is_not(#[case] change: fn(&mut Order), #[case] expected: &str) {
    let mut order = order(&key(1), spec(), 1);
    change(&mut order);
    let error = verify(&trusting().keys(), &own(), &order).unwrap_err().to_string();
    let shape = |text: &str| {
        let (start, rest) = text.split_once("by the key ").unwrap_or((text, ""));
        format!("{start}{}", rest.get(16..).unwrap_or_default())
    };
    assert_eq!(shape(&error), shape(expected));
}

/// A request, a decision and a Grant are signed with one key: none may stand for another.
#[test]
fn a_request_is_no_order() {
    let spec = spec();
    let name = "ops-fix-0123456789";
    let subject = attest::Subject {
        kind: "AccessRequest",
        namespace: "",
        name,
        generate_name: "",
        spec: &spec,
    };
    let attestation = sign(&key(1), &subject, at(1), [7; 16]).unwrap();
    let attestation = serde_json::to_string(&attestation).unwrap();
    let order = Order { grant: name.into(), spec: spec.clone(), attestation };
    assert!(matches!(verify(&trusting().keys(), &own(), &order), Err(OrderError::Attestation(_))));
}

#[test]
fn the_pinned_key_leads_to_the_current_one() {
    let mut store = trusting();
    let first = sign_succession(&key(1), &key(2).verifying_key(), at(10), at(11)).unwrap();
    let second = sign_succession(&key(2), &key(3).verifying_key(), at(20), at(21)).unwrap();
    let now = published(&key(3), vec![first, second], 20);
    assert!(store.follow(&now).unwrap());
    assert!(!store.follow(&now).unwrap());
    assert_eq!(store.authorities(), "authority 20");
    for (signer, minute, holds) in
        [(1, 5, true), (1, 12, false), (2, 12, true), (2, 22, false), (3, 22, true), (3, 19, false)]
    {
        let order = order(&key(signer), spec(), minute);
        assert_eq!(verify(&store.keys(), &own(), &order).is_ok(), holds, "{signer} at {minute}");
    }
}

#[test]
fn a_key_that_no_trusted_one_signed_for_changes_nothing() {
    let mut store = trusting();
    let forged = sign_succession(&key(9), &key(2).verifying_key(), at(10), at(11)).unwrap();
    let stands_for_another =
        Succession { previous: attest::key_id(&key(1).verifying_key()), ..forged.clone() };
    for successions in [vec![], vec![forged], vec![stands_for_another]] {
        let before = store.clone();
        assert!(store.follow(&published(&key(2), successions, 20)).is_err());
        assert_eq!(store, before);
    }
}

#[test]
fn a_key_names_one_successor() {
    let mut store = trusting();
    let rightful = sign_succession(&key(1), &key(2).verifying_key(), at(10), at(11)).unwrap();
    store.follow(&published(&key(2), vec![rightful.clone()], 10)).unwrap();
    let leaked = sign_succession(&key(1), &key(9).verifying_key(), at(30), at(31)).unwrap();
    let error = store.follow(&published(&key(9), vec![rightful, leaked], 30)).unwrap_err();
    assert!(matches!(error, TrustError::Broken(_)), "{error}");
}

#[test]
fn what_was_said_earlier_of_the_authorities_is_not_heard_again() {
    let mut store = trusting();
    store.follow(&published(&key(1), vec![], 20)).unwrap();
    assert!(!store.follow(&published(&key(1), vec![], 10)).unwrap());
    assert_eq!(store.authorities(), "authority 20");
}

#[test]
fn another_pin_is_refused() {
    let error =
        TrustStore::pinned(&published(&key(2), vec![], 0), &pin_of(&key(1).verifying_key()));
    assert!(matches!(error, Err(TrustError::Pin { .. })));
    let mut forged = published(&key(1), vec![], 0);
    forged.authorities.certificates = "another".into();
    let error = TrustStore::pinned(&forged, &pin_of(&key(1).verifying_key()));
    assert_eq!(error, Err(TrustError::Signature));
}

#[test]
fn a_receipt_is_the_agents_own() {
    use base64::Engine as _;
    let receipt = Receipt {
        grant: "ops-fix-0123456789".into(),
        request_uid: "r-1".into(),
        state: OrderState::Ending,
        since: at(0).into(),
        message: Some("a process does not end".into()),
        sequence: 4,
        ended_by_holder: false,
    };
    let signed = receipt.clone().sign("u-1", &key(5)).unwrap();
    let public =
        base64::engine::general_purpose::STANDARD.encode(key(5).verifying_key().as_bytes());
    assert_eq!(verify_receipt(&public, "u-1", &signed), Ok(receipt));
    let mut forged = signed.clone();
    forged.state = OrderState::Ended;
    assert_eq!(verify_receipt(&public, "u-1", &forged), Err(ReceiptError::Signature));
    assert_eq!(verify_receipt(&public, "u-2", &signed), Err(ReceiptError::Signature));
}

fn ended(by_holder: bool, sequence: i64) -> Receipt {
    Receipt {
        grant: "ops-fix-0123456789".into(),
        request_uid: "r-1".into(),
        state: OrderState::Ended,
        since: at(0).into(),
        message: None,
        sequence,
        ended_by_holder: by_holder,
    }
}

/// Neither can be made up by who carries receipts, and one stands for no other.
#[test]
fn that_the_holder_ended_it_is_signed_apart() {
    use base64::Engine as _;
    let public =
        base64::engine::general_purpose::STANDARD.encode(key(5).verifying_key().as_bytes());
    let verify = |status: &lapse_crds::OrderStatus| verify_receipt(&public, "u-1", status);
    let own = ended(true, 4).sign("u-1", &key(5)).unwrap();
    assert_eq!(verify(&own), Ok(ended(true, 4)));
    // A release that does not know the statement drops it, and believes the rest.
    let unknown = lapse_crds::OrderStatus { ended_by_holder: None, ..own.clone() };
    assert_eq!(verify(&unknown), Ok(ended(false, 4)));
    let other = ended(false, 5).sign("u-1", &key(5)).unwrap();
    for signature in [&own.signature, own.ended_by_holder.as_ref().unwrap()] {
        let forged =
            lapse_crds::OrderStatus { ended_by_holder: Some(signature.clone()), ..other.clone() };
        assert_eq!(verify(&forged), Err(ReceiptError::Signature));
    }
    let swapped = lapse_crds::OrderStatus {
        signature: own.ended_by_holder.clone().unwrap(),
        ended_by_holder: None,
        ..own
    };
    assert_eq!(verify(&swapped), Err(ReceiptError::Signature));
}

/// What agents of earlier releases sign.
#[test]
fn earlier_signatures_stay_valid() {
    use base64::Engine as _;
    use ed25519_dalek::Signer as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let signed = r#"{"endpointUid":"u-1","grant":"ops-fix-0123456789","kind":"Receipt","requestUid":"r-1","sequence":4,"since":"2024-10-04T00:00:00.000000Z","state":"Ended","version":1}"#;
    let signature = base64.encode(key(5).sign(signed.as_bytes()).to_bytes());
    let status = json!({
        "grant": "ops-fix-0123456789", "requestUid": "r-1", "state": "Ended",
        "since": "2024-10-04T00:00:00.000000Z", "sequence": 4, "signature": signature,
    });
    let public = base64.encode(key(5).verifying_key().as_bytes());
    let read = verify_receipt(&public, "u-1", &serde_json::from_value(status).unwrap());
    assert_eq!(read, Ok(ended(false, 4)));
}
