use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use lapse_crds::{ATTESTATION, AccessRequestSpec, LocalUser, Subject, SubjectKind};
use lapse_engine::Read;
use lapse_engine::attest::Attestation;
use lapse_engine::order::Host;
use lapse_engine::origin::{digest_of, digest_of_end, sign};
use rstest::rstest;
use serde_json::{Value, json};

use super::super::request::stamp;
use super::*;
use crate::testing::{self, now, settings};

/// What the gateway sends, and whoever impersonates it.
const GATEWAY: &str = "system:serviceaccount:lapse-system:lapse-gateway";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn subject(kind: SubjectKind, namespace: Option<&str>) -> Subject {
    let namespace = namespace.map(str::to_owned);
    Subject { kind, name: "alice".into(), namespace, endpoint: None }
}

/// al is alice's there, bot is an account's, and everybody else is nobody's.
fn host() -> EndpointFacts {
    let of = |subject, name: &str| LocalUser {
        subject,
        local_user: name.into(),
        authorized_keys: vec![],
    };
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![
            of(subject(SubjectKind::User, None), "al"),
            of(subject(SubjectKind::ServiceAccount, Some("ci")), "bot"),
        ],
        agent_key: Some(BASE64.encode(key().verifying_key().as_bytes())),
        ..EndpointFacts::default()
    }
}

fn there() -> Host {
    Host { name: "ws-1".into(), uid: "u-1".into() }
}

/// What a local user asks for on the host, as its agent has signed it.
fn asked_there(local_user: &str, change: fn(&mut Value)) -> Value {
    let mut object = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "ws-1-0a", "namespace": "shop"},
        "spec": {
            "target": {"endpoint": {"name": "ws-1", "localUser": local_user, "group": "adm"}},
            "reason": "the disk is full",
        },
    });
    change(&mut object);
    let spec: AccessRequestSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    let digest = digest_of("shop", "ws-1-0a", &spec).unwrap();
    let origin = sign(&there(), local_user, &digest, now(), &key()).unwrap();
    object["spec"]["origin"] = serde_json::to_value(origin).unwrap();
    object
}

/// What is stored of what the gateway submits, or why nothing is.
fn stored(object: &Value, change: &Value, endpoint: Read<EndpointFacts>) -> Result<Value, String> {
    let (keys, _) = testing::keys(now());
    let mut of_gateway = json!({"userInfo": {"username": GATEWAY}});
    json_patch::merge(&mut of_gateway, change);
    let request = testing::request(object, &of_gateway);
    assert!(is_carried(&settings(), &request));
    let origin = object["spec"].get("origin").cloned();
    let claim = origin.map(|origin| Claim::of(serde_json::from_value(origin).unwrap(), endpoint));
    let done = requester(&settings(), &request, claim.as_ref())
        .and_then(|who| stamp(&request, &who, claim.as_ref(), &keys, now(), [7; 16]));
    let (admitted, _) = done.map_err(|error| error.to_string())?;
    let mut stored = object.clone();
    json_patch::patch(&mut stored, &admitted.patch.unwrap()).unwrap();
    Ok(stored)
}

#[rstest]
#[case::of_alice("al", "alice")]
#[case::of_nobody("carol", "lapse:endpoint:ws-1:carol")]
fn it_is_who_asks_there_and_never_the_gateway(#[case] local_user: &str, #[case] username: &str) {
    let stored = stored(&asked_there(local_user, |_| {}), &json!({}), Read::Found(host())).unwrap();
    let expected = json!({
        "username": username, "endpointUser": {"endpoint": "ws-1", "localUser": local_user},
    });
    assert_eq!(stored["spec"]["requester"], expected);
    let attestation = stored["metadata"]["annotations"][ATTESTATION].as_str().unwrap();
    let attestation: Attestation = serde_json::from_str(attestation).unwrap();
    assert_eq!(attestation.version, 2, "an earlier release takes it for nothing");
}

