//! `run` that is interrupted, at each moment: nothing is left half done.

use std::process::Output;

use axum::http::{Method, Uri};
use lapse_crds::{AccessRequest, EndReason, RequestPhase};
use lapse_e2e::plane::eventually;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::between::{Between, Held};
use super::{interrupt, send};
use crate::world::{SOON, World};

const ASK: [&str; 6] = ["run", "edit", "--for", "10m", "--reason", "A change"];
/// How long a call may take that is never answered.
const BRIEF: [&str; 2] = ["--request-timeout", "10"];

fn is_new(method: &Method, uri: &Uri, kind: &str, dry_run: bool) -> bool {
    let is_tried = uri.query().is_some_and(|query| query.contains("dryRun"));
    method == Method::POST && uri.path().ends_with(kind) && is_tried == dry_run
}

/// What policies offer is asked by a dry run.
fn asks_for_offers(method: &Method, uri: &Uri) -> bool {
    is_new(method, uri, "/accessrequests", true)
}

fn requests(method: &Method, uri: &Uri) -> bool {
    is_new(method, uri, "/accessrequests", false)
}

fn decides(method: &Method, uri: &Uri) -> bool {
    is_new(method, uri, "/accessdecisions", false)
}

fn watches(_: &Method, uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.contains("watch=true"))
}

/// A program, and what it tells on standard error.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    told: String,
}

impl Running {
    async fn start(world: &World, between: &Between, args: &[&str], command: &[&str]) -> Self {
        let args = [args, &ASK, &["--"], command].concat();
        let mut child = world.jit_started_with(&between.kubeconfig, &args).await;
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, told: String::new() }
    }

    async fn says(&mut self, words: &str) {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.told.push_str(&line);
                self.told.push('\n');
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended without {words:?}: {}", self.told);
        };
        let in_time = tokio::time::timeout(SOON, found).await;
        assert!(in_time.is_ok(), "it does not say {words:?}: {}", self.told);
    }

    /// How it ended, and all that it told.
    async fn ended(mut self) -> (Option<i32>, String) {
        let rest = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.told.push_str(&line);
                self.told.push('\n');
            }
        };
        tokio::time::timeout(SOON, rest).await.unwrap();
        let Output { status, .. } = self.child.wait_with_output().await.unwrap();
        (status.code(), self.told)
    }
}

fn name_of(request: AccessRequest) -> String {
    request.metadata.name.unwrap()
}

impl World {
    async fn no_request(&self) {
        let list = self.jit(&self.alice, &["list", "-o", "name"]).await.ok().unwrap();
        assert_eq!(list, "");
    }
}

#[tokio::test]
async fn before_anything_is_asked_for() {
    let world = World::shared("jit-stop-early").await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, asks_for_offers);
    let running = Running::start(&world, &between, &[], &["/bin/true"]).await;
    between.holds(1).await;
    interrupt(&running.child);
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    assert!(told.contains("interrupted; nothing was requested"), "{told}");
    world.no_request().await;
}

/// The request is stored, and nobody says so.
#[tokio::test]
async fn while_the_request_is_being_made() {
    let world = World::shared("jit-stop-made").await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Answer, requests);
    let mut running = Running::start(&world, &between, &BRIEF, &["/bin/true"]).await;
    between.holds(1).await;
    interrupt(&running.child);
    running.says("withdrawn as soon as the API server has answered").await;
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    let name = name_of(world.only_request(&world.alice).await);
    assert!(told.contains(&format!("{name}: withdrawn\n")), "{told}");
    world.phase(&name, RequestPhase::Withdrawn).await;
}

#[tokio::test]
async fn twice_while_the_request_is_being_made() {
    let world = World::shared("jit-stop-twice").await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, requests);
    let mut running = Running::start(&world, &between, &[], &["/bin/true"]).await;
    between.holds(1).await;
    interrupt(&running.child);
    running.says("interrupt once more to leave it to itself").await;
    interrupt(&running.child);
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    assert!(told.contains("may have been made all the same: `kubectl jit end -n"), "{told}");
    world.no_request().await;
}

