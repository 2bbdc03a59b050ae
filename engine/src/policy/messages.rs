//! Everything that is said about a policy, in one list that people can read.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{Conditions as _, JitPolicy, PolicyEffect, PolicyMode};
use serde_json::{Value, json};

use super::{
    NamedRole, PolicyOutline, PolicyState, lint, lint_among, lint_namespaces, lint_roles,
    misspelled, report,
};
use crate::testing::{cluster_role, emergency, life, policy, settings};
use crate::{Read, Settings};

/// The policy of the shop with these fields of its spec.
fn with(changes: &Value) -> JitPolicy {
    let mut policy = serde_json::to_value(policy("shop-debug")).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        policy["spec"][field] = value.clone();
    }
    serde_json::from_value(policy).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
fn kubernetes(targets: Value) -> Value {
    json!({"targets": [{"kubernetes": targets}]})
}

fn in_shop(fields: &Value) -> Value {
    let mut targets = json!({"namespaces": {"names": ["shop"]}});
    for (field, value) in fields.as_object().unwrap() {
        targets[field] = value.clone();
    }
    kubernetes(targets)
}

fn stages(required: u32, approvers: &Value) -> Value {
    json!({"stages": [{"name": "manager", "required": required, "approvers": approvers}]})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

/// What is said, below what it is said of.
fn told(lines: &[(Value, Vec<String>)]) -> String {
    let line = |(given, said): &(Value, Vec<String>)| format!("{given}\n  {}", said.join("\n  "));
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn narrow() -> Settings {
    let mut narrow = Settings { allow_cluster_wide: false, ..settings() };
    narrow.controller.ends_workloads = false;
    narrow
}

/// Why it cannot be used: the refusal of the webhook, and the condition Ready.
#[test]
fn refusals() {
    let olga = json!([user("olga")]);
    let mut break_glass = serde_json::to_value(emergency()).unwrap();
    let mut lasting = |max: &str| {
        break_glass["maxDuration"] = json!(max);
        json!({"emergency": break_glass})
    };
    let unreviewed = json!({"maxDuration": "1h", "review": {"within": "24h", "reviewers": []}});
    let own = json!({"maxDuration": "1h", "review": {"within": "24h", "reviewers": olga}});
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let given = [
        json!({"duration": {"max": "48h"}}),
        json!({"duration": {"min": "1m"}}),
        json!({"duration": {"min": "2h", "max": "1h"}}),
        json!({"duration": {"default": "2h", "max": "1h"}}),
        json!({"targets": [{}]}),
        json!({"targets": [{"all": true}]}),
        in_shop(&json!({"roles": [{"kind": "ClusterRole", "name": "cluster-admin"}]})),
        in_shop(&json!({"rules": secrets})),
        in_shop(&json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]})),
        kubernetes(
            json!({"roles": [{"kind": "ClusterRole", "name": "view"}], "clusterWide": true}),
        ),
        kubernetes(json!({"namespaces": {"names": ["lapse-system"]}})),
        kubernetes(json!({"namespaces": {"names": ["kube-system"]}})),
        json!({"targets": [{"endpoint": {"names": ["web-1"]}}]}),
        json!({"targets": [{"endpoint": {"admin": {}}}]}),
        json!({"effect": "Deny", "targets": [{"endpoint": {"names": ["web-1"], "admin": null}}]}),
        json!({"workstations": {}}),
        json!({"ticket": {"pattern": "("}}),
        json!({"schedule": {"timeZone": "Europe/Atlantis", "windows": []}}),
        json!({"conditions": [{"expression": "requester.credentialId != ''", "message": "no"}]}),
        json!({"limits": {"grantedTimePerDay": "8h"}, "retention": "12h"}),
        json!({"approval": stages(0, &olga)}),
        json!({"approval": stages(2, &olga)}),
        json!({"requesters": olga, "approval": stages(1, &olga)}),
        json!({"approval": {"stages": [], "timeout": "1h", "escalation": {"after": "2h", "approvers": olga}}}),
        lasting("48h"),
        lasting("1m"),
        json!({"emergency": unreviewed}),
        json!({"requesters": olga, "emergency": own}),
        json!({"session": {"onEnd": {"startedWorkloads": "Delete"}}}),
        json!({"session": {"onEnd": {"openStreams": "DeletePods"}}}),
        json!({"separationOfDuties": [{"policy": "shop-debug"}]}),
    ];
    let told_of = |given: Value| {
        let defect = PolicyState::of(&with(&given), &narrow()).defect.unwrap();
        (given, vec![format!("{}: {}", defect.reason, defect.message)])
    };
    let mut lines: Vec<(Value, Vec<String>)> = given.into_iter().map(told_of).collect();
    let unreadable =
        PolicyState::unreadable("shop-debug".into(), String::new(), "spec.mode: unknown variant");
    let defect = unreadable.defect.unwrap();
    lines.push((json!("unreadable"), vec![format!("{}: {}", defect.reason, defect.message)]));
    for effect in [None, Some(PolicyEffect::Allow)] {
        let outline = PolicyOutline { effect, mode: None };
        let panicked = PolicyState::panicked("shop-debug".into(), String::new(), outline);
        let defect = panicked.defect.unwrap();
        let given = json!(format!("panicked, effect {effect:?}"));
        lines.push((given, vec![format!("{}: {}", defect.reason, defect.message)]));
    }
    insta::assert_snapshot!(told(&lines));
}