/// What a gateway could do that was taken over: nothing that a host has not signed.
#[rstest]
#[case::without_a_host(|o: &mut Value| drop(o["spec"].as_object_mut().unwrap().remove("origin")), "the gateway requests and ends nothing by itself: what it carries has spec.origin, with the signature of a host")]
#[case::who_it_says(|o: &mut Value| o["spec"]["origin"]["localUser"] = json!("carol"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::root(|o: &mut Value| o["spec"]["origin"]["localUser"] = json!("root"), "spec.origin proves nothing: root belongs to nobody in the cluster: request as the local user that is yours")]
#[case::an_account(|o: &mut Value| o["spec"]["origin"]["localUser"] = json!("bot"), "spec.origin proves nothing: bot on Endpoint ws-1 is the local user of a service account, which requests with its token alone")]
#[case::more(|o: &mut Value| o["spec"]["duration"] = json!("8h"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::another_target(|o: &mut Value| o["spec"]["target"]["endpoint"]["group"] = json!("docker"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::under_another_name(|o: &mut Value| o["metadata"]["name"] = json!("ws-1-0b"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::under_any_name(|o: &mut Value| o["metadata"] = json!({"generateName": "ws-1-", "namespace": "shop"}), "metadata.name is required with spec.origin")]
#[case::another_host(|o: &mut Value| o["spec"]["origin"]["uid"] = json!("u-2"), "spec.origin proves nothing: Endpoint ws-1 was deleted, and created again since")]
fn what_no_host_has_signed_is_refused(#[case] change: fn(&mut Value), #[case] expected: &str) {
    let mut object = asked_there("al", |_| {});
    change(&mut object);
    let refused = stored(&object, &json!({}), Read::Found(host())).unwrap_err();
    assert!(refused.starts_with(expected), "{refused}");
}

/// What a host could do that was taken over: nothing beyond itself.
#[rstest]
#[case::elsewhere(|o: &mut Value| o["spec"]["target"]["endpoint"]["name"] = json!("ws-2"), "spec.origin proves nothing: who requests on a host is granted access there alone, as the same local user: request ws-1 as al, or with your own credentials (kubectl jit request). Request again with `lapse request` on that host")]
#[case::as_another(|o: &mut Value| o["spec"]["target"]["endpoint"]["localUser"] = json!("bob"), "spec.origin proves nothing: who requests on a host is granted access there alone")]
#[case::an_emergency(|o: &mut Value| o["spec"]["emergency"] = json!(true), "spec.origin proves nothing: spec.emergency takes credentials of the cluster")]
fn what_a_host_may_not_vouch_for_is_refused(
    #[case] change: fn(&mut Value),
    #[case] expected: &str,
) {
    let object = asked_there("al", change);
    let refused = stored(&object, &json!({}), Read::Found(host())).unwrap_err();
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn it_carries_to_one_namespace_and_only_where_that_is_wanted() {
    let object = asked_there("al", |_| {});
    let refused = stored(&object, &json!({"namespace": "bank"}), Read::Found(host()));
    assert_eq!(
        refused.unwrap_err(),
        "the gateway carries what people on hosts request to the namespace shop alone (the chart's value gateway.requests.namespace)"
    );
    let request = testing::request(&object, &json!({"userInfo": {"username": GATEWAY}}));
    let settings = Settings { host_requests: None, ..settings() };
    let refused = requester(&settings, &request, None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this installation takes no requests from hosts (the chart's value gateway.requests.enabled)"
    );
}

#[test]
fn an_endpoint_that_is_not_there_vouches_for_nobody() {
    let object = asked_there("al", |_| {});
    let missing = stored(&object, &json!({}), Read::Missing).unwrap_err();
    assert_eq!(missing, "spec.origin proves nothing: there is no Endpoint ws-1");
    let unread = stored(&object, &json!({}), Read::Failed("timeout".into())).unwrap_err();
    assert!(unread.starts_with("timeout. Nothing was stored"), "{unread}");
}

/// The request that a decision is about, as it is stored.
fn of_al() -> AccessRequest {
    let mut object = asked_there("al", |_| {});
    object["spec"]["requester"] =
        json!({"username": "alice", "endpointUser": {"endpoint": "ws-1", "localUser": "al"}});
    serde_json::from_value(object).unwrap()
}

/// An end, stated by this local user, as the gateway submits it after this change; who it is stamped with.
fn ended_by(local_user: &str, change: fn(&mut Value)) -> Result<Identity, String> {
    let spec = json!({"request": {"name": "ws-1-0a"}, "verdict": "End"});
    let decision: AccessDecisionSpec = serde_json::from_value(spec.clone()).unwrap();
    let digest = digest_of_end("shop", &decision).unwrap();
    let origin = sign(&there(), local_user, &digest, now(), &key()).unwrap();
    let mut object = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": "ws-1-0a-", "namespace": "shop"}, "spec": spec,
    });
    object["spec"]["origin"] = serde_json::to_value(origin).unwrap();
    change(&mut object);
    let request = testing::request(&object, &json!({"userInfo": {"username": GATEWAY}}));
    let decision: AccessDecisionSpec = serde_json::from_value(object["spec"].clone()).unwrap();
    let (of, facts) = (of_al(), host());
    let requester = of.spec.requester.clone().unwrap();
    check_end(&settings(), &request, &decision)
        .and_then(|_| decider(&decision, &of, &requester, &facts, now()))
        .map_err(|error| error.to_string())
}

