//! What people are told at once, by warnings of kubectl and by events.

use lapse_crds::RequestPhase;
use lapse_e2e::plane::{Answer, InstallOptions, eventually};
use serde_json::{Value, json};

use crate::world::{SOON, World};

impl World {
    /// What kubectl says to alice when she asks, as a dry run.
    async fn told_when_asking(&self, fields: Value) -> String {
        let mut request = serde_json::to_value(self.request("foreseen", fields)).unwrap();
        request["kind"] = "AccessRequest".into();
        request["apiVersion"] = "lapse.dev/v1alpha1".into();
        let args = ["create", "--dry-run=server", "-f", "-"];
        let input = request.to_string();
        let answer = self.lapse.plane().kubectl_with_input(&self.alice, &args, Some(&input)).await;
        let answer = answer.unwrap();
        assert!(answer.success(), "{answer:?}");
        answer.stderr
    }

    /// Waits until alice is told this when she asks: the webhook learns of what was stored a moment later.
    async fn tells_when_asking(&self, words: &str) {
        let mut last = String::new();
        let found = eventually(&format!("alice to be told of {words:?}"), SOON, async || {
            last = self.told_when_asking(json!({})).await;
            Ok(last.contains(words).then_some(()))
        })
        .await;
        found.unwrap_or_else(|error| panic!("{error:#}; she was told {last:?}"));
    }
}

#[tokio::test]
async fn a_request_that_can_never_be_given_says_so_at_once() {
    let world = World::shared("foreseen").await;
    let target = |role: &str, namespace: &str| {
        let role = json!({"kind": "ClusterRole", "name": role});
        json!({"target": {"kubernetes": {"role": role, "namespaces": [namespace]}}})
    };
    let told = world.told_when_asking(json!({})).await;
    let waits = "Warning: JitPolicy foreseen would decide, and the request would wait for 1 of group foreseen-managers";
    assert_eq!(told.trim_end(), waits);
    for (fields, words) in [
        (json!({"policy": "foressen"}), "foressen"),
        (target("edti", "foreseen"), "ClusterRole edti"),
        (target("edit", "foressen"), "foressen"),
        (json!({"duration": "9h"}), "9h"),
    ] {
        let told = world.told_when_asking(fields).await;
        assert!(told.starts_with("Warning: this request will be denied: "), "{told}");
        assert!(told.contains(words), "{told}");
    }
    world.policy(json!({"limits": {"openRequestsPerUser": 1}})).await;
    world.ask("first", json!({})).await;
    world.tells_when_asking("You have 1 open request").await;
    let developers = json!([{"kind": "Group", "name": "foreseen-developers"}]);
    let ban = json!({"effect": "Deny", "requesters": developers, "targets": [{"all": true}]});
    world.apply(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "foreseen-ban"}, "spec": ban,
    })).await;
    world.phase("first", RequestPhase::Denied).await;
    world.tells_when_asking("foreseen-ban").await;
}

#[tokio::test]
async fn a_request_says_for_whom_it_waits_and_an_approval_what_is_missing_still() {
    let world = World::shared("missing-still").await;
    let managers = json!([{"kind": "Group", "name": "missing-still-managers"}]);
    let stages = json!([{"name": "manager", "required": 2, "approvers": managers}]);
    world.policy(json!({"approval": {"stages": stages}})).await;
    world.ask("fix", json!({})).await;
    world.told("fix", "It waits for 2 of group missing-still-managers.").await;
    let said = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision", "metadata": {"generateName": "fix-"},
        "spec": {"request": {"name": "fix"}, "verdict": "Approve"},
    });
    let args = ["-n", &world.ns, "create", "-f", "-"];
    let plane = world.lapse.plane();
    let answer =
        plane.kubectl_with_input(&world.bob, &args, Some(&said.to_string())).await.unwrap();
    let expected = "it still waits for 1 of group missing-still-managers";
    assert!(answer.stderr.contains(expected), "{answer:?}");
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