/// Who is not interrupted goes on with what was made.
#[tokio::test]
async fn an_answer_that_is_lost_keeps_nobody_waiting() {
    let world = World::shared("jit-stop-lost").await;
    world.self_service().await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Answer, requests);
    let running = Running::start(&world, &between, &BRIEF, &["/bin/true"]).await;
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(0), "{told}");
    let name = name_of(world.only_request(&world.alice).await);
    world.phase(&name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

#[rstest]
#[case::the_terminal_is_gone("hup", Signal::SIGHUP, 129)]
#[case::it_is_killed("term", Signal::SIGTERM, 143)]
#[case::it_is_told_to_quit("quit", Signal::SIGQUIT, 131)]
#[tokio::test]
async fn while_it_waits(#[case] name: &str, #[case] signal: Signal, #[case] status: i32) {
    let world = World::shared(&format!("jit-stop-{name}")).await;
    let between = Between::of(&world.alice).await;
    let running = Running::start(&world, &between, &[], &["/bin/true"]).await;
    let name = name_of(world.only_request(&world.alice).await);
    world.waits(&name, "managers").await;
    send(&running.child, signal);
    let (code, told) = running.ended().await;
    assert_eq!(code, Some(status), "{told}");
    world.phase(&name, RequestPhase::Withdrawn).await;
}

/// Access stands, and it has not heard of that yet.
#[tokio::test]
async fn while_access_is_being_given() {
    let world = World::shared("jit-stop-given").await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, watches);
    let running = Running::start(&world, &between, &[], &["/bin/true"]).await;
    let name = name_of(world.only_request(&world.alice).await);
    between.holds(1).await;
    world.approve(&world.bob, &name).await.unwrap();
    world.phase(&name, RequestPhase::Active).await;
    interrupt(&running.child);
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    let ended = world.phase(&name, RequestPhase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::EndedByRequester));
    world.locked_out(&world.alice).await;
}

/// Ctrl-C goes to the command by itself, as a terminal sends it to both.
#[tokio::test]
async fn while_the_command_runs() {
    let world = World::shared("jit-stop-runs").await;
    world.self_service().await;
    let between = Between::of(&world.alice).await;
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let command = format!("touch {}; exec sleep 600", begun.display());
    let running = Running::start(&world, &between, &[], &["/bin/sh", "-c", &command]).await;
    eventually("the command to begin", SOON, async || Ok(begun.exists().then_some(())))
        .await
        .unwrap();
    let group = Pid::from_raw(i32::try_from(running.child.id().unwrap()).unwrap());
    killpg(group, Signal::SIGINT).unwrap();
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    let name = name_of(world.only_request(&world.alice).await);
    world.phase(&name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn while_access_is_being_ended() {
    let world = World::shared("jit-stop-ends").await;
    world.self_service().await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, decides);
    let mut running = Running::start(&world, &between, &BRIEF, &["/bin/true"]).await;
    between.holds(1).await;
    interrupt(&running.child);
    running.says("is not ended yet; interrupt once more to leave it to itself").await;
    // It is asked for again when nothing has answered.
    between.heal();
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    let name = name_of(world.only_request(&world.alice).await);
    assert!(told.contains(&format!("{name}: ended\n")), "{told}");
    world.phase(&name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn twice_while_access_is_being_ended() {
    let world = World::shared("jit-stop-left").await;
    world.self_service().await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, decides);
    let mut running = Running::start(&world, &between, &[], &["/bin/true"]).await;
    between.holds(1).await;
    interrupt(&running.child);
    running.says("interrupt once more to leave it to itself").await;
    interrupt(&running.child);
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(130), "{told}");
    let name = name_of(world.only_request(&world.alice).await);
    let ends_it = format!("`kubectl jit end -n jit-stop-left {name}` ends it at once");
    assert!(told.contains("left to itself: its access ends by itself at "), "{told}");
    assert!(told.contains(&ends_it), "{told}");
    assert_eq!(world.status(&name).await.phase, RequestPhase::Active);
    world.jit(&world.alice, &["end", &name]).await.ok().unwrap();
    world.phase(&name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}

/// What has taken effect is no failure, whether or not that was answered.
#[tokio::test]
async fn an_end_whose_answer_is_lost_is_one() {
    let world = World::shared("jit-stop-over").await;
    world.self_service().await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Answer, decides);
    let running = Running::start(&world, &between, &BRIEF, &["/bin/true"]).await;
    between.holds(1).await;
    between.heal();
    let (status, told) = running.ended().await;
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains(": Ended (EndedByRequester)"), "{told}");
    world.locked_out(&world.alice).await;
}

/// Of several requests it is told which were made, and what ends them.
#[tokio::test]
async fn while_several_are_being_made() {
    let world = World::shared("jit-stop-batch").await;
    let between = Between::of(&world.alice).await;
    between.hold(Held::Call, requests);
    let args = ["request", "--endpoint", "web-1,web-2", "--admin", "--batch", "outage-17"];
    let asking = world.jit_started_with(&between.kubeconfig, &args).await;
    between.holds(1).await;
    interrupt(&asking);
    let stopped = asking.wait_with_output().await.unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    let told = "interrupted; 0 of 2 requests were made, and perhaps one more: `kubectl jit end --batch outage-17` ends all of them";
    assert!(String::from_utf8_lossy(&stopped.stderr).contains(told), "{stopped:?}");
}