#[test]
fn who_asked_there_ends_it() {
    assert_eq!(ended_by("al", |_| {}).unwrap(), of_al().spec.requester.unwrap());
}

#[rstest]
#[case::another("carol", |_: &mut Value| {}, "spec.origin proves nothing: carol on Endpoint ws-1 did not request that there with `lapse request`")]
#[case::the_gateway("al", |o: &mut Value| drop(o["spec"].as_object_mut().unwrap().remove("origin")), "the gateway requests and ends nothing by itself")]
#[case::a_denial("al", |o: &mut Value| o["spec"]["verdict"] = json!("Deny"), "spec.verdict must be End with spec.origin: on a host people end what they requested there, and decide nothing else")]
#[case::an_approval("al", |o: &mut Value| o["spec"]["verdict"] = json!("Approve"), "spec.verdict must be End with spec.origin")]
#[case::of_another_request("al", |o: &mut Value| o["spec"]["request"]["name"] = json!("other"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::with_words("al", |o: &mut Value| o["spec"]["comment"] = json!("x"), "spec.origin proves nothing: the agent of Endpoint ws-1 did not sign this request")]
#[case::a_field_that_is_not_known("al", |o: &mut Value| o["spec"]["later"] = json!(1), "spec.origin is about what this release understands")]
fn nobody_else_does(
    #[case] local_user: &str,
    #[case] change: fn(&mut Value),
    #[case] expected: &str,
) {
    let refused = ended_by(local_user, change).unwrap_err();
    assert!(refused.starts_with(expected), "{refused}");
}

/// Only what the gateway carries is ended by the word of a host.
#[tokio::test]
async fn nobody_with_credentials_says_that_they_are_on_a_host() {
    let spec = json!({"request": {"name": "ws-1-0a"}, "verdict": "End"});
    let decision: AccessDecisionSpec = serde_json::from_value(spec.clone()).unwrap();
    let digest = digest_of_end("shop", &decision).unwrap();
    let origin = sign(&there(), "al", &digest, now(), &key()).unwrap();
    let mut object = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": "ws-1-0a-", "namespace": "shop"}, "spec": spec,
    });
    object["spec"]["origin"] = serde_json::to_value(origin).unwrap();
    let request = testing::request(&object, &json!({}));
    let refused = crate::stamp::decision(&testing::signing(), &request).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "spec.origin is for what people end on a host (lapse end), which the gateway submits: leave it out"
    );
}
