use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{AccessRequest, JitPolicy};
use lapse_engine::approval::Statements;
use lapse_engine::duties::Duties;
use lapse_engine::policy::Policy;
use lapse_engine::role::RoleRules;
use lapse_engine::target::ResolvedTarget;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, access_request, now, settings};

fn policy() -> Policy {
    let edit = json!({"kind": "ClusterRole", "name": "edit"});
    let policy: JitPolicy = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1",
        "kind": "JitPolicy",
        "metadata": {"name": "shop-debug", "uid": "p-1", "generation": 3},
        "spec": {
            "requesters": [{"kind": "User", "name": "alice"}],
            "targets": [{"kubernetes": {"roles": [edit], "namespaces": {"names": ["shop"]}}}],
            "approval": {"stages": [
                {"name": "manager", "required": 1, "approvers": [{"kind": "User", "name": "bob"}]},
            ]},
        },
    }))
    .unwrap();
    let mut settings = settings();
    settings.bindable_roles = serde_json::from_value(json!([edit])).unwrap();
    Policy::compile(&policy, &settings).unwrap()
}

fn case() -> Case {
    let mut object = access_request();
    object["metadata"]["uid"] = json!("r-1");
    object["spec"]["requester"] = json!({"username": "alice"});
    let request: AccessRequest = serde_json::from_value(object).unwrap();
    let target = ResolvedTarget::resolve(&request.spec.target, "shop").unwrap();
    Case {
        requester: request.spec.requester.clone().unwrap(),
        requested_at: now(),
        given: target.clone(),
        target,
        request,
        policy: Ok(policy()),
        statements: Statements::default(),
        duties: Duties::default(),
        role: Ok(RoleRules::of_cluster_role(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["pods".to_owned()]),
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        }])),
        may_approve: true,
        kept_by: None,
        holds_what_is_not_seen: false,
        may_deny: false,
    }
}

fn decision(spec: &Value) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1",
        "kind": "AccessDecision",
        "metadata": {"generateName": "fix-checkout-", "namespace": "shop"},
        "spec": spec,
    })
}

/// What is stored when `who` decides, and what they are told.
fn decided(spec: &Value, who: &str, case: &Case) -> Result<(Value, String), String> {
    let object = decision(spec);
    let mut request = testing::request(&object, &json!({}));
    request.user_info.username = Some(who.to_owned());
    let (keys, _) = testing::keys(now());
    let mut draft = Draft::of(&request).unwrap();
    let decider = crate::admission::caller(&request.user_info).unwrap();
    draft.set_identity("decider", &decider).unwrap();
    let typed = draft.spec::<AccessDecisionSpec>().unwrap();
    let said =
        judge(&mut draft, case, &typed, &decider, now()).map_err(|error| error.to_string())?;
    let patch = draft.sign(&keys, now(), [1; 16]).unwrap();
    let mut stored = object;
    json_patch::patch(&mut stored, &patch).unwrap();
    Ok((stored, said))
}

fn approve() -> Value {
    json!({"request": {"name": "fix-checkout"}, "verdict": "Approve"})
}

