use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::TimeDelta;
use ed25519_dalek::SigningKey;
use lapse_crds::{ATTESTATION, LocalUser, Subject, SubjectKind};
use lapse_engine::order::Host;
use lapse_engine::origin::{digest_of, sign};
use rstest::rstest;
use serde_json::json;

use super::super::request::stamp;
use super::*;
use crate::admission::caller;
use crate::testing::{self, access_request, now};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn workstation() -> EndpointFacts {
    let subject =
        Subject { kind: SubjectKind::User, name: "alice".into(), namespace: None, endpoint: None };
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![LocalUser { subject, local_user: "al".into(), authorized_keys: vec![] }],
        agent_key: Some(BASE64.encode(key().verifying_key().as_bytes())),
        ..EndpointFacts::default()
    }
}

/// The request of alice with the statement of her workstation, signed so many seconds from now.
fn from_there(object: Value, seconds: i64) -> Value {
    let mut object = object;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let spec: AccessRequestSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    let digest = digest_of("shop", &name, &spec).unwrap();
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    let at = now() + TimeDelta::seconds(seconds);
    let origin = sign(&host, "al", &digest, at, &key()).unwrap();
    object["spec"]["origin"] = serde_json::to_value(origin).unwrap();
    object
}

/// What is stored, or why not, when it is created by whom the change says, alice by default.
fn stored(object: &Value, change: &Value, endpoint: Read<EndpointFacts>) -> Result<Value, String> {
    let (keys, _) = testing::keys(now());
    let request = testing::request(object, change);
    let who = caller(&request.user_info).unwrap();
    let origin = serde_json::from_value(object["spec"]["origin"].clone()).unwrap();
    let claim = Claim::of(origin, endpoint);
    let admitted = stamp(&request, &who, Some(&claim), &keys, now(), [7; 16]);
    let (admitted, _) = admitted.map_err(|error| error.to_string())?;
    let mut stored = object.clone();
    json_patch::patch(&mut stored, &admitted.patch.unwrap()).unwrap();
    Ok(stored)
}

#[test]
fn what_an_agent_has_signed_is_signed_with_it() {
    let object = from_there(access_request(), 0);
    let stored = stored(&object, &json!({}), Read::Found(workstation())).unwrap();
    assert_eq!(stored["spec"]["origin"], object["spec"]["origin"]);
    assert!(stored["metadata"]["annotations"][ATTESTATION].is_string());
}

/// The attacks on the way from the host to the API server.
#[rstest]
#[case::more_is_asked(|o: &mut Value| o["spec"]["emergency"] = json!(true), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request, as it is not signed with the key of the agent that enrolled: it was changed after that, or the host has enrolled again since. Request again with `kubectl jit request --from-host` on that host, or without spec.origin")]
#[case::once_more(|o: &mut Value| o["metadata"]["name"] = json!("fix-again"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::without_a_name(|o: &mut Value| o["metadata"] = json!({"generateName": "fix-", "namespace": "shop"}), "metadata.name is required with spec.origin: an agent signs for one request, by its name")]
#[case::another_host(|o: &mut Value| o["spec"]["origin"]["uid"] = json!("u-2"), "spec.origin proves nothing: Endpoint ws-1 was deleted, and created again since")]
#[case::another_local_user(|o: &mut Value| o["spec"]["origin"]["localUser"] = json!("root"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::made_fresh(|o: &mut Value| o["spec"]["origin"]["signedAt"] = json!("2026-11-21T12:00:01.000000Z"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::a_field_that_is_not_known(|o: &mut Value| o["spec"]["later"] = json!(1), "spec.origin is about what this release understands of the request, and something in the spec is written otherwise: leave out what is empty or false, and write times with microseconds, as `kubectl jit request --from-host` does")]
#[case::written_otherwise(|o: &mut Value| o["spec"]["emergency"] = json!(false), "spec.origin is about what this release understands")]
fn what_was_changed_on_its_way_is_refused(#[case] change: fn(&mut Value), #[case] expected: &str) {
    let mut object = from_there(access_request(), 0);
    change(&mut object);
    let refused = stored(&object, &json!({}), Read::Found(workstation())).unwrap_err();
    assert!(refused.starts_with(expected), "{refused}");
}

#[rstest]
#[case::stale(-121, false)]
#[case::fresh(-120, true)]
#[case::ahead(120, true)]
#[case::far_ahead(121, false)]
fn a_statement_is_worth_something_for_two_minutes(#[case] seconds: i64, #[case] is_fresh: bool) {
    let object = from_there(access_request(), seconds);
    let stored = stored(&object, &json!({}), Read::Found(workstation()));
    assert_eq!(stored.is_ok(), is_fresh, "{stored:?}");
}

#[rstest]
#[case::gone(Read::Missing, "spec.origin proves nothing: there is no Endpoint ws-1")]
#[case::going(Read::Found(EndpointFacts { is_going: true, ..workstation() }), "spec.origin proves nothing: Endpoint ws-1 is being deleted")]
#[case::twice(Read::Found(EndpointFacts { is_twice: true, ..workstation() }), "spec.origin proves nothing: two machines have the identity of Endpoint ws-1")]
#[case::of_nobody(Read::Found(EndpointFacts { users: vec![], ..workstation() }), "spec.origin proves nothing: al on Endpoint ws-1 is no local user of alice")]
#[case::not_read(Read::Failed("timeout".into()), "Endpoint ws-1 cannot be read: timeout. Nothing was stored; try again")]
fn what_the_host_is_not_is_refused(#[case] endpoint: Read<EndpointFacts>, #[case] expected: &str) {
    let object = from_there(access_request(), 0);
    let refused = stored(&object, &json!({}), endpoint).unwrap_err();
    assert!(refused.starts_with(expected), "{refused}");
}

/// Her statement is worth nothing to anybody else, nor in another namespace; and a dry run is no way around.
#[rstest]
#[case::another_caller(json!({"userInfo": {"username": "mallory"}}))]
#[case::another_namespace(json!({"namespace": "bank"}))]
#[case::a_dry_run(json!({"userInfo": {"username": "mallory"}, "dryRun": true}))]
fn a_statement_is_its_own_requesters_alone(#[case] change: Value) {
    let object = from_there(access_request(), 0);
    let refused = stored(&object, &change, Read::Found(workstation())).unwrap_err();
    assert!(refused.starts_with("spec.origin proves nothing"), "{refused}");
}

#[test]
fn what_nobody_has_looked_at_is_not_let_through() {
    let request = testing::request(&from_there(access_request(), 0), &json!({}));
    let (keys, _) = testing::keys(now());
    let who = caller(&request.user_info).unwrap();
    let refused = stamp(&request, &who, None, &keys, now(), [7; 16]).unwrap_err();
    assert!(refused.to_string().starts_with("Endpoint ws-1 was not looked at"), "{refused}");
}

/// Its name becomes part of a URL.
#[tokio::test]
async fn what_is_no_name_is_not_asked_for() {
    let mut object = from_there(access_request(), 0);
    object["spec"]["origin"]["endpoint"] = json!("../secrets");
    let request = testing::request(&object, &json!({}));
    let refused = Claim::read(&testing::signing(), &request).await.err().unwrap();
    assert!(refused.to_string().starts_with("spec.origin.endpoint is \"../secrets\""), "{refused}");
}
