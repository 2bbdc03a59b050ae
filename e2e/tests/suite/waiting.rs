//! What tools that wait make of Lapse's kinds: Helm 4, Flux, and others that go by kstatus.

use std::fs;

use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, JitPolicy, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{SOON, World, typed};

pub(crate) fn json_of(kind: &str, object: impl Serialize) -> Value {
    let mut json = serde_json::to_value(object).unwrap();
    json["kind"] = kind.into();
    json["apiVersion"] = "lapse.dev/v1alpha1".into();
    json
}

impl World {
    /// What tools that wait make of an object.
    async fn taken_for(&self, kind: &str, object: impl Serialize) -> String {
        let said = self.lapse.plane().kstatus(&[json_of(kind, object)]).await.unwrap();
        said.trim().rsplit(' ').next().unwrap_or_default().to_owned()
    }

    async fn request_is_taken_for(&self, name: &str) -> String {
        let requests: Api<AccessRequest> = self.api(&self.admin);
        self.taken_for("AccessRequest", requests.get(name).await.unwrap()).await
    }

    async fn policy_is_taken_for(&self, name: &str) -> String {
        let policies: Api<JitPolicy> = Api::all(self.admin.client.clone());
        self.taken_for("JitPolicy", policies.get(name).await.unwrap()).await
    }
}

#[tokio::test]
async fn each_state_is_taken_for_what_it_is() {
    let world = World::shared("waited-for").await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let new: JitPolicy = typed(json!({
        "metadata": {"name": "waited-for-new"},
        "spec": {
            "requesters": [{"kind": "User", "name": "nobody"}],
            "targets": [{"kubernetes": {"roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": [world.ns]}}}],
        },
    }));
    let new = policies.create(&PostParams::default(), &new).await.unwrap();
    assert_eq!(
        world.taken_for("JitPolicy", &new).await,
        "InProgress",
        "nobody has looked at it yet"
    );
    eventually("the policy to be done", SOON, async || {
        Ok((world.policy_is_taken_for(&new.name_any()).await == "Current").then_some(()))
    })
    .await
    .unwrap();
    for mode in ["Audit", "Disabled"] {
        world.policy_named(&new.name_any(), json!({"mode": mode})).await;
        assert_eq!(world.policy_is_taken_for(&new.name_any()).await, "Current", "{mode}");
    }
    let new = world.ask("fix", json!({})).await;
    assert_eq!(world.taken_for("AccessRequest", &new).await, "InProgress");
    world.waits("fix", "manager").await;
    assert_eq!(world.request_is_taken_for("fix").await, "InProgress");
    let said = world.approve(&world.bob, "fix").await.unwrap();
    assert_eq!(world.taken_for("AccessDecision", said).await, "Current");
    world.phase("fix", RequestPhase::Active).await;
    assert_eq!(world.request_is_taken_for("fix").await, "Current");
    assert_eq!(world.taken_for("Grant", world.grant("fix").await).await, "Current");
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(world.request_is_taken_for("fix").await, "Current");

    world.ask("denied", json!({})).await;
    world.decide(&world.bob, "denied", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("denied", RequestPhase::Denied).await;
    assert_eq!(world.request_is_taken_for("denied").await, "Failed");
    world.ask("withdrawn", json!({})).await;
    world.decide(&world.alice, "withdrawn", json!({"verdict": "End"})).await.unwrap();
    world.phase("withdrawn", RequestPhase::Withdrawn).await;
    assert_eq!(world.request_is_taken_for("withdrawn").await, "Current");
}

