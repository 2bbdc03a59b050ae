//! Every manifest of `examples/` is applied, as the people that it speaks of apply it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kube::Api;
use lapse_crds::{AccessRequest, JitPolicy, RequestPhase};
use lapse_e2e::plane::{InstallOptions, User, eventually, workspace};
use serde_json::json;

use crate::world::{SOON, World};

/// A folder with this file is a situation, shipped switched off.
const POLICY: &str = "policy.yaml";

/// The manifests of requests and decisions: alice asks, bob approves, she ends it; and once more, with a Deny.
#[tokio::test]
async fn the_requests_of_the_playground() {
    let mut world = World::own("walk", InstallOptions::default()).await;
    let mut unused = manifests();
    let plane = world.lapse.plane().clone();
    let mut apply = async |who: &User, verb: &str, file: &str| {
        unused.remove(file);
        let path = workspace::root().join("examples").join(file);
        plane.kubectl(who, &[verb, "-f", path.to_str().unwrap()]).await.unwrap().ok()
    };
    apply(&world.admin, "apply", "playground/10-shop.yaml").await.unwrap();
    apply(&world.admin, "apply", "playground/20-policies.yaml").await.unwrap();
    world.ns = "shop".to_owned();
    world.alice = plane.user("alice", &["shop-developers"]).await.unwrap();
    world.bob = plane.user("bob", &["shop-managers"]).await.unwrap();
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    for name in ["shop-debug", "shop-admin", "shop-look"] {
        eventually(&format!("policy {name} to be ready"), SOON, async || {
            let status = policies.get(name).await?.status.unwrap_or_default();
            let ready = status.conditions.first().is_some_and(|ready| ready.reason == "Valid");
            Ok(ready.then_some(()))
        })
        .await
        .unwrap();
    }

    assert!(!world.may(&world.alice, "delete", "apps/deployments").await);
    apply(&world.alice, "apply", "requests/fix-checkout.yaml").await.unwrap();
    world.phase("fix-checkout", RequestPhase::Pending).await;
    let own = apply(&world.alice, "create", "requests/approve-fix-checkout.yaml").await;
    assert!(own.unwrap_err().to_string().contains("nobody may approve their own request"));
    apply(&world.bob, "create", "requests/approve-fix-checkout.yaml").await.unwrap();
    world.phase("fix-checkout", RequestPhase::Active).await;
    comes_to_hold(&world, true).await;
    apply(&world.alice, "create", "requests/end-fix-checkout.yaml").await.unwrap();
    world.phase("fix-checkout", RequestPhase::Ended).await;
    comes_to_hold(&world, false).await;

    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("fix-checkout", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the request to go", SOON, async || {
        Ok(requests.get_opt("fix-checkout").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    apply(&world.alice, "apply", "requests/fix-checkout.yaml").await.unwrap();
    apply(&world.bob, "create", "requests/approve-fix-checkout.yaml").await.unwrap();
    world.phase("fix-checkout", RequestPhase::Active).await;
    apply(&world.bob, "create", "requests/deny-fix-checkout.yaml").await.unwrap();
    world.phase("fix-checkout", RequestPhase::Ended).await;
    comes_to_hold(&world, false).await;
    let created = apply(&world.alice, "create", "requests/edit-shop.yaml").await.unwrap();
    assert!(created.contains("/edit-shop-"), "{created}");
    assert_eq!(unused, BTreeSet::new(), "an example that no test uses");
}

/// Waits until alice may delete Deployments, or no longer may: the authorizer learns of a binding a moment later.
async fn comes_to_hold(world: &World, held: bool) {
    eventually("the authorizer to know what alice holds", SOON, async || {
        Ok((world.may(&world.alice, "delete", "apps/deployments").await == held).then_some(()))
    })
    .await
    .unwrap();
}

/// What is shipped for a situation can be applied as it is, gives nothing before somebody switches it on,
/// and can be switched on. The cookbook shows the same policy.
#[tokio::test]
async fn every_situation_can_be_applied_and_gives_nothing_yet() {
    // One of them is for people who ask on hosts.
    let set = vec!["gateway.requests.enabled=true".to_owned()];
    let options = InstallOptions { gateways: 1, set, ..InstallOptions::default() };
    let world = World::own("situations", options).await;
    for name in ["shop", "ci"] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        world.apply(namespace).await;
    }
    let cookbook = fs::read_to_string(workspace::root().join("docs/policies.md")).unwrap();
    let dry_run = async |file: &Path| {
        let mode = "--output=jsonpath={.spec.mode}";
        let args = ["apply", "--dry-run=server", mode, "-f", file.to_str().unwrap()];
        let answer = world.kubectl(&world.admin, &args, None).await;
        answer.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()))
    };
    for situation in situations() {
        for entry in fs::read_dir(&situation).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let mode = dry_run(&file).await;
                let is_inactive = ["Disabled", "Audit"].contains(&mode.trim());
                let text = fs::read_to_string(&file).unwrap();
                let (name, is_policy) = (file.display(), text.contains("\nkind: JitPolicy\n"));
                assert_eq!(is_inactive, is_policy, "{name} is {mode:?}");
                if is_policy {
                    assert!(
                        cookbook.contains(&text),
                        "docs/policies.md shows no policy like {name}"
                    );
                    // A policy that is switched off is stored with its mistakes.
                    let on = text.replace("mode: Disabled", "mode: Enforce");
                    let args = ["apply", "--dry-run=server", "-f", "-"];
                    let answer = world.kubectl(&world.admin, &args, Some(&on)).await;
                    assert!(answer.is_ok(), "{name} cannot be switched on: {answer:?}");
                }
            }
        }
    }
}

/// The folders of `examples/` that hold one situation each.
fn situations() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace::root().join("examples")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path());
    let situations: Vec<PathBuf> = folders.filter(|path| path.join(POLICY).exists()).collect();
    assert!(!situations.is_empty(), "examples/ has no folder with a {POLICY}");
    situations
}

/// Every YAML file below `examples/`, by its path from there, but those of the situations: they have a
/// test of their own.
fn manifests() -> BTreeSet<String> {
    let root = workspace::root().join("examples");
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.join(POLICY).exists()).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}
