use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, access_request, now};

fn admission() -> Admission {
    let (keys, key_set) = testing::keys(now());
    testing::admission(keys, key_set)
}

#[rstest]
#[case::kind(json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}}))]
#[case::group(json!({"kind": {"group": "example.com"}}))]
#[case::version(json!({"kind": {"version": "v2"}}))]
#[case::status(json!({"subResource": "status"}))]
#[case::deletion(json!({"operation": "DELETE"}))]
#[case::update(json!({"operation": "UPDATE"}))]
#[case::grant(json!({"kind": {"kind": "Grant"}}))]
#[case::policy(json!({"kind": {"kind": "JitPolicy"}}))]
#[tokio::test]
async fn what_nobody_asks_to_be_stamped_is_not_answered(#[case] change: Value) {
    let request = testing::request(&access_request(), &change);
    let answer = review(&admission(), Webhook::Stamp, &request).await;
    assert!(answer.unwrap_err().to_string().contains("webhook configurations lapse"));
}

#[tokio::test]
async fn an_answer_carries_patch_and_identity_of_the_question() {
    let request = testing::request(&access_request(), &json!({}));
    let answer = review(&admission(), Webhook::Stamp, &request).await.unwrap();
    assert!(answer.allowed);
    assert_eq!(answer.uid, request.uid);
    let review = serde_json::to_value(answer.into_review()).unwrap();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["response"]["patchType"], "JSONPatch");
}

#[rstest]
#[case(NotAdmitted::Forbidden("no".into()), 403, "no")]
#[case(NotAdmitted::invalid("spec.reason", "no"), 422, "no")]
#[case(NotAdmitted::Failed("Broken".into()), 500, "Broken. Nothing was stored; try again. If it happens again, see the log of lapse-webhook")]
#[tokio::test]
async fn a_refusal_has_a_status_and_no_patch(
    #[case] why: NotAdmitted,
    #[case] code: u16,
    #[case] message: &str,
) {
    let request = testing::request(&access_request(), &json!({}));
    let answer = answer::respond(&request, Err(why));
    assert!(!answer.allowed && answer.patch.is_none());
    assert_eq!((answer.result.code, answer.result.message.as_str()), (code, message));
}
