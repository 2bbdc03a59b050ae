use kube::core::DynamicObject;
use lapse_crds::ATTESTATION;
use lapse_engine::attest::{Attestation, AttestationError, KeySet, Subject, verify};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::admission::caller;
use crate::testing::{self, access_request, now};

const NONCE: [u8; 16] = [7; 16];

/// Stamps, and applies the patch as the API server does.
fn stamped(object: &Value, change: &Value, keys: &Keys) -> Value {
    let request = testing::request(object, change);
    let (admitted, _) =
        stamp(&request, &caller(&request.user_info).unwrap(), None, keys, now(), NONCE).unwrap();
    let mut stored = object.clone();
    json_patch::patch(&mut stored, &admitted.patch.unwrap_or_default()).unwrap();
    stored
}

fn verified(object: &Value, key_set: &KeySet) -> Result<Attestation, AttestationError> {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let annotations = object.metadata.annotations.unwrap_or_default();
    let subject = Subject {
        kind: "AccessRequest",
        namespace: "shop",
        name: object.metadata.name.as_deref().unwrap_or_default(),
        generate_name: object.metadata.generate_name.as_deref().unwrap_or_default(),
        spec: &object.data["spec"],
    };
    verify(key_set, &subject, annotations.get(ATTESTATION).map(String::as_str), now())
}

fn alice() -> Value {
    json!({
        "username": "alice",
        "uid": "a-1",
        "groups": ["shop-developers", "system:authenticated"],
        "credentialID": "X509SHA256=abc",
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut object = access_request();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(field.to_owned(), value);
    object
}

#[rstest]
#[case::fresh(access_request())]
#[case::no_annotations_in_words(with("/metadata/annotations", json!(null)))]
#[case::empty_annotations(with("/metadata/annotations", json!({})))]
#[case::other_annotations(with("/metadata/annotations", json!({"a/b~c": "kept"})))]
#[case::a_claim(with("/spec/requester", json!({"username": "olga", "groups": ["system:masters"]})))]
#[case::a_malformed_claim(with("/spec/requester", json!(7)))]
#[case::a_forged_signature(with("/metadata/annotations", json!({"lapse.dev/attestation": "mine"})))]
fn a_request_is_stamped_and_signed(#[case] object: Value) {
    let (keys, key_set) = testing::keys(now());
    let stored = stamped(&object, &json!({}), &keys);
    assert_eq!(stored["spec"]["requester"], alice());
    verified(&stored, &key_set).unwrap();
    let others = |object: &Value| {
        let mut others = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        others.remove(ATTESTATION);
        others
    };
    assert_eq!(others(&stored), others(&object), "what is not ours stays");
    assert_eq!(stored["spec"]["reason"], object["spec"]["reason"]);
}

#[test]
fn a_signature_is_of_one_content() {
    let (keys, key_set) = testing::keys(now());
    let mut stored = stamped(&access_request(), &json!({}), &keys);
    stored["spec"]["duration"] = json!("2h");
    assert_eq!(verified(&stored, &key_set), Err(AttestationError::Mismatch));
}

#[test]
fn a_generated_name_is_signed_by_what_it_comes_from() {
    let (keys, key_set) = testing::keys(now());
    let mut object = access_request();
    object["metadata"] = json!({"generateName": "fix-", "namespace": "shop"});
    let mut stored = stamped(&object, &json!({}), &keys);
    stored["metadata"]["name"] = json!("fix-x7k2p");
    assert!(!verified(&stored, &key_set).unwrap().named);
    stored["metadata"]["name"] = json!("another");
    assert_eq!(verified(&stored, &key_set), Err(AttestationError::Name));
}

#[rstest]
#[case(access_request())]
#[case(with("/metadata/annotations", json!({"lapse.dev/attestation": "kept from before"})))]
fn a_dry_run_is_stamped_and_never_signed(#[case] object: Value) {
    let (keys, _) = testing::keys(now());
    let stored = stamped(&object, &json!({"dryRun": true}), &keys);
    assert_eq!(stored["spec"]["requester"], alice());
    assert!(!stored.to_string().contains(ATTESTATION), "{stored}");
}

#[test]
fn what_changed_in_between_is_signed_anew() {
    let (keys, key_set) = testing::keys(now());
    let first = stamped(&access_request(), &json!({}), &keys);
    // Another webhook adds to it, and the API server calls again.
    let mut changed = first.clone();
    changed["spec"]["ticket"] = json!("INC1");
    assert_eq!(verified(&changed, &key_set), Err(AttestationError::Mismatch));
    let second = stamped(&changed, &json!({}), &keys);
    verified(&second, &key_set).unwrap();
    assert_eq!(second["spec"]["ticket"], "INC1");
    assert_eq!(second["spec"]["requester"], first["spec"]["requester"]);
}

#[rstest]
#[case::no_spec(json!({"metadata": {"name": "x"}}))]
#[case::spec_is_no_object(json!({"metadata": {"name": "x"}, "spec": 7}))]
fn what_has_no_spec_is_left_to_the_schema(#[case] object: Value) {
    let mut object = object;
    object["apiVersion"] = json!("lapse.dev/v1alpha1");
    object["kind"] = json!("AccessRequest");
    let (keys, _) = testing::keys(now());
    assert_eq!(stamped(&object, &json!({}), &keys), object);
}

#[rstest]
#[case(with("/spec/duration", json!("5 minutes")))]
#[case(with("/spec/target", json!("edit")))]
fn what_cannot_be_read_is_not_signed(#[case] object: Value) {
    let (keys, key_set) = testing::keys(now());
    let stored = stamped(&object, &json!({}), &keys);
    assert_eq!(verified(&stored, &key_set), Err(AttestationError::Absent));
}
