use rstest::rstest;
use serde_json::json;

use super::*;
use crate::testing;

async fn validated(admission: &Admission, object: &Value, change: Value) -> Result<(), String> {
    let request = testing::request(object, &change);
    let admitted = signed(admission, Kind::AccessRequest, &request).await;
    admitted.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_was_stamped_is_let_through() {
    let admission = testing::signing();
    let object = testing::stamped(&admission).await;
    validated(&admission, &object, json!({})).await.unwrap();
}

#[rstest]
#[case::unsigned(|o: &mut Value| drop(o["metadata"].as_object_mut().unwrap().remove("annotations")), "has not been stamped")]
#[case::changed(|o: &mut Value| o["spec"]["duration"] = json!("8h"), "something changed this AccessRequest after")]
#[case::somebody_else(|o: &mut Value| o["spec"]["requester"]["username"] = json!("olga"), "spec.requester is not your identity")]
#[case::another_group(|o: &mut Value| o["spec"]["requester"]["groups"] = json!(["system:masters"]), "spec.requester is not your identity")]
#[case::nobody(|o: &mut Value| drop(o["spec"].as_object_mut().unwrap().remove("requester")), "spec.requester is not your identity")]
#[case::not_readable(|o: &mut Value| o["spec"]["target"] = json!(7), "spec.target: ")]
#[case::old(|o: &mut Value| o["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z"), "This AccessRequest is not accepted")]
#[tokio::test]
async fn what_was_not_stamped_is_refused(#[case] change: fn(&mut Value), #[case] expected: &str) {
    let admission = testing::signing();
    let mut object = testing::stamped(&admission).await;
    change(&mut object);
    let error = validated(&admission, &object, json!({})).await.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_dry_run_needs_no_signature_and_still_a_stamp() {
    let admission = testing::signing();
    let mut object = testing::stamped(&admission).await;
    object["metadata"].as_object_mut().unwrap().remove("annotations");
    validated(&admission, &object, json!({"dryRun": true})).await.unwrap();
    object["spec"]["requester"]["username"] = json!("olga");
    validated(&admission, &object, json!({"dryRun": true})).await.unwrap_err();
}

#[rstest]
#[case::nothing(|_: &mut Value| {}, None)]
#[case::a_label(|o: &mut Value| o["metadata"]["labels"] = json!({"a": "b"}), None)]
#[case::status(|o: &mut Value| o["status"] = json!({"phase": "Denied"}), None)]
#[case::spec(|o: &mut Value| o["spec"]["duration"] = json!("8h"), Some("Delete it and create another request"))]
#[case::requester(|o: &mut Value| o["spec"]["requester"]["username"] = json!("olga"), Some("leave it out of the manifest"))]
#[case::signature(|o: &mut Value| drop(o["metadata"].as_object_mut().unwrap().remove("annotations")), Some("can be neither changed nor removed"))]
#[tokio::test]
async fn what_was_asked_stays(#[case] change: fn(&mut Value), #[case] expected: Option<&str>) {
    let admission = testing::signing();
    let old = testing::stamped(&admission).await;
    let mut new = old.clone();
    change(&mut new);
    // Anybody may update, such as the controller: stamps are of who made it.
    let user = json!({"username": "olga"});
    let update = json!({"operation": "UPDATE", "oldObject": old, "userInfo": user});
    let outcome = validated(&admission, &new, update).await;
    match expected {
        None => outcome.unwrap(),
        Some(expected) => assert!(outcome.clone().unwrap_err().contains(expected), "{outcome:?}"),
    }
}

/// What the gateway submits is somebody's on the host that vouches for them, and nobody else's.
#[rstest]
#[case::of_the_host(|_: &mut Value| {}, true)]
#[case::another_local_user(|s: &mut Value| s["endpointUser"]["localUser"] = json!("bo"), false)]
#[case::another_host(|s: &mut Value| s["endpointUser"]["endpoint"] = json!("ws-2"), false)]
#[case::the_gateway(|s: &mut Value| *s = json!({"username": "system:serviceaccount:lapse-system:lapse-gateway"}), false)]
#[case::with_groups(|s: &mut Value| s["groups"] = json!(["shop-developers"]), false)]
#[case::with_a_credential(|s: &mut Value| s["credentialID"] = json!("JTI=1"), false)]
#[case::with_a_uid(|s: &mut Value| s["uid"] = json!("a-1"), false)]
fn the_gateway_is_nobody(#[case] change: fn(&mut Value), #[case] expected: bool) {
    let mut stamp =
        json!({"username": "alice", "endpointUser": {"endpoint": "ws-1", "localUser": "al"}});
    change(&mut stamp);
    let stamp: Identity = serde_json::from_value(stamp).unwrap();
    let origin = json!({
        "endpoint": "ws-1", "uid": "u-1", "localUser": "al", "signature": "",
        "signedAt": "2026-11-21T12:00:00.000000Z",
    });
    let origin: Origin = serde_json::from_value(origin).unwrap();
    assert_eq!(is_vouched_for(&stamp, Some(&origin)), expected);
    assert!(!is_vouched_for(&stamp, None));
}

/// And nobody who shows credentials is on a host.
#[tokio::test]
async fn a_stamp_of_a_host_is_nobodys_who_shows_credentials() {
    let admission = testing::signing();
    let mut object = testing::stamped(&admission).await;
    object["spec"]["requester"]["endpointUser"] = json!({"endpoint": "ws-1", "localUser": "al"});
    let error = validated(&admission, &object, json!({})).await.unwrap_err();
    assert!(error.contains("spec.requester is not your identity"), "{error}");
}
