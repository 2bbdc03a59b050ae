//! What people read when something is refused, as kubectl shows it.

use std::fmt::Write as _;

use lapse_e2e::plane::User;
use serde_json::{Value, json};

use crate::rendered::Rendered;
use crate::world::World;

/// Refusals or warnings, each below what was given.
struct Book<'a> {
    world: &'a World,
    text: String,
    are_refusals: bool,
    /// What was answered otherwise.
    other: Vec<Value>,
}

impl<'a> Book<'a> {
    fn of(world: &'a World, are_refusals: bool) -> Self {
        Self { world, text: String::new(), are_refusals, other: Vec::new() }
    }

    /// Makes an object as somebody, as a dry run.
    async fn add(&mut self, who: &User, given: &Value, object: &Value) {
        let args = ["create", "--dry-run=server", "-f", "-"];
        let plane = self.world.lapse.plane();
        let answer = plane.kubectl_with_input(who, &args, Some(&object.to_string())).await.unwrap();
        if answer.success() == self.are_refusals {
            self.other.push(given.clone());
        }
        let said = answer.stderr.replace("error when creating \"STDIN\": ", "");
        let said: Vec<&str> = said.lines().collect();
        writeln!(self.text, "{given}\n  {}", said.join("\n  ")).unwrap();
    }
}

/// A policy with these fields, and what it must have beside them.
fn policy(fields: &Value) -> Value {
    let role = json!({"kind": "ClusterRole", "name": "view"});
    let targets = json!([{"kubernetes": {"roles": [role], "namespaces": {"names": ["messages"]}}}]);
    let mut policy = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "told"},
        "spec": {"requesters": [{"kind": "User", "name": "olga"}], "targets": targets},
    });
    specify(&mut policy, fields);
    policy
}

/// Puts fields into the spec of an object.
fn specify(object: &mut Value, fields: &Value) {
    for (field, value) in fields.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
}

/// A request with these fields, and what it must have beside them.
fn request(world: &World, name: &str, fields: &Value) -> Value {
    let mut request = serde_json::to_value(world.request(name, json!({}))).unwrap();
    request["apiVersion"] = json!("lapse.dev/v1alpha1");
    request["kind"] = json!("AccessRequest");
    specify(&mut request, fields);
    request
}

