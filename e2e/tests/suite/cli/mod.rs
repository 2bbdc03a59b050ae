//! `kubectl jit`, as a process, by the people who ask and decide.

mod between;
mod completion;
mod doctor;
mod everywhere;
mod first;
mod interrupted;
mod kubeconfigs;
mod messages;
mod offline;
mod refusals;
mod releases;
mod report;
mod run;
mod shown;
mod terminal;

use std::path::Path;
use std::process::Stdio;

use lapse_crds::{AccessRequest, EndReason, RequestPhase};
use lapse_e2e::plane::{Answer, User, eventually, jit_program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::world::{SOON, World};

impl World {
    /// What `kubectl jit` answers somebody in this namespace.
    async fn jit(&self, user: &User, args: &[&str]) -> Answer {
        let args: Vec<&str> = ["-n", &self.ns].into_iter().chain(args.iter().copied()).collect();
        self.lapse.plane().jit(user, &args).await.unwrap()
    }

    /// `kubectl jit` as a process that goes on.
    async fn jit_started(&self, user: &User, args: &[&str]) -> Child {
        self.jit_started_with(&user.kubeconfig, args).await
    }

    /// The same with another kubeconfig, in a process group of its own, as a shell starts it.
    async fn jit_started_with(&self, kubeconfig: &Path, args: &[&str]) -> Child {
        Command::new(jit_program().await.unwrap())
            .args(["-n", &self.ns])
            .args(args)
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("PATH", "/usr/bin:/bin")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Waits until there is a request of this name, and it waits for its approval.
    async fn waits_once_made(&self, name: &str) {
        eventually(&format!("request {name} to be made"), SOON, async || {
            Ok(self.api::<AccessRequest>(&self.admin).get_opt(name).await?.map(|_| ()))
        })
        .await
        .unwrap();
        self.waits(name, "managers").await;
    }

    /// The only request that somebody made here, once there is one.
    async fn only_request(&self, user: &User) -> AccessRequest {
        eventually("a request to be made", SOON, async || {
            let api = self.api::<AccessRequest>(user);
            let fields = format!("spec.requester.username={}", user.name);
            let found = api.list(&kube::api::ListParams::default().fields(&fields)).await?.items;
            Ok(found.into_iter().next())
        })
        .await
        .unwrap()
    }
}

fn assert_refused(answer: &Answer, status: i32, words: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    for word in words {
        assert!(answer.stderr.contains(word), "{word}: {answer:?}");
    }
}

/// Ctrl-C.
fn interrupt(process: &Child) {
    send(process, Signal::SIGINT);
}

fn send(process: &Child, signal: Signal) {
    let pid = i32::try_from(process.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// The name in `accessrequest.lapse.dev/NAME created`.
fn created(answer: &Answer) -> String {
    assert!(answer.success(), "{answer:?}");
    let name = answer
        .stdout
        .strip_prefix("accessrequest.lapse.dev/")
        .unwrap_or_else(|| panic!("{answer:?}"));
    name.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn from_asking_to_the_end_without_a_line_of_yaml() {
    let world = World::shared("jit-flow").await;
    let ask = ["request", "edit", "--for", "10m", "--reason", "The checkout fails", "--wait"];
    let asking = world.jit_started(&world.alice, &ask).await;
    let name = world.only_request(&world.alice).await.metadata.name.unwrap();
    assert!(name.starts_with("edit-"), "{name}");
    world.waits(&name, "1 of group jit-flow-managers").await;

    let mine = world.jit(&world.alice, &["list", "--mine"]).await.ok().unwrap();
    assert!(mine.contains(&name) && mine.contains("1 of group jit-flow-managers"), "{mine}");
    let waiting =
        world.jit(&world.bob, &["list", "--to-approve", "-o", "name"]).await.ok().unwrap();
    assert_eq!(waiting, format!("accessrequest.lapse.dev/{name}\n"));
    let approved =
        world.jit(&world.bob, &["approve", &name, "--for", "8m", "--comment", "Only that"]).await;
    assert!(
        approved.stderr.contains("The checkout fails"),
        "what is approved is shown: {}",
        approved.stderr
    );
    let said = approved.ok().unwrap();
    assert_eq!(said, format!("{name} of alice-jit-flow approved for 8m: edit in jit-flow\n"));

    let asked = asking.wait_with_output().await.unwrap();
    let told = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(asked.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("{name}: Active: until ")), "{told}");
    assert!(
        world.may(&world.alice, "create", "configmaps").await,
        "it returns when the access stands"
    );
    let status = world.jit(&world.alice, &["status"]).await.ok().unwrap();
    assert!(status.contains("7m") && status.contains("left"), "{status}");

    let more = world.jit(&world.alice, &["extend", &name, "--for", "9m"]).await;
    let more = created(&more);
    world.waits(&more, "1 of group jit-flow-managers").await;
    let withdrawn = world.jit(&world.alice, &["end", &more]).await.ok().unwrap();
    assert_eq!(withdrawn, format!("{more} ended: edit in jit-flow\n"));
    world.phase(&more, RequestPhase::Withdrawn).await;
    world.jit(&world.alice, &["end", &name]).await.ok().unwrap();
    let ended = world.phase(&name, RequestPhase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::EndedByRequester));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn several_are_decided_at_once_and_those_not_named_only_on_a_yes() {
    let world = World::shared("jit-several").await;
    for name in ["one", "two", "three"] {
        world.ask(name, json!({})).await;
        world.waits(name, "managers").await;
    }
    let unsure = world.jit(&world.bob, &["approve", "--all"]).await;
    assert_eq!(unsure.status, 2, "{unsure:?}");
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    assert_eq!(world.status("one").await.phase, RequestPhase::Pending);

    let tried =
        world.jit(&world.bob, &["approve", "one", "--dry-run", "server"]).await.ok().unwrap();
    assert!(tried.ends_with("(server dry run)\n"), "{tried}");
    let denied = world.jit(&world.bob, &["deny", "three", "nothing", "--comment", "Not now"]).await;
    assert_eq!(denied.status, 1, "{denied:?}");
    assert!(denied.stderr.contains("there is no request nothing"), "{denied:?}");
    assert!(denied.stderr.contains("1 of 2 failed"), "{denied:?}");
    world.phase("three", RequestPhase::Denied).await;
    // Whoever may approve nothing is shown nothing, and decides nothing.
    let nobody = world.jit(&world.alice, &["approve", "--all", "--yes"]).await;
    assert!(nobody.success() && nobody.stderr.contains("No request waits for you"), "{nobody:?}");
    let all =
        world.jit(&world.bob, &["approve", "--all", "--yes", "-o", "json"]).await.ok().unwrap();
    let decisions: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(decisions["items"].as_array().map(Vec::len), Some(2), "{all}");
    for name in ["one", "two"] {
        world.phase(name, RequestPhase::Active).await;
    }
    let revoked = world.jit(&world.bob, &["deny", "one", "two"]).await;
    assert!(revoked.success(), "{revoked:?}");
    for name in ["one", "two"] {
        assert_eq!(
            world.phase(name, RequestPhase::Ended).await.end_reason,
            Some(EndReason::Revoked)
        );
    }
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn an_emergency_is_given_at_once_and_reviewed_afterwards() {
    let world = World::shared("jit-emergency").await;
    let reviewers = json!([{"kind": "User", "name": world.ben.name}]);
    let emergency =
        json!({"maxDuration": "1h", "review": {"within": "24h", "reviewers": reviewers}});
    world.policy(json!({"emergency": emergency})).await;
    world
        .bind("jit-emergency-reviewer", "lapse:reviewer", &crate::rbac::user(&world.ben.name))
        .await;
    let args = [
        "request",
        "edit",
        "--emergency",
        "--reason",
        "Nobody can pay",
        "--wait",
        "--name",
        "fire",
    ];
    let asked = world.jit(&world.alice, &args).await;
    assert!(asked.success(), "{asked:?}");
    let due = world.jit(&world.ben, &["list", "--to-review", "-o", "name"]).await.ok().unwrap();
    assert_eq!(due, "accessrequest.lapse.dev/fire\n");
    world.jit(&world.alice, &["end", "fire"]).await.ok().unwrap();
    world.phase("fire", RequestPhase::Ended).await;
    let own = world.jit(&world.alice, &["review", "fire", "--outcome", "justified"]).await;
    assert_eq!(own.status, 1, "{own:?}");
    let reviewed = world.jit(&world.ben, &["review", "fire", "--outcome", "justified"]).await;
    assert!(reviewed.success(), "{reviewed:?}");
    eventually("the review to be recorded", SOON, async || {
        let due = world.jit(&world.ben, &["list", "--to-review", "-o", "name"]).await;
        Ok(due.stdout.is_empty().then_some(()))
    })
    .await
    .unwrap();
}
