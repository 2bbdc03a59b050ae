use k8s_openapi::api::authentication::v1::UserInfo;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::dispatch;
use crate::testing::{self, access_request, now};

fn admission() -> Admission {
    let (keys, key_set) = testing::keys(now());
    testing::admission(keys, key_set)
}

#[rstest]
#[case::certificate(
    json!({"username": "alice", "groups": ["dev"], "extra": {CREDENTIAL_ID: ["X509SHA256=a"]}}),
    json!({"username": "alice", "groups": ["dev"], "credentialID": "X509SHA256=a"})
)]
#[case::without_anything(json!({"username": "alice"}), json!({"username": "alice"}))]
#[case::empty_is_absent(json!({"username": "alice", "uid": "", "groups": []}), json!({"username": "alice"}))]
#[case::other_extra(json!({"username": "alice", "extra": {"scopes": ["a"]}}), json!({"username": "alice"}))]
#[case::no_credential(json!({"username": "alice", "extra": {CREDENTIAL_ID: []}}), json!({"username": "alice"}))]
#[case::service_account(
    json!({"username": "system:serviceaccount:ci:bot", "uid": "u", "groups": ["system:serviceaccounts"],
           "extra": {CREDENTIAL_ID: ["JTI=1", "JTI=2"]}}),
    json!({"username": "system:serviceaccount:ci:bot", "uid": "u", "groups": ["system:serviceaccounts"],
           "credentialID": "JTI=1"})
)]
fn a_caller_is_who_was_authenticated(#[case] user: Value, #[case] expected: Value) {
    let user: UserInfo = serde_json::from_value(user).unwrap();
    let identity = caller(&user).unwrap();
    assert_eq!(serde_json::to_value(identity).unwrap(), expected);
}

#[rstest]
#[case(json!({}))]
#[case(json!({"username": ""}))]
fn nobody_is_an_error(#[case] user: Value) {
    let user: UserInfo = serde_json::from_value(user).unwrap();
    assert!(matches!(caller(&user), Err(NotAdmitted::Failed(_))));
}

#[tokio::test]
async fn each_entry_has_its_path_and_no_other_answers() {
    let admission = admission();
    let keys = admission.keys().unwrap();
    let [mutate, validate] = ["mutate", "validate"].map(|verb| keys.path_to(verb));
    assert_eq!(admission.webhook_at(&mutate), Some(Webhook::Stamp));
    assert_eq!(admission.webhook_at(&validate), Some(Webhook::Validate));
    assert_eq!(admission.webhook_at(&keys.path_to("session")), Some(Webhook::Session));
    assert_eq!(admission.webhook_at(&keys.path_to("confine")), Some(Webhook::Confine));
    let token = mutate.trim_end_matches("/mutate").to_owned();
    for path in [
        "",
        "/",
        "/mutate",
        "/unset/mutate",
        "//mutate",
        &token,
        &format!("{token}/"),
        &format!("{token}/mutate/"),
        &format!("{token}/sign"),
        &format!("/x{token}/mutate"),
    ] {
        assert_eq!(admission.webhook_at(path), None, "{path}");
    }
}

#[tokio::test]
async fn without_keys_nothing_gets_in() {
    let admission = admission();
    let without = Admission { state: watch::channel(None).1, ..admission };
    let request = testing::request(&access_request(), &json!({}));
    let answer = dispatch::review(&without, Webhook::Stamp, &request).await.unwrap();
    assert!(!answer.allowed);
    assert_eq!(without.webhook_at("/unset/mutate"), None);
}
