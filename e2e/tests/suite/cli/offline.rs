//! Policies in files, against a request in a file and against the requests of a cluster.

use std::fs;
use std::path::Path;

use lapse_crds::RequestPhase;
use lapse_e2e::plane::Answer;
use serde_json::{Value, json};

use super::assert_refused;
use crate::world::World;

/// A folder with manifests.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, value: &Value) -> String {
        self.text(name, &value.to_string())
    }

    fn text(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
fn policy(name: &str, changes: Value) -> Value {
    let mut spec = json!({
        "requesters": [{"kind": "Group", "name": "developers"}],
        "targets": [{"kubernetes": {
            "roles": [{"kind": "ClusterRole", "name": "mender"}], "namespaces": {"names": ["shop"]},
        }}],
        "duration": {"default": "30m", "max": "1h"},
        "approval": {"stages": [{"name": "m", "required": 1, "approvers": [{"kind": "Group", "name": "managers"}]}]},
    });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": name}, "spec": spec})
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
fn request(changes: Value) -> Value {
    let mut spec = json!({
        "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "mender"}}}, "duration": "10m",
        "reason": "A change is reviewed",
    });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": "fix", "namespace": "shop"}, "spec": spec,
    })
}

fn role(resource: &str, verb: &str, group: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "mender"},
        "rules": [{"apiGroups": [group], "resources": [resource], "verbs": [verb]}],
    })
}

impl World {
    /// As alice of the developers, by these policies, with these manifests.
    async fn explained(&self, policies: &[&str], with: &[&str], more: &[&str]) -> Answer {
        let mut args = vec!["explain"];
        args.extend(policies.iter().flat_map(|file| ["--policy", file]));
        args.extend(with.iter().flat_map(|file| ["--with", file]));
        args.extend(["--as", "alice", "--as-group", "developers"]);
        args.extend(more);
        // Without any cluster.
        args.extend(["--kubeconfig", "/nonexistent"]);
        self.lapse.plane().jit(&self.alice, &args).await.unwrap()
    }
}