/// What is allowed, and yet unwise.
#[test]
fn warnings() {
    let olga = json!([user("olga")]);
    let everybody = json!([{"kind": "Group", "name": "system:authenticated"}]);
    let mut long = serde_json::to_value(emergency()).unwrap();
    long["maxDuration"] = json!("9h");
    let own = json!({"maxDuration": "1h", "review": {"within": "24h", "reviewers": olga}});
    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    let own_stage = stages(1, &olga)["stages"].clone();
    let two = json!([{"kind": "Group", "name": "shop-developers"}, user("olga")]);
    let given = [
        json!({"requesters": []}),
        json!({"requesters": [], "effect": "Deny"}),
        json!({"targets": []}),
        json!({"targets": [], "effect": "Deny"}),
        in_shop(&json!({})),
        kubernetes(json!({"roles": edit})),
        in_shop(&json!({"roles": edit, "allowEscalation": true})),
        json!({"requesters": everybody}),
        json!({"requesters": two, "approval": stages(1, &olga)}),
        json!({"approval": {"stages": own_stage, "selfApproval": "Allow"}}),
        json!({"emergency": long}),
        json!({"requesters": two, "emergency": own}),
        json!({"reason": {"required": false, "minLength": 10}}),
        json!({"duration": {"default": "8h", "max": "8h"}}),
        json!({"session": {"guard": "Off"}}),
    ];
    let told_of = |given: Value| {
        let said = lint(&with(&given).spec);
        assert!(!said.is_empty(), "nothing is said of {given}");
        assert!(said.iter().all(|said| said.len() <= 256), "it would be cut off: {said:?}");
        (given, said)
    };
    insta::assert_snapshot!(told(&given.into_iter().map(told_of).collect::<Vec<_>>()));
}

fn named(role: &str, namespace: Option<&str>, rules: Read<Vec<PolicyRule>>) -> NamedRole {
    NamedRole { role: cluster_role(role), namespace: namespace.map(ToOwned::to_owned), rules }
}

/// What is found when a policy is looked at beside what else there is.
#[test]
fn warnings_about_what_stands_beside_it() {
    let mut lines = Vec::new();
    let missing = named("edti", Some("shop"), Read::Missing);
    lines.push(missing.absence().unwrap());
    lines.push(misspelled(&[missing], &settings()).unwrap());
    let gone = |names: &[&str]| {
        let missing = names.iter().map(|name| ((*name).to_owned(), Read::Missing));
        lint_namespaces(&missing.collect::<BTreeMap<_, _>>())
    };
    lines.extend(gone(&["shpo"]));
    lines.extend(gone(&["a", "b", "c", "d", "e", "f", "g"]));
    let everything = PolicyRule {
        api_groups: Some(vec!["*".into()]),
        resources: Some(vec!["*".into()]),
        verbs: vec!["*".into()],
        ..PolicyRule::default()
    };
    let roles = [named("edit", None, Read::Found(vec![everything]))];
    lines.extend(lint_roles(&policy("shop-debug").spec, &roles, &settings()));
    let others = |changes: &Value, count: usize| {
        let other = |number| {
            let mut other = with(changes);
            other.metadata.name = Some(format!("other-{number}"));
            life::state(&other)
        };
        (0..count).map(other).collect::<Vec<_>>().into()
    };
    let apart = |name: &str| life::state(&with(&json!({"separationOfDuties": [{"policy": name}]})));
    lines.extend(lint_among(&apart("absent"), &others(&json!({}), 1)));
    for changes in
        [json!({"effect": "Deny"}), json!({"mode": "Disabled"}), json!({"mode": "Audit"})]
    {
        lines.extend(lint_among(&apart("other-0"), &others(&changes, 1)));
    }
    let this = life::state(&policy("shop-debug"));
    lines.extend(lint_among(&this, &others(&json!({"approval": {"stages": []}}), 5)));
    insta::assert_snapshot!(lines.join("\n"));
}

/// The condition Ready of what can be used.
#[test]
fn readiness() {
    let said = |mode: PolicyMode, effect: &str, role: Read<Vec<PolicyRule>>| {
        let policy = with(&json!({"mode": mode, "effect": effect}));
        let roles = [named("edit", None, role)];
        let status = report(&policy, &life::state(&policy), &roles, 0, life::time(0)).unwrap();
        let ready = status.conditions.condition("Ready").unwrap();
        format!("{effect} {mode:?}: {:?} {}: {}", ready.status, ready.reason, ready.message)
    };
    let found = || Read::Found(Vec::new());
    let modes = [PolicyMode::Enforce, PolicyMode::Audit, PolicyMode::Disabled];
    let mut lines: Vec<String> =
        modes.iter().flat_map(|mode| ["Allow", "Deny"].map(|e| said(*mode, e, found()))).collect();
    lines.push(said(PolicyMode::Enforce, "Allow", Read::Missing));
    insta::assert_snapshot!(lines.join("\n"));
}
