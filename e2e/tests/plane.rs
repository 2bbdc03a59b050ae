//! The control plane itself: what every other test takes for granted.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use lapse_e2e::plane::{Plane, PlaneOptions, SOON, User, eventually};
use serde_json::json;

async fn may(user: &User, verb: &str, resource: &str, namespace: &str) -> bool {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(user.client.clone());
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.is_some_and(|status| status.allowed)
}

async fn create_namespace(client: &Client, name: &str) -> Api<Namespace> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    namespaces
}

#[tokio::test]
async fn a_user_without_rights_is_refused_and_the_administrator_is_not() {
    let plane = Plane::shared().await.unwrap();
    let alice = plane.user("alice", &["shop-developers"]).await.unwrap();
    let admin = plane.admin().await.unwrap();
    let refused: Api<ConfigMap> = Api::namespaced(alice.client.clone(), "default");
    let error = refused.list(&ListParams::default()).await.unwrap_err().to_string();
    assert!(error.contains("alice") && error.contains("forbidden"), "{error}");
    let allowed: Api<ConfigMap> = Api::namespaced(admin.client.clone(), "default");
    allowed.list(&ListParams::default()).await.unwrap();
    assert!(!may(&alice, "list", "configmaps", "default").await);
    assert!(may(&admin, "list", "configmaps", "default").await);
}

#[tokio::test]
async fn every_group_of_a_certificate_counts() {
    let plane = Plane::shared().await.unwrap();
    let groups = ["shop-developers", "oncall", "leads"];
    let alice = plane.user("alice", &groups).await.unwrap();
    let answer = plane.kubectl(&alice, &["auth", "whoami", "-o", "json"]).await.unwrap();
    for group in groups {
        assert!(answer.stdout.contains(&format!("\"{group}\"")), "{answer:?}");
    }
}

#[tokio::test]
async fn aggregated_roles_have_rules() {
    let plane = Plane::shared().await.unwrap();
    let roles: Api<ClusterRole> = Api::all(plane.admin().await.unwrap().client);
    let edit = roles.get("edit").await.unwrap();
    assert!(edit.rules.unwrap().len() > 5);
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_what_is_in_it() {
    let plane = Plane::shared().await.unwrap();
    let client = plane.admin().await.unwrap().client;
    let namespaces = create_namespace(&client, "doomed").await;
    let configmaps: Api<ConfigMap> = Api::namespaced(client, "doomed");
    let configmap = serde_json::from_value(json!({"metadata": {"name": "inside"}})).unwrap();
    configmaps.create(&PostParams::default(), &configmap).await.unwrap();
    namespaces.delete("doomed", &DeleteParams::default()).await.unwrap();
    eventually("the namespace to be gone", SOON, async || {
        Ok(namespaces.get_opt("doomed").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_service_account_acts_by_its_token() {
    let plane = Plane::shared().await.unwrap();
    let client = plane.admin().await.unwrap().client;
    create_namespace(&client, "robots").await;
    let robot = plane.service_account("robots", "default").await.unwrap();
    let answer = plane.kubectl(&robot, &["auth", "whoami", "-o", "json"]).await.unwrap();
    assert!(answer.stdout.contains("system:serviceaccount:robots:default"), "{answer:?}");
}

#[tokio::test]
async fn kubectl_and_helm_report_the_pinned_versions() {
    let plane = Plane::shared().await.unwrap();
    let admin = plane.admin().await.unwrap();
    let version = plane.kubectl(&admin, &["version", "-o", "json"]).await.unwrap().ok().unwrap();
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    let (client, server) =
        (&version["clientVersion"]["gitVersion"], &version["serverVersion"]["gitVersion"]);
    assert!(client.as_str().unwrap().starts_with("v1."), "{version}");
    assert_eq!(client, server);
    plane.helm(&["list", "--all-namespaces"]).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn writes_are_counted_by_user_in_the_audit_log() {
    let plane = Plane::shared().await.unwrap();
    let robot = plane.user("writer", &["system:masters"]).await.unwrap();
    let configmaps: Api<ConfigMap> = Api::namespaced(robot.client, "default");
    for name in ["one", "two"] {
        let configmap = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        configmaps.create(&PostParams::default(), &configmap).await.unwrap();
    }
    let count = || {
        let text = std::fs::read_to_string(plane.audit_log()).unwrap();
        // What others do meanwhile may be half written.
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let writes =
            events.filter(|event: &serde_json::Value| event["user"]["username"] == "writer");
        writes.filter(|event| event["verb"] == "create").count()
    };
    eventually("both to be written down", SOON, async || Ok((count() >= 2).then_some(())))
        .await
        .unwrap();
    assert_eq!(count(), 2);
}

#[tokio::test]
async fn a_plane_whose_apiserver_was_killed_stops_and_leaves_nothing() {
    let plane = Plane::start(PlaneOptions::default()).await.unwrap();
    let servers = [plane.etcd(), plane.apiserver(), plane.controller_manager()];
    let mut pids: Vec<u32> = servers.iter().map(|process| process.pid()).collect();
    let folder = plane.folder().to_owned();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    plane.apiserver().kill();
    plane.apiserver().start().unwrap();
    plane.ready().await.unwrap();
    pids.push(plane.apiserver().pid());
    plane.stop().await.unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!folder.exists());
}

#[tokio::test]
async fn what_a_killed_playground_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut playground = std::process::Command::new(env!("CARGO_BIN_EXE_playground"))
        .args(["--controllers", "0", "--webhooks", "0", "--no-examples", "--dir"])
        .arg(folder.path())
        .env("LAPSE_ENVTEST", "off")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // It may have to build `kubectl jit`.
    let manifest = eventually("playground.json", Duration::from_mins(10), async || {
        Ok(std::fs::read_to_string(folder.path().join("playground.json")).ok())
    })
    .await;
    playground.kill().unwrap();
    playground.wait().unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest.unwrap()).unwrap();
    let processes = manifest["processes"].as_array().unwrap();
    assert!(processes.len() >= 3, "{manifest}");
    for process in processes {
        let pid = u32::try_from(process["pid"].as_u64().unwrap()).unwrap();
        eventually("the process to end", SOON, async || Ok((!is_alive(pid)).then_some(())))
            .await
            .unwrap();
    }
    for file in ["ca", "caKey", "kubeconfig", "auditLog", "bin"] {
        assert!(Path::new(manifest[file].as_str().unwrap()).exists(), "{file}");
    }
}

/// Whether a process runs; one that has ended and was not reaped does not.
fn is_alive(pid: u32) -> bool {
    let output = std::process::Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout);
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}