#[tokio::test]
async fn a_request_is_explained_by_files_alone() {
    let world = World::shared("jit-offline").await;
    let files = Files::new();
    let asks = files.write("request.yaml", &request(json!({})));
    let strict = files.write("strict.yaml", &policy("strict", json!({"priority": 10})));
    let easy = files.write("easy.yaml", &policy("easy", json!({"approval": {"stages": []}})));
    let harmless = files.write("role.yaml", &role("configmaps", "get", ""));

    let told = world.explained(&[&strict, &easy], &[&harmless], &[&asks]).await;
    assert_eq!(told.status, 0, "{told:?}");
    for words in [
        "Verdict    Pending: it waits for 1 of group managers",
        "Policy     strict",
        "Duration",
        "strict comes first: its priority is 10, this one's is 100",
    ] {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
    for words in [
        "Assumed: namespace shop exists",
        "Assumed: the installation allows what the policies offer",
        "Assumed: alice has no other request",
        "without approval, which strict grants with 1 approval",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    let whole = world.explained(&[&easy], &[&harmless], &[&asks, "-o", "json"]).await;
    let whole: Value = serde_json::from_str(&whole.ok().unwrap()).unwrap();
    assert_eq!((&whole["verdict"], &whole["policy"]), (&json!("Granted"), &json!("easy")));
    assert!(whole["assumed"].as_array().unwrap().len() >= 3, "{whole}");

    let long = files.write("long.yaml", &request(json!({"duration": "2h"})));
    let denied = world.explained(&[&strict], &[&harmless], &[&long]).await;
    assert_refused(&denied, 3, &["it would be denied"]);
    assert!(denied.stdout.contains("2h was requested, but at most 1h is allowed"), "{denied:?}");
    let ban =
        json!({"effect": "Deny", "approval": null, "duration": null, "targets": [{"all": true}]});
    let ban = files.write("ban.yaml", &policy("freeze", ban));
    let denied = world.explained(&[&easy, &ban], &[&harmless], &[&asks]).await;
    assert_refused(&denied, 3, &["it would be denied"]);
    assert!(denied.stdout.contains("Policy     freeze"), "{denied:?}");
    let climbs =
        files.write("climbs.yaml", &role("rolebindings", "create", "rbac.authorization.k8s.io"));
    let denied = world.explained(&[&easy], &[&climbs], &[&asks]).await;
    assert_refused(&denied, 3, &["it would be denied"]);
    let hours = json!({"schedule": {"timeZone": "UTC", "windows": [{"days": ["Mon"], "start": "08:00", "end": "18:00"}]}});
    let hours = files.write("hours.yaml", &policy("hours", hours));
    for (at, status) in [("2026-11-30T10:00:00Z", 0), ("2026-11-29T10:00:00Z", 3)] {
        let told = world.explained(&[&hours], &[&harmless], &[&asks, "--at", at]).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    // Nobody asks for what they are not named for, and who asks is not guessed.
    let args = ["explain", "--policy", &easy, "--with", &harmless, "--as", "mallory", &asks];
    let other = world.jit(&world.alice, &args).await;
    assert_refused(&other, 3, &["it would be denied"]);
    let nobody = world.jit(&world.alice, &["explain", "--policy", &easy, &asks]).await;
    assert_refused(&nobody, 2, &["--as USER"]);
}

#[tokio::test]
async fn what_is_not_known_offline_is_not_guessed() {
    let world = World::shared("jit-offline-unknown").await;
    let files = Files::new();
    let asks = files.write("request.yaml", &request(json!({})));
    let easy = files.write("easy.yaml", &policy("easy", json!({"approval": {"stages": []}})));
    let harmless = files.write("role.yaml", &role("configmaps", "get", ""));
    let unknown = world.explained(&[&easy], &[], &[&asks]).await;
    assert_refused(&unknown, 1, &["the outcome is not known"]);
    assert!(unknown.stdout.contains("kubectl get clusterrole mender -o yaml"), "{unknown:?}");

    let selector = json!({"matchLabels": {"team": "shop"}});
    let by_label = json!({"targets": [{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "mender"}], "namespaces": {"selector": selector},
    }}]});
    let by_label = files.write("label.yaml", &policy("label", by_label));
    let unknown = world.explained(&[&by_label], &[&harmless], &[&asks]).await;
    assert_refused(&unknown, 1, &["the outcome is not known"]);
    assert!(unknown.stdout.contains("kubectl get namespace shop -o yaml"), "{unknown:?}");
    for (team, status) in [("shop", 0), ("bank", 3)] {
        let labels = json!({"team": team});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}});
        let namespace = files.write("namespace.yaml", &namespace);
        let told = world.explained(&[&by_label], &[&harmless, &namespace], &[&asks]).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    // The settings of the installation itself, as they stand.
    let get = ["-n", "lapse-system", "get", "configmap", "lapse-settings", "-o", "yaml"];
    let settings =
        files.text("settings.yaml", &world.kubectl(&world.admin, &get, None).await.unwrap());
    let refused = world.explained(&[&easy], &[&harmless, &settings], &[&asks]).await;
    assert_refused(
        &refused,
        1,
        &["this policy would be refused", "the controller may not bind ClusterRole mender"],
    );
}

#[tokio::test]
async fn files_that_cannot_be_meant_are_told_with_the_place() {
    let world = World::shared("jit-offline-files").await;
    let files = Files::new();
    let asks = files.write("request.yaml", &request(json!({})));
    let easy = files.write("easy.yaml", &policy("easy", json!({})));
    let typo = files.write("typo.yaml", &policy("typo", json!({"priorty": 5})));
    let wrong = files.write("wrong.yaml", &policy("wrong", json!({"duration": {"max": "1d"}})));
    let broken = files.write("broken.yaml", &policy("broken", json!({"duration": {"max": "48h"}})));
    let empty = files.text("empty.yaml", "# nothing\n");
    let bomb = files.text("bomb.yaml", &bomb());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
    let pod = files.write("pod.yaml", &pod);
    let cases = [
        (
            world.explained(&[&typo], &[], &[&asks]).await,
            &["typo.yaml, document 1", "spec.priorty"][..],
        ),
        (world.explained(&[&wrong], &[], &[&asks]).await, &["wrong.yaml", "spec.duration.max"]),
        (world.explained(&[&broken], &[], &[&asks]).await, &["would be refused", "48h"]),
        (
            world.explained(&[&easy, &easy], &[], &[&asks]).await,
            &["JitPolicy easy is in two places"],
        ),
        (world.explained(&[&asks], &[], &[&asks]).await, &["has no JitPolicy"]),
        (world.explained(&[&easy], &[], &[&easy]).await, &["easy.yaml", "expected AccessRequest"]),
        (world.explained(&[&easy], &[&pod], &[&asks]).await, &["a Pod of v1"]),
        (world.explained(&[&empty], &[], &[&asks]).await, &["empty.yaml has no object"]),
        (world.explained(&[&bomb], &[], &[&asks]).await, &["bomb.yaml is not YAML"]),
        (
            world.explained(&["/nonexistent.yaml"], &[], &[&asks]).await,
            &["reading /nonexistent.yaml"],
        ),
    ];
    for (answer, words) in &cases {
        assert_refused(answer, 1, words);
        assert!(answer.stdout.is_empty(), "{answer:?}");
    }
    assert!(Path::new(&asks).exists());
}

