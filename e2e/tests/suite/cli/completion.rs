//! Completion, with the names that there are in the cluster: as kubectl asks for it, and as bash does for `kubectl-jit` by itself.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use lapse_e2e::plane::{Tool, User, eventually, jit_program, workspace};
use serde_json::json;
use tokio::process::Command;

use crate::world::{SOON, World};

impl World {
    /// A program that finds `kubectl jit` and what completes it.
    async fn completing(&self, user: &User, program: &Path) -> Command {
        let jit = jit_program().await.unwrap();
        let folders = [jit.parent().unwrap().to_owned(), workspace::root().join("cli")];
        let folders = folders.iter().map(|folder| folder.display().to_string());
        let path: Vec<String> = folders.chain(["/usr/bin:/bin".to_owned()]).collect();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path.join(":"))
            .env("KUBECONFIG", &user.kubeconfig)
            .env("HOME", self.lapse.plane().folder())
            .kill_on_drop(true);
        command
    }

    /// What kubectl completes the last of these words to, each with what it is, and at last how the shell is to go on.
    async fn completed(&self, user: &User, words: &[&str]) -> Vec<String> {
        let kubectl = self.lapse.plane().tools().path(Tool::Kubectl);
        let mut command = self.completing(user, kubectl).await;
        let words = ["-n", &*self.ns].into_iter().chain(words.iter().copied());
        let output = command.args(["__complete", "jit"]).args(words).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        told.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until kubectl completes to this: on a machine that is busy, the two seconds that it has may be over first.
    async fn completes(&self, user: &User, words: &[&str], expected: &[&str]) {
        let mut last = Vec::new();
        let found = eventually(&format!("{words:?} to be completed"), SOON, async || {
            last = self.completed(user, words).await;
            Ok((last == expected).then_some(()))
        })
        .await;
        found.unwrap_or_else(|error| panic!("{error:#}; the last were {last:?}"));
    }
}

#[tokio::test]
async fn kubectl_completes_names_that_make_sense_there() {
    let world = World::shared("jit-names").await;
    world.granted("held", json!({})).await;
    world.denied("refused").await;
    world.ask("fix-one", json!({})).await;
    world.waits("fix-one", "managers").await;
    let open = format!("fix-one\t{}: edit in jit-names", world.alice.name);
    let held = format!("held\t{}: edit in jit-names", world.alice.name);
    let refused = format!("refused\t{}: edit in jit-names", world.alice.name);
    let offered = "jit-names\tClusterRole edit, ClusterRole view in jit-names";
    let (open, held, refused) = (&*open, &*held, &*refused);
    let alice = &*world.alice.name;
    let no_files = ":4";
    let cases: [(&User, &[&str], &[&str]); 14] = [
        (&world.bob, &["approve", ""], &[open]),
        (&world.bob, &["approve", "f"], &[open]),
        (&world.bob, &["approve", "x"], &[]),
        (&world.bob, &["deny", ""], &[open, held]),
        (&world.bob, &["deny", "held", ""], &[open]),
        (&world.bob, &["status", ""], &[open, held, refused]),
        (&world.bob, &["explain", "--output", "json", "re"], &[refused]),
        (&world.alice, &["end", ""], &[open, held]),
        (&world.alice, &["extend", ""], &[held]),
        (&world.alice, &["request", ""], &["edit", "view"]),
        (&world.alice, &["run", "v"], &["view"]),
        (&world.alice, &["request", "edit", "--policy", ""], &[offered]),
        (&world.alice, &["request", "edit", "--policy=jit-n"], &[offered]),
        (&world.alice, &["list", "--context", ""], &[alice]),
    ];
    for (user, words, expected) in cases {
        let expected: Vec<&str> = expected.iter().copied().chain([no_files]).collect();
        world.completes(user, words, &expected).await;
    }
    for words in [["replay", "--without", "jit-nam"], ["status", "-n", "jit-nam"]] {
        world.completes(&world.admin, &words, &["jit-names", no_files]).await;
    }
    // Nothing was asked for by that, nor decided.
    assert_eq!(
        world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap().lines().count(),
        3
    );
    world.waits("fix-one", "managers").await;
}

#[tokio::test]
async fn who_may_not_see_names_is_offered_none_and_told_nothing() {
    let world = World::shared("jit-complete-none").await;
    for words in [
        &["-n", "default", "status", "x"][..],
        &["-n", "default", "request", "x"],
        &["replay", "--without", "jit"],
        &["status", "-n", "jit"],
        &["--kubeconfig", "/nonexistent", "status", "x"],
        &["--context", "elsewhere", "status", "x"],
    ] {
        let words: Vec<&str> = ["__complete"].iter().chain(words).copied().collect();
        let told = world.lapse.plane().jit(&world.mallory, &words).await.unwrap();
        assert!(told.success() && told.stderr.is_empty(), "{told:?}");
        assert_eq!(told.stdout, ":4\n", "{words:?}");
    }
}

#[tokio::test]
async fn who_completes_does_not_wait_for_a_server_that_hangs() {
    let world = World::shared("jit-complete-hangs").await;
    // It takes calls, and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "silent",
        "clusters": [{"name": "silent", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "silent", "user": {"token": "none"}}],
        "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "silent"}}],
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let file = file.display().to_string();
    let words = ["__complete", "--kubeconfig", &file, "approve", "x"];
    // Built before the clock runs.
    jit_program().await.unwrap();
    let begun = Instant::now();
    let told = world.lapse.plane().jit(&world.bob, &words).await.unwrap();
    assert_eq!((&*told.stdout, &*told.stderr), (":4\n", ""));
    // Two seconds, and what a busy machine adds.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn bash_completes_the_plugin_by_itself() {
    let world = World::shared("jit-complete-bash").await;
    world.ask("fix-one", json!({})).await;
    world.waits("fix-one", "managers").await;
    // As bash has it: it splits words at `=`, and replaces what follows.
    let script = "
        source <(kubectl-jit completion bash)
        complete -p kubectl-jit >/dev/null || exit 1
        COMP_LINE='kubectl-jit --namespace=jit-complete-bash approve fix' COMP_POINT=${#COMP_LINE}
        COMP_WORDS=(kubectl-jit --namespace = jit-complete-bash approve fix) COMP_CWORD=5
        _kubectl_jit kubectl-jit fix approve
        printf '%s\\n' \"${COMPREPLY[@]}\"
        COMP_LINE='kubectl-jit approve fix --dry-run=s' COMP_POINT=${#COMP_LINE}
        COMP_WORDS=(kubectl-jit approve fix --dry-run = s) COMP_CWORD=5
        _kubectl_jit kubectl-jit s =
        printf '%s\\n' \"${COMPREPLY[@]}\"
    ";
    let mut last = None;
    let found = eventually("bash to complete both", SOON, async || {
        let mut bash = world.completing(&world.bob, Path::new("/bin/bash")).await;
        let output = bash.args(["-c", script]).output().await?;
        let is_it = output.stdout == b"fix-one\nserver\n";
        last = Some(output);
        Ok(is_it.then_some(()))
    })
    .await;
    found.unwrap_or_else(|error| panic!("{error:#}; the last was {last:?}"));
}
