//! What the webhook answers, in one list that people can read. What it says of what is stored, the engine tells, and the
//! end-to-end tests.

use std::fmt::Write as _;

use lapse_crds::RbacKind;
use serde_json::{Value, json};

use crate::answer::{self, Admitted, NotAdmitted};
use crate::asked::{Kind, Request};
use crate::testing::{self, access_request};
use crate::{confine, dispatch, enrol, entered, entry::Webhook, stamp, started, validate};

/// What is sent to the client, beside the name of the object.
fn told(request: &Request, decided: Result<Admitted, NotAdmitted>) -> String {
    let response = answer::respond(request, decided);
    if response.allowed {
        return response.warnings.unwrap_or_default().join("\n  ");
    }
    let status = response.result;
    let mut text = format!("{} {}: {}", status.code, status.reason, status.message);
    if let Some(details) = status.details {
        for cause in details.causes {
            write!(
                text,
                "\n  kubectl: The {} {:?} is invalid: {}: {}",
                details.kind, details.name, cause.field, cause.message
            )
            .unwrap();
        }
    }
    text
}

/// A request of alice with this in place of what stands at a path.
fn asking(path: &str, value: Value) -> Value {
    let mut object = access_request();
    let (parent, field) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn deciding(request: &Value) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": "fix-", "namespace": "shop"},
        "spec": {"request": request, "verdict": "Approve"},
    })
}

/// Without the moment at which the test ran.
fn timeless(text: &str) -> String {
    match text.split_once("(it is ") {
        Some((before, after)) => {
            let after = after.split_once(')').map_or("", |(_, after)| after);
            format!("{before}(it is NOW){}", timeless(after))
        }
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn to_whoever_asks_or_decides() {
    let admission = testing::signing();
    let mut lines = Vec::new();
    let empty = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": []}]);
    for object in [
        asking("/spec/startTime", json!("2001-01-01T00:00:00Z")),
        asking("/spec/startTime", json!("9999-12-31T00:00:00Z")),
        asking("/spec/target", json!({"kubernetes": {"rules": empty}})),
        asking("/spec/reason", json!("x".repeat(20_000))),
        asking("/metadata/annotations", json!({"note": "x".repeat(60_000)})),
    ] {
        let request = testing::request(&object, &json!({}));
        lines.push(told(&request, stamp::request(&admission, &request).await));
    }
    for about in [json!({"name": "../secrets"}), json!({"name": "fix"})] {
        let request = testing::request(&deciding(&about), &json!({}));
        lines.push(told(&request, stamp::decision(&admission, &request).await));
    }
    let request = testing::request(&access_request(), &json!({"userInfo": {"username": ""}}));
    lines.push(told(&request, stamp::request(&admission, &request).await));
    insta::assert_snapshot!(timeless(&lines.join("\n")));
}

#[tokio::test]
async fn to_whoever_changes_what_was_stamped() {
    let admission = testing::signing();
    let stored = testing::stamped(&admission).await;
    let mut lines = Vec::new();
    let changes: [fn(&mut Value); 5] = [
        |o| drop(o["metadata"].as_object_mut().unwrap().remove("annotations")),
        |o| o["spec"]["duration"] = json!("8h"),
        |o| o["spec"]["requester"]["username"] = json!("olga"),
        |o| o["spec"]["target"] = json!(7),
        |o| o["metadata"]["annotations"]["lapse.dev/attestation"] = json!("{}"),
    ];
    for change in changes {
        let mut object = stored.clone();
        change(&mut object);
        let request = testing::request(&object, &json!({}));
        let answer = validate::signed(&admission, Kind::AccessRequest, &request).await;
        lines.push(format!("created: {}", told(&request, answer)));
        let update = json!({"operation": "UPDATE", "oldObject": stored});
        let request = testing::request(&object, &update);
        let answer = validate::signed(&admission, Kind::AccessRequest, &request).await;
        lines.push(format!("changed: {}", told(&request, answer)));
    }
    let mut decision = deciding(&json!({"name": "fix"}));
    decision["metadata"] = json!({"name": "fix-approval", "namespace": "shop"});
    let mut denial = decision.clone();
    denial["spec"]["verdict"] = json!("Deny");
    let update = json!({"operation": "UPDATE", "oldObject": decision});
    let request = testing::request(&denial, &update);
    let answer = validate::signed(&admission, Kind::AccessDecision, &request).await;
    lines.push(format!("changed: {}", told(&request, answer)));
    let mut over = stored.clone();
    over["status"] = json!({"phase": "Denied"});
    let update = json!({"operation": "UPDATE", "oldObject": over});
    let request = testing::request(&stored, &update);
    let answer = validate::signed(&admission, Kind::AccessRequest, &request).await;
    lines.push(format!("applied again: {}", told(&request, answer)));
    insta::assert_snapshot!(lines.join("\n"));
}

/// To the controller, and to whoever stole its token.
#[tokio::test]
async fn to_whoever_gives_rights() {
    let admission = testing::signing();
    let grant = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "shop-fix-1"}, "spec": null,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "lapse:shop-fix-1", "namespace": "shop"},
    });
    let request = testing::request(&grant, &json!({}));
    let mut lines = vec![told(&request, confine::grant(&admission, &request).await)];
    let mut order = grant.clone();
    order["spec"] = json!({
        "request": {"namespace": "ops", "name": "fix", "uid": "r"}, "policy": {"name": "p", "uid": "p", "generation": 1},
        "subject": {"kind": "User", "name": "alice"}, "target": {"endpoint": {"name": "web-1", "admin": {}}},
        "startsAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-01T01:00:00Z", "rulesHash": "h",
    });
    let request = testing::request(&order, &json!({}));
    lines.push(told(&request, confine::grant(&admission, &request).await));
    let request = testing::request(&binding, &json!({}));
    let answer = confine::object(&admission, RbacKind::RoleBinding, &request).await;
    lines.push(told(&request, answer));
    insta::assert_snapshot!(lines.join("\n"));
}

