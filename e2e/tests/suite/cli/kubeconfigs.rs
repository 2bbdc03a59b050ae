//! Where the cluster is: kubeconfigs, as kubectl reads them.

use std::fs;
use std::path::Path;

use lapse_e2e::plane::{Tool, jit_program};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::World;

/// What a program says with this list of kubeconfigs: its exit status, and all of its words.
async fn said(program: &Path, list: &str, home: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("KUBECONFIG", list).env("HOME", home).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&words).into_owned())
}

#[tokio::test]
async fn a_list_of_files_is_read_as_kubectl_reads_it() {
    let world = World::shared("jit-kubeconfigs").await;
    world.ask("fix", json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let whole = fs::read_to_string(&world.alice.kubeconfig).unwrap();
    let whole: Value = serde_saphyr::from_str(&whole).unwrap();
    let part = |name: &str, fields: &[&str], current: Option<&Value>| {
        let mut part = json!({"apiVersion": "v1", "kind": "Config"});
        for field in fields {
            part[*field] = whole[*field].clone();
        }
        // As `kubectl config` leaves it where none is chosen.
        part["current-context"] = current.cloned().unwrap_or_else(|| json!(""));
        fs::write(at(name), part.to_string()).unwrap();
    };
    part("clusters", &["clusters"], None);
    part("people", &["users", "contexts"], Some(&whole["current-context"]));
    // What a later file says of the same names is not taken.
    let elsewhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "elsewhere",
        "clusters": [{"name": whole["clusters"][0]["name"], "cluster": {"server": "https://127.0.0.1:1"}}],
    });
    fs::write(at("elsewhere"), elsewhere.to_string()).unwrap();
    let list = ["nowhere", "clusters", "", "people", "gone/config", "elsewhere"];
    let list = list.map(|name| if name.is_empty() { String::new() } else { at(name) }).join(":");
    let jit = jit_program().await.unwrap();
    let kubectl = world.lapse.plane().tools().path(Tool::Kubectl);
    let ns = &*world.ns;
    let expected = (Some(0), "accessrequest.lapse.dev/fix\n".to_owned());
    let home = folder.path();
    assert_eq!(said(&jit, &list, home, &["-n", ns, "list", "-o", "name"]).await, expected);
    let get = ["-n", ns, "get", "accessrequests", "-o", "name"];
    assert_eq!(said(kubectl, &list, home, &get).await, expected);

    let nowhere = [at("nowhere"), at("gone/config")].join(":");
    let (status, told) = said(&jit, &nowhere, home, &["list"]).await;
    assert_eq!(status, Some(1), "{told}");
    let words = format!("none of these kubeconfigs exists: {}", nowhere.replace(':', ", "));
    assert!(told.contains(&words), "{told}");
    let (status, told) = said(&jit, &at("elsewhere"), home, &["list"]).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("the kubeconfig has no context elsewhere"), "{told}");
    let (status, told) = said(&jit, "", home, &["list"]).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("there is no kubeconfig"), "{told}");
    fs::write(at("broken"), "clusters: 7\n").unwrap();
    let (status, told) = said(&jit, &[list, at("broken")].join(":"), home, &["list"]).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains(&format!("reading kubeconfig {}", at("broken"))), "{told}");
}