impl World {
    async fn admin_says(&self, args: &[&str], input: Option<&Value>) -> Answer {
        let input = input.map(ToString::to_string);
        let plane = self.lapse.plane();
        plane.kubectl_with_input(&self.admin, args, input.as_deref()).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_takes_rights_away_by_a_policy_is_told_how_many() {
    let world = World::own("how-many", InstallOptions::default()).await;
    world.granted("fix", json!({})).await;
    let told = |answer: &Answer| {
        answer.stderr.contains("this ends 1 active grant under it") && answer.success()
    };
    let off = r#"{"spec": {"mode": "Disabled"}}"#;
    let patch = ["patch", "jp", &world.ns, "--type=merge", "-p", off, "--dry-run=server"];
    eventually("the webhook to know of the grant", SOON, async || {
        Ok(told(&world.admin_says(&patch, None).await).then_some(()))
    })
    .await
    .unwrap();
    let answer = world.admin_says(&["delete", "jp", &world.ns, "--dry-run=server"], None).await;
    assert!(told(&answer), "{answer:?}");
    let ban = |who: Value| {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "ban"},
            "spec": {"effect": "Deny", "requesters": [who], "targets": [{"all": true}]},
        })
    };
    for (who, words) in [
        (json!({"kind": "User", "name": world.alice.name}), "ends 1 active grant that it denies"),
        (
            json!({"kind": "Group", "name": "how-many-developers"}),
            "this ends 0 active grants that it denies, and 1 more if their holders are in its groups",
        ),
        (json!({"kind": "User", "name": "nobody"}), ""),
    ] {
        let answer =
            world.admin_says(&["create", "--dry-run=server", "-f", "-"], Some(&ban(who))).await;
        assert!(answer.success() && answer.stderr.contains(words), "{answer:?}");
        assert!(!words.is_empty() || answer.stderr.is_empty(), "{answer:?}");
    }
    // It must be possible without the webhook, too.
    world.lapse.stop().await.unwrap();
    let answer = world.admin_says(&["delete", "jp", &world.ns, "--wait=false"], None).await;
    assert!(answer.success(), "{answer:?}");
}

#[tokio::test]
async fn whoever_writes_a_policy_is_told_of_names_that_mean_nothing() {
    let world = World::shared("means-nothing").await;
    let kubernetes = |role: &str, namespace: &str| json!([{"kubernetes": {"roles": [{"kind": "ClusterRole", "name": role}], "namespaces": {"names": [namespace]}}}]);
    let policy = |spec: Value| {
        let mut policy = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "means-nothing-new"},
            "spec": {"requesters": [{"kind": "User", "name": "x"}], "targets": kubernetes("edit", "means-nothing")},
        });
        for (field, value) in spec.as_object().unwrap() {
            policy["spec"][field] = value.clone();
        }
        policy
    };
    let create = ["create", "--dry-run=server", "-f", "-"];
    let said = async |spec: Value| world.admin_says(&create, Some(&policy(spec))).await.stderr;
    let told = said(json!({"targets": kubernetes("edit", "means-noting")})).await;
    assert!(told.contains("there is no namespace means-noting"), "{told}");
    let told = said(json!({"targets": kubernetes("edti", "means-nothing")})).await;
    assert!(told.contains("there is no ClusterRole edti: correct its name"), "{told}");
    assert!(!told.contains("bindableRoles"), "{told}");
    let stage = |kind: &str, name: &str| {
        let who = json!([{"kind": kind, "name": name}]);
        json!({"approval": {"stages": [{"name": "lead", "approvers": who}]}})
    };
    let told = said(stage("Group", "means-nothing-developers")).await;
    assert!(told.contains("is not held by group means-nothing-developers"), "{told}");
    let told = said(stage("Group", "means-nothing-managers")).await;
    assert!(!told.contains("verb approve"), "{told}");
}

#[tokio::test]
async fn a_policy_that_becomes_not_ready_is_told_by_an_event() {
    let set =
        ["controller.bindableRoles[4].kind=ClusterRole", "controller.bindableRoles[4].name=absent"];
    let set = set.map(ToOwned::to_owned).to_vec();
    let world = World::own("not-ready", InstallOptions { set, ..InstallOptions::default() }).await;
    let roles = json!([{"kind": "ClusterRole", "name": "absent"}]);
    let here = json!({"roles": roles, "namespaces": {"names": [world.ns]}});
    world.policy_named("not-ready-role", json!({"targets": [{"kubernetes": here}]})).await;
    eventually("an event about the policy", SOON, async || {
        let events = ["events", "-n", "default", "--for=jp/not-ready-role"];
        Ok(world.admin_says(&events, None).await.stdout.contains("RoleNotFound").then_some(()))
    })
    .await
    .unwrap();
}