/// What the definitions refuse, and the webhook where a field cannot be.
#[tokio::test]
async fn of_fields() {
    let world = World::shared("messages").await;
    let mut book = Book::of(&world, true);
    let spec = |target: Value| json!({"target": {"kubernetes": target}});
    let edit = json!({"kind": "ClusterRole", "name": "edit"});
    let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    for given in [
        json!({"duration": "0.5h"}),
        json!({"duration": "9000h"}),
        json!({"reason": "a\tb"}),
        json!({"ticket": "INC1\n"}),
        json!({"policy": "Shop"}),
        json!({"target": {}}),
        spec(json!({"role": edit, "rules": [pods]})),
        spec(json!({"role": {"kind": "ClusterRole", "name": "edit/../admin"}})),
        spec(json!({"role": {"kind": "Group", "name": "edit"}})),
        spec(json!({"role": {"kind": "Role", "name": "r"}, "clusterWide": true})),
        spec(json!({"role": edit, "clusterWide": true, "namespaces": ["a"]})),
        spec(json!({"role": edit, "namespaces": ["Shop"]})),
        spec(json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]})),
        json!({"target": {"endpoint": {"name": "web-1"}}}),
        json!({"target": {"endpoint": {"name": "web-1", "admin": null}}}),
        json!({"target": {"endpoint": {"name": "web-1", "group": "%adm"}}}),
        json!({"target": {"endpoint": {"name": "web-1", "commands": [{"path": "/usr/bin/*"}]}}}),
        json!({"target": {"endpoint": {"name": "web-1", "commands": [{"path": "/bin/id", "args": ["-u"], "argsPattern": "^x$"}]}}}),
        json!({"target": {"endpoint": {"name": "web-1", "commands": [{"path": "/bin/id", "argsPattern": "x"}]}}}),
        json!({"startTime": "tomorrow"}),
        json!({"startTime": "9999-12-31T23:59:59Z"}),
        json!({"emergency": true, "startTime": "2100-01-01T00:00:00Z"}),
        json!({"emergency": true, "extends": "fix"}),
        json!({"extends": "fix", "startTime": "2100-01-01T00:00:00Z"}),
        json!({"urgency": "high"}),
    ] {
        book.add(&world.alice, &given, &request(&world, "bad", &given)).await;
    }
    let stands = world.ask("stands", json!({})).await.metadata.uid.unwrap();
    for given in [
        json!({"verdict": "Maybe"}),
        json!({"verdict": "Review"}),
        json!({"verdict": "Deny", "duration": "5m"}),
        json!({"verdict": "Approve", "outcome": "Justified"}),
        json!({"verdict": "Approve", "duration": "5"}),
        json!({"verdict": "Approve", "duration": "5h"}),
        json!({"verdict": "Approve", "request": {"name": "stands", "uid": "another"}}),
        json!({"verdict": "Approve", "request": {"name": "absent"}}),
        json!({"verdict": "Approve", "request": {"name": "../stands"}}),
        json!({"verdict": "Review", "outcome": "Justified", "request": {"name": "absent"}}),
    ] {
        let mut object = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": "bad", "namespace": world.ns}, "spec": {"request": {"name": "stands"}},
        });
        specify(&mut object, &given);
        book.add(&world.bob, &given, &object).await;
    }
    let somebody = json!([{"kind": "User", "name": "olga"}]);
    let ban =
        |targets: Value| json!({"effect": "Deny", "requesters": somebody, "targets": targets});
    let offer =
        |targets: Value| json!({"requesters": somebody, "targets": [{"kubernetes": targets}]});
    for given in [
        json!({"mode": "Off"}),
        json!({"requesters": [{"kind": "ServiceAccount", "name": "bot"}]}),
        json!({"requesters": [{"kind": "User", "name": "system:serviceaccount:ci:bot"}]}),
        json!({"duration": {"min": "2h", "max": "1h"}}),
        json!({"duration": {"max": "48h"}}),
        json!({"requesters": somebody, "targets": [{"all": true}]}),
        offer(json!({"roles": [edit], "namespaces": {"all": true, "names": ["shop"]}})),
        offer(
            json!({"roles": [{"kind": "ClusterRole", "name": "edti"}], "namespaces": {"all": true}}),
        ),
        offer(json!({"roles": [edit], "namespaces": {"names": ["kube-system"]}})),
        offer(
            json!({"roles": [edit], "namespaces": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
        ),
        json!({"requesters": somebody, "targets": [{"endpoint": {"all": true, "names": ["a"], "admin": {}}}]}),
        json!({"requesters": somebody, "targets": [{"endpoint": {"all": true, "admin": null}}]}),
        json!({"requesters": somebody, "targets": [{"endpoint": {"admin": {}}}]}),
        ban(json!([{"endpoint": {"names": ["web-1"]}}])),
        json!({"workstations": {}}),
        json!({"schedule": {"timeZone": "Mars", "windows": []}}),
        // One a policy: the API server tells several in an order that changes.
        json!({"schedule": {"timeZone": "UTC", "windows": [{"days": ["Mon"], "start": "25:00", "end": "10:00"}]}}),
        json!({"schedule": {"timeZone": "UTC", "windows": [{"days": ["Mon"], "start": "09:00", "end": "9"}]}}),
        json!({"conditions": [{"expression": "requester.credentialId != ''", "message": "no"}]}),
        json!({"ticket": {"pattern": "("}}),
        ban(json!([{"all": true, "kubernetes": {"roles": [edit]}}])),
        {
            let mut ban = ban(json!([{"all": true}]));
            ban["approval"] = json!({"stages": []});
            ban
        },
    ] {
        book.add(&world.admin, &given, &policy(&given)).await;
    }
    let user = |kind: &str, name: &str, local: &str| json!({"subject": {"kind": kind, "name": name}, "localUser": local});
    for given in [
        json!({"users": [user("Group", "x", "al")]}),
        json!({"users": [user("User", "alice", "root")]}),
        json!({"users": [user("User", "alice", "al"), user("User", "bob", "al")]}),
        json!({"enrolment": {"tokenHash": "abc", "expiresAt": "2036-01-01T00:00:00Z"}}),
    ] {
        let mut endpoint = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": "told"},
            "spec": {"platform": "Linux"},
        });
        specify(&mut endpoint, &given);
        book.add(&world.admin, &given, &endpoint).await;
    }
    book.text = book.text.replace(&stands, "UID-OF-STANDS");
    assert_eq!(book.other, Vec::<Value>::new());
    insta::assert_snapshot!(book.text);
}

/// What people are told of what is let through.
#[tokio::test]
async fn of_what_is_let_through() {
    let world = World::shared("messages-told").await;
    let mut book = Book::of(&world, false);
    let role = json!({"kind": "ClusterRole", "name": "edti"});
    let here = json!({"roles": [role], "namespaces": {"names": ["messages-told"]}});
    let approvers = json!([{"kind": "Group", "name": "messages-told-developers"}]);
    for given in [
        json!({"mode": "Disabled", "targets": [{"kubernetes": here}]}),
        json!({"approval": {"stages": [{"name": "lead", "approvers": approvers}]}}),
    ] {
        book.add(&world.admin, &given, &policy(&given)).await;
    }
    for given in [json!({"policy": "shpo"}), json!({"duration": "9h"})] {
        book.add(&world.alice, &given, &request(&world, "told", &given)).await;
    }
    assert_eq!(book.other, Vec::<Value>::new());
    insta::assert_snapshot!(book.text);
}

/// What the admission policies of the chart say, which hold without the webhook.
#[tokio::test]
async fn of_the_charts_admission_policies() {
    let chart = Rendered::with(&[]).await;
    let mut text = String::new();
    for policy in chart.all::<Value>("ValidatingAdmissionPolicy") {
        writeln!(text, "{}", policy["metadata"]["name"].as_str().unwrap()).unwrap();
        for rule in policy["spec"]["validations"].as_array().into_iter().flatten() {
            // A rule whose words are put together has others for when that fails.
            let words = |key: &str| rule[key].as_str().map(|text| text.replace('\n', " "));
            let message = words("message");
            assert!(message.is_some(), "{rule} has no words of its own");
            for said in words("messageExpression").into_iter().chain(message) {
                writeln!(text, "  {said}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}