#[test]
fn an_approval_says_what_was_approved() {
    let case = case();
    let (stored, said) = decided(&approve(), "bob", &case).unwrap();
    let spec = &stored["spec"];
    assert_eq!(spec["request"], json!({"name": "fix-checkout", "uid": "r-1"}));
    assert_eq!(spec["policy"], json!({"name": "shop-debug", "uid": "p-1", "generation": 3}));
    assert_eq!(spec["rulesHash"], json!(case.role.as_ref().unwrap().hash()));
    let rules = json!([{"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}]);
    assert_eq!(spec["rules"], rules);
    assert_eq!(spec["decider"]["username"], "bob");
    assert!(stored["metadata"]["annotations"]["lapse.dev/attestation"].is_string());
    assert!(
        said.contains("you approved alice's request for ClusterRole edit in shop for 1h"),
        "{said}"
    );
}

#[test]
fn what_a_client_claims_is_overwritten() {
    let claim = json!({
        "request": {"name": "fix-checkout"},
        "verdict": "Approve",
        "decider": {"username": "olga"},
        "policy": {"name": "lenient", "uid": "x", "generation": 1},
        "rulesHash": "sha256:0",
        "rules": [{"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}],
    });
    let case = case();
    let (stored, _) = decided(&claim, "bob", &case).unwrap();
    let (plain, _) = decided(&approve(), "bob", &case).unwrap();
    assert_eq!(stored["spec"], plain["spec"]);
}

#[test]
fn without_a_policy_none_is_claimed() {
    let mut case = case();
    case.policy = Err("gone".to_owned());
    case.role = Err("gone".to_owned());
    case.may_deny = true;
    let deny = json!({
        "request": {"name": "fix-checkout"},
        "verdict": "Deny",
        "policy": {"name": "lenient", "uid": "x", "generation": 1},
        "rulesHash": "sha256:0",
    });
    let (stored, _) = decided(&deny, "olga", &case).unwrap();
    assert!(stored["spec"].get("policy").is_none(), "{stored}");
    assert!(stored["spec"].get("rulesHash").is_none(), "{stored}");
}

#[rstest]
#[case("alice", "nobody may approve their own request")]
#[case("mallory", "mallory is not an approver of JitPolicy shop-debug")]
fn who_may_not_is_told_why(#[case] who: &str, #[case] expected: &str) {
    let error = decided(&approve(), who, &case()).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_refuses() {
    let (keys, key_set) = testing::keys(now());
    let admission = testing::admission(keys, key_set);
    let request = testing::request(&decision(&approve()), &json!({}));
    let error = super::decision(&admission, &request).await.unwrap_err();
    assert!(matches!(error, NotAdmitted::Failed(_)), "{error:?}");
    assert!(error.to_string().contains("try again"), "{error}");
}

#[rstest]
#[case("../../namespaces/bank/accessrequests/theirs")]
#[case("fix,spec.request.name=other")]
#[case("fix?resourceVersion=0")]
#[case("Fix")]
#[tokio::test]
async fn a_name_that_is_none_is_never_looked_up(
    #[case] name: &str,
    #[values("Approve", "Review")] verdict: &str,
) {
    let (keys, key_set) = testing::keys(now());
    let admission = testing::admission(keys, key_set);
    let mut spec = json!({"request": {"name": name}, "verdict": verdict});
    if verdict == "Review" {
        spec["outcome"] = json!("Justified");
    }
    let request = testing::request(&decision(&spec), &json!({}));
    let error = super::decision(&admission, &request).await.unwrap_err();
    assert!(error.to_string().contains("is not the name of an object"), "{error}");
}

#[rstest]
#[case(json!({"request": {"name": ""}, "verdict": "Approve"}))]
#[case(json!({"request": {"name": "fix-checkout"}, "verdict": "Maybe"}))]
#[case(json!({"verdict": "Approve"}))]
#[case(json!({"request": {"name": "fix-checkout"}, "verdict": "Review"}))]
#[case(json!({"request": {"name": "fix-checkout"}, "verdict": "Review", "outcome": "Perhaps"}))]
#[tokio::test]
async fn what_the_schema_refuses_is_left_to_it(#[case] spec: Value) {
    let (keys, key_set) = testing::keys(now());
    let admission = testing::admission(keys, key_set);
    let request = testing::request(&decision(&spec), &json!({}));
    let admitted = super::decision(&admission, &request).await.unwrap();
    let patch = serde_json::to_string(&admitted.patch).unwrap();
    assert!(!patch.contains("attestation"), "{patch}");
}

/// The fields that are stamped are all there are: a new one must be stamped, be the decider's, or be proven by the agent of a
/// host, and refused from anybody else.
#[test]
fn every_field_of_a_decision_is_accounted_for() {
    let theirs = ["request", "verdict", "duration", "outcome", "comment"];
    let stamped = ["decider", "policy", "rulesHash", "rules"];
    let proven = ["origin"];
    let crds = lapse_crds::all();
    let schema = serde_json::to_value(&crds[2]).unwrap();
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let fields: BTreeMap<String, Value> =
        serde_json::from_value(schema.pointer(pointer).unwrap().clone()).unwrap();
    let known =
        |field: &String| theirs.iter().chain(&stamped).chain(&proven).any(|known| known == field);
    assert!(fields.keys().all(known), "{:?}", fields.keys());
}