/// Off is a state that was asked for: an upgrade that waits for it must not be rolled back.
#[tokio::test]
async fn helm_switches_a_policy_off() {
    let world = World::own("switched", InstallOptions::default()).await;
    let chart = world.lapse.plane().folder().join("policies");
    fs::create_dir_all(chart.join("templates")).unwrap();
    let about = "apiVersion: v2\nname: policies\nversion: 0.1.0\n";
    fs::write(chart.join("Chart.yaml"), about).unwrap();
    fs::write(chart.join("values.yaml"), "mode: Enforce\n").unwrap();
    let policy = "apiVersion: lapse.dev/v1alpha1
kind: JitPolicy
metadata:
  name: by-helm
spec:
  mode: {{ .Values.mode }}
  requesters: [{kind: User, name: nobody}]
  targets: [{kubernetes: {roles: [{kind: ClusterRole, name: edit}], namespaces: {names: [switched]}}}]
";
    fs::write(chart.join("templates/policy.yaml"), policy).unwrap();
    let path = chart.to_str().unwrap();
    let plane = world.lapse.plane();
    let waits = ["--wait", "--timeout", "3m"];
    plane.helm(&[&["install", "policies", path][..], &waits].concat()).await.unwrap().ok().unwrap();
    let off = ["upgrade", "policies", path, "--set", "mode=Disabled", "--rollback-on-failure"];
    plane.helm(&[&off[..], &waits].concat()).await.unwrap().ok().unwrap();
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let policy = serde_json::to_value(policies.get("by-helm").await.unwrap()).unwrap();
    assert_eq!(policy["spec"]["mode"], "Disabled");
}

/// The loop that the documents give to scripts.
fn loop_of_the_documents(ns: &str) -> String {
    let text = include_str!("../../../docs/concepts.md");
    let (_, after) = text.split_once("This ends with either").unwrap();
    let (_, script) = after.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    script.replace("-n shop", &format!("-n {ns}"))
}

/// Runs it as alice; what it says, and whether it ends well.
async fn waits_by_the_documents(world: &World, folder: &str) -> (String, bool) {
    let plane = world.lapse.plane();
    let folder = plane.folder().join(folder);
    fs::create_dir_all(&folder).unwrap();
    let request = json_of("AccessRequest", world.request("waited", json!({})));
    fs::write(folder.join("request.yaml"), request.to_string()).unwrap();
    let path = format!("{}:/usr/bin:/bin", plane.folder().join("bin").display());
    let output = Command::new("bash")
        .args(["-ec", &loop_of_the_documents(&world.ns)])
        .current_dir(&folder)
        .env("PATH", path)
        .env("HOME", &folder)
        .env("KUBECONFIG", &world.alice.kubeconfig)
        .output();
    let output = tokio::time::timeout(SOON, output).await.unwrap().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

#[tokio::test]
async fn where_the_documents_wait_it_ends() {
    let world = World::shared("waits-in-a-loop").await;
    let requests: Api<AccessRequest> = world.api(&world.alice);
    let asked = async || {
        let made = async || Ok(requests.get_opt("waited").await?.map(drop));
        eventually("the request to be made", SOON, made).await.unwrap();
        world.waits("waited", "manager").await;
    };
    let decided = async {
        asked().await;
        world.approve(&world.bob, "waited").await.unwrap();
    };
    let ((said, is_well), ()) = tokio::join!(waits_by_the_documents(&world, "approved"), decided);
    assert!(is_well, "{said}");
    requests.delete("waited", &DeleteParams::default()).await.unwrap();
    let gone = async || Ok(requests.get_opt("waited").await?.is_none().then_some(()));
    eventually("the request to go", SOON, gone).await.unwrap();

    // Another of the same name is not taken for it.
    let made_anew = async {
        asked().await;
        requests.delete("waited", &DeleteParams::default()).await.unwrap();
        eventually("another to be made", SOON, async || {
            let again = world.request("waited", json!({}));
            Ok(requests.create(&PostParams::default(), &again).await.ok())
        })
        .await
        .unwrap();
    };
    let ((said, is_well), ()) = tokio::join!(waits_by_the_documents(&world, "deleted"), made_anew);
    assert!(!is_well && said.contains("request waited was deleted"), "{said}");
    requests.delete("waited", &DeleteParams::default()).await.unwrap();
    eventually("the request to go", SOON, gone).await.unwrap();

    let denied = async {
        asked().await;
        world.decide(&world.bob, "waited", json!({"verdict": "Deny"})).await.unwrap();
    };
    let ((said, is_well), ()) = tokio::join!(waits_by_the_documents(&world, "denied"), denied);
    assert!(!is_well && said.contains("Denied"), "{said}");
}
