//! Saying no in a cluster of which almost nothing can be read.

use std::convert::Infallible;
use std::time::Duration;

use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use lapse_engine::attest::KeySet;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::NotAdmitted;
use crate::stamp;
use crate::testing::{self, access_request, admission_of, now};

/// What a look-up comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Found,
    Fails,
    Hangs,
}

/// A cluster that shows the request; its policy, and what the caller may do to it, as is said here; and nothing else.
fn cluster(policy: Answer, may: Option<bool>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let mut asked = access_request();
        asked["metadata"]["uid"] = json!("r-1");
        asked["metadata"]["creationTimestamp"] = json!("2026-11-21T12:00:00Z");
        // Signed by a key that is not known any more, and can be looked up nowhere.
        asked["metadata"]["annotations"] = json!({"lapse.dev/attestation": json!({
            "version": 1, "key": "0123456789abcdef", "admittedAt": "2026-11-21T12:00:00Z",
            "nonce": "00", "named": true, "signature": "",
        }).to_string()});
        asked["spec"]["policy"] = json!("shop-debug");
        asked["spec"]["requester"] = json!({"username": "alice"});
        let found = |body: Value| (200, body);
        let failed = || {
            (500, json!({"kind": "Status", "status": "Failure", "code": 500, "message": "broken"}))
        };
        let path = request.uri().path().to_owned();
        let (code, body) = match (&*path, policy, may) {
            ("/apis/lapse.dev/v1alpha1/namespaces/shop/accessrequests/fix-checkout", ..) => {
                found(asked)
            }
            ("/apis/lapse.dev/v1alpha1/jitpolicies/shop-debug", Answer::Found, _) => found(json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
                "metadata": {"name": "shop-debug", "uid": "p-1", "generation": 3},
                "spec": {
                    "requesters": [{"kind": "User", "name": "alice"}],
                    "targets": [{"kubernetes": {"roles": [], "namespaces": {"names": ["shop"]}}}],
                    "approval": {"stages": [
                        {"name": "manager", "required": 1, "approvers": [{"kind": "User", "name": "bob"}]},
                    ]},
                },
            })),
            ("/apis/lapse.dev/v1alpha1/jitpolicies/shop-debug", Answer::Fails, _) => failed(),
            ("/apis/authorization.k8s.io/v1/subjectaccessreviews", _, Some(may)) => {
                found(json!({"spec": {}, "status": {"allowed": may}}))
            }
            _ => std::future::pending().await,
        };
        let body = Body::from(body.to_string().into_bytes());
        Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
    });
    Client::new(service, "default")
}

/// The answer to a decision, if there is one in time.
async fn says(
    client: Client,
    who: &str,
    verdict: &str,
) -> Option<Result<Vec<String>, NotAdmitted>> {
    let (keys, _) = testing::keys(now());
    let admission = admission_of(client, keys, KeySet::default());
    let decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": "fix-checkout-", "namespace": "shop"},
        "spec": {"request": {"name": "fix-checkout"}, "verdict": verdict},
    });
    let mut request = testing::request(&decision, &json!({}));
    request.user_info.username = Some(who.to_owned());
    // The API server waits no longer.
    let limit = Duration::from_secs(4);
    let answer = timeout(limit, stamp::decision(&admission, &request)).await.ok()?;
    Some(answer.map(|admitted| admitted.warnings))
}

#[rstest]
#[case::an_end_by_the_request_alone(Answer::Hangs, None, "alice", "End")]
#[case::a_deny_by_the_verb(Answer::Fails, Some(true), "olga", "Deny")]
#[case::a_deny_by_the_verb_while_the_policy_hangs(Answer::Hangs, Some(true), "olga", "Deny")]
#[case::a_deny_by_an_approver(Answer::Found, Some(false), "bob", "Deny")]
#[case::a_deny_by_an_approver_while_reviews_hang(Answer::Found, None, "bob", "Deny")]
#[tokio::test(start_paused = true)]
async fn saying_no_needs_little(
    #[case] policy: Answer,
    #[case] may: Option<bool>,
    #[case] who: &str,
    #[case] verdict: &str,
) {
    let said = says(cluster(policy, may), who, verdict).await.expect("an answer in time").unwrap();
    assert!(said[0].contains(" request for ClusterRole edit in shop"), "{said:?}");
}

/// And nobody says it who may not.
#[tokio::test(start_paused = true)]
async fn nobody_ends_what_another_asked_for() {
    let refused = says(cluster(Answer::Hangs, None), "mallory", "End").await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("only its requester, alice, may end"), "{refused}");
}

#[rstest]
#[case::no_approver(Answer::Found, Some(false), "mallory")]
#[case::it_is_not_known(Answer::Fails, None, "mallory")]
#[case::an_approver_by_what_cannot_be_read(Answer::Fails, Some(false), "bob")]
#[case::the_requester(Answer::Found, Some(false), "alice")]
#[tokio::test(start_paused = true)]
async fn nobody_denies_who_may_not(
    #[case] policy: Answer,
    #[case] may: Option<bool>,
    #[case] who: &str,
) {
    // What is not known is looked for everywhere before somebody is refused, and that may take too long.
    let said = says(cluster(policy, may), who, "Deny").await;
    assert!(!matches!(said, Some(Ok(_))), "{who} may not");
}
