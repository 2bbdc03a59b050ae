//! A command that is run with access that ends with it.

use lapse_crds::{EndReason, RequestPhase};
use lapse_e2e::plane::{Origin, Tool, Tools, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{interrupt, send};
use crate::world::{SOON, World};

const ASK: [&str; 6] = ["run", "edit", "--for", "10m", "--reason", "A change"];

impl World {
    async fn run(&self, command: &[&str]) -> lapse_e2e::plane::Answer {
        let args: Vec<&str> = ASK.iter().chain(&["--"]).chain(command).copied().collect();
        self.jit(&self.alice, &args).await
    }
}

#[tokio::test]
async fn the_access_lasts_as_long_as_the_command() {
    let world = World::shared("jit-run").await;
    world.self_service().await;
    let kubectl =
        Tools::ready(Origin::Source).await.unwrap().path(Tool::Kubectl).display().to_string();
    let written = world.run(&[&kubectl, "-n", "jit-run", "create", "configmap", "proof"]).await;
    assert!(written.success(), "{written:?}");
    assert!(written.stdout.contains("configmap/proof created"), "{written:?}");
    let name = world.only_request(&world.alice).await.metadata.name.unwrap();
    let ended = world.phase(&name, RequestPhase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::EndedByRequester));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn the_exit_status_is_the_commands_and_the_access_ends_all_the_same() {
    let world = World::shared("jit-run-fails").await;
    world.self_service().await;
    for (command, status) in [
        (&["/bin/sh", "-c", "exit 7"][..], 7),
        (&["/bin/sh", "-c", "kill -9 $$"][..], 137),
        (&["/nonexistent"][..], 1),
    ] {
        let ran = world.run(command).await;
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains(": ended"), "{ran:?}");
    }
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn what_is_interrupted_while_it_waits_is_withdrawn() {
    let world = World::shared("jit-run-stopped").await;
    let args: Vec<&str> = ASK.iter().chain(&["--", "/bin/true"]).copied().collect();
    let waiting = world.jit_started(&world.alice, &args).await;
    let name = world.only_request(&world.alice).await.metadata.name.unwrap();
    world.waits(&name, "managers").await;
    interrupt(&waiting);
    let stopped = waiting.wait_with_output().await.unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    world.phase(&name, RequestPhase::Withdrawn).await;
}

/// Ctrl-\ goes to the command by itself, and is no reason to leave its access behind.
#[tokio::test]
async fn who_quits_leaves_no_access() {
    let world = World::shared("jit-run-quit").await;
    world.self_service().await;
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let command = format!("touch {}; sleep 3", begun.display());
    let args: Vec<&str> = ASK.iter().chain(&["--", "/bin/sh", "-c", &command]).copied().collect();
    let running = world.jit_started(&world.alice, &args).await;
    let name = world.only_request(&world.alice).await.metadata.name.unwrap();
    eventually("the command to begin", SOON, async || Ok(begun.exists().then_some(())))
        .await
        .unwrap();
    send(&running, Signal::SIGQUIT);
    let ended = running.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    world.phase(&name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn what_is_denied_runs_nothing() {
    let world = World::shared("jit-run-denied").await;
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("proof").display().to_string();
    let args: Vec<&str> = ASK.iter().chain(&["--", "/usr/bin/touch", &proof]).copied().collect();
    let waiting = world.jit_started(&world.alice, &args).await;
    let name = world.only_request(&world.alice).await.metadata.name.unwrap();
    world.waits(&name, "managers").await;
    world.decide(&world.bob, &name, json!({"verdict": "Deny"})).await.unwrap();
    let denied = waiting.wait_with_output().await.unwrap();
    assert_eq!(denied.status.code(), Some(3), "{denied:?}");
    assert!(!std::path::Path::new(&proof).exists());
}