/// Aliases that stand for billions of nodes.
fn bomb() -> String {
    let of = |n: i32| {
        let before = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("a{n}: &a{n} [{before}]\n")
    };
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    std::iter::once(first).chain((1..10).map(of)).collect()
}

#[tokio::test]
async fn past_requests_are_judged_by_a_changed_policy() {
    let world = World::shared("jit-replay").await;
    world.granted("short", json!({"duration": "10m"})).await;
    world.ask("long", json!({"duration": "50m"})).await;
    world.waits("long", "managers").await;
    world.ask("never", json!({"duration": "9h"})).await;
    world.phase("never", RequestPhase::Denied).await;
    let get = ["get", "jp", &world.ns, "-o", "json"];
    let mut policy: Value =
        serde_json::from_str(&world.kubectl(&world.admin, &get, None).await.unwrap()).unwrap();
    policy.as_object_mut().unwrap().remove("status");
    let files = Files::new();
    let same = files.write("same.json", &policy);
    let replay = async |user, args: &[&str]| {
        let args: Vec<&str> = ["replay"].iter().chain(args).copied().collect();
        world.jit(user, &args).await
    };
    let unchanged = replay(&world.admin, &[&same]).await;
    assert!(unchanged.success() && unchanged.stdout.is_empty(), "{unchanged:?}");
    assert!(
        unchanged.stderr.contains("0 of 3 requests would be decided differently"),
        "{unchanged:?}"
    );

    policy["spec"]["duration"]["max"] = json!("30m");
    let shorter = files.write("shorter.json", &policy);
    let told = replay(&world.admin, &[&shorter, "-o", "json"]).await.ok().unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let [one] = told.as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&one["request"], &one["now"]["verdict"]), (&json!("long"), &json!("Pending")));
    assert_eq!(one["changed"]["verdict"], "Denied");
    assert!(one["changed"]["why"].as_str().unwrap().contains("at most 30m is allowed"), "{one}");
    let gone = replay(&world.admin, &["--without", &world.ns]).await;
    assert!(gone.stderr.contains("2 of 3 requests would be decided differently"), "{gone:?}");
    assert!(gone.stdout.contains("Denied"), "{gone:?}");
    assert_refused(
        &replay(&world.admin, &["--without", "nothing"]).await,
        2,
        &["there is no JitPolicy nothing"],
    );
    assert_refused(&replay(&world.admin, &[]).await, 2, &["--without"]);
    let twice = format!("JitPolicy {} is in two places", world.ns);
    assert_refused(&replay(&world.admin, &[&same, &shorter]).await, 1, &["shorter.json", &twice]);
    let none = files.write("request.json", &request(json!({})));
    assert_refused(&replay(&world.admin, &[&none]).await, 1, &["request.json has no JitPolicy"]);
    let elsewhere = replay(&world.admin, &[&shorter, "--installation", "nowhere"]).await;
    assert_refused(&elsewhere, 0, &["Assumed", "1 of 3 requests"]);
    assert_refused(&replay(&world.mallory, &[&shorter]).await, 1, &["lapse:policy-viewer"]);
    // Nothing was changed by that.
    world.waits("long", "managers").await;
}