/// To whoever enrols a host, by the gateway.
#[tokio::test]
async fn to_whoever_enrols_a_host() {
    let admission = testing::signing();
    let hash = lapse_engine::endpoint::hash_of_token("token");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let agent = json!({
        "publicKey": "k".repeat(44), "machine": hash, "enrolledAt": "2026-01-01T00:00:00Z", "tokenHash": hash,
        "certificate": "c", "certificateExpiresAt": "2026-01-01T00:00:00Z",
    });
    let until =
        |year: u16| json!({"tokenHash": hash, "expiresAt": format!("{year}-01-01T00:00:00Z")});
    let asks = |token: &str| json!({"csr": csr, "token": token, "machine": hash});
    let mut lines = Vec::new();
    for (enrolment, old, signing) in [
        (json!(null), json!({}), asks("token")),
        (until(2096), json!({}), asks("another")),
        (until(2096), json!({"agent": agent}), asks("token")),
        (until(2001), json!({}), asks("token")),
        (until(2096), json!({}), json!({"csr": csr, "token": "token"})),
        (until(2096), json!({}), json!({"csr": "x", "token": "token"})),
        (until(2096), json!({"agent": agent}), json!({"csr": csr})),
        (until(2096), json!({"agent": agent}), json!(null)),
        (until(2096), json!({}), asks("token")),
    ] {
        let mut spec = json!({"platform": "Linux", "enrolment": enrolment});
        if spec["enrolment"].is_null() {
            spec.as_object_mut().unwrap().remove("enrolment");
        }
        let endpoint = |status: &Value| {
            json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "web-1", "uid": "u-1"},
                "spec": spec, "status": status,
            })
        };
        let mut new = json!({});
        if !signing.is_null() {
            new = old.clone();
            new["signing"] = signing;
        }
        let change =
            json!({"operation": "UPDATE", "subResource": "status", "oldObject": endpoint(&old)});
        let mut going = endpoint(&new);
        let request = testing::request(&going, &change);
        lines.push(told(&request, enrol::enrol(&admission, &request)));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let request = testing::request(&going, &change);
        lines.push(told(&request, enrol::enrol(&admission, &request)));
    }
    lines.dedup();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Who copies what somebody started under a right.
#[test]
fn to_whoever_starts_something() {
    let marked = json!({"labels": {"lapse.dev/grant": "shop-fix-1"}, "name": "p"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": marked});
    let request = testing::request(&pod, &json!({}));
    insta::assert_snapshot!(told(&request, Ok(started::unmark(&request))));
}

/// Who goes into a pod where that is recorded first.
#[test]
fn to_whoever_goes_into_a_pod() {
    let connect = json!({"operation": "CONNECT", "subResource": "exec"});
    let pod = json!({"apiVersion": "v1", "kind": "PodExecOptions", "metadata": {"name": "web"}});
    let request = testing::request(&pod, &connect);
    let refused = entered::refusals("shop-fix-1");
    let lines = refused.map(|why| told(&request, Err(why)));
    insta::assert_snapshot!(lines.join("\n"));
}

/// What goes wrong between the API server and the webhook.
#[tokio::test]
async fn to_the_api_server() {
    let admission = testing::signing();
    let nothing = json!({"object": null});
    let request = testing::request(&access_request(), &nothing);
    let mut lines =
        vec![told(&request, validate::signed(&admission, Kind::AccessRequest, &request).await)];
    let update = json!({"operation": "UPDATE"});
    let request = testing::request(&access_request(), &update);
    lines.push(told(&request, validate::signed(&admission, Kind::AccessRequest, &request).await));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    let request = testing::request(&pod, &json!({}));
    let unknown = dispatch::review(&admission, Webhook::Validate, &request).await.unwrap_err();
    lines.push(unknown.to_string());
    // One of each. A new one does not compile here without its example.
    let all = [
        NotAdmitted::Forbidden("spec.requester is not your identity".into()),
        NotAdmitted::invalid("spec.reason", "spec.reason is empty; say what it is for"),
        NotAdmitted::NotConfirmed("no such RoleBinding follows from a Grant".into()),
        NotAdmitted::of_a_holder_not_seen("bob"),
        NotAdmitted::Failed("The webhook has no signing key yet".into()),
        NotAdmitted::Failed(
            "Lapse's webhook did not find out in time whether this is allowed".into(),
        ),
        NotAdmitted::Failed(
            "Not all policies are known yet, and you are in very many groups".into(),
        ),
    ];
    let request = testing::request(&access_request(), &json!({}));
    for why in all {
        match &why {
            NotAdmitted::Forbidden(_)
            | NotAdmitted::Invalid { .. }
            | NotAdmitted::NotConfirmed(_)
            | NotAdmitted::Failed(_) => {}
        }
        lines.push(told(&request, Err(why)));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
