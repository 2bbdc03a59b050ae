//! What is refused is told with what to do, and by the exit status.

use lapse_crds::RequestPhase;
use rstest::rstest;
use serde_json::json;

use super::{assert_refused, created, interrupt};
use crate::world::World;

#[tokio::test]
async fn what_can_never_be_given_says_so_at_once() {
    let world = World::shared("jit-never").await;
    let refused =
        world.jit(&world.alice, &["request", "edti", "--reason", "A typing mistake"]).await;
    assert_refused(&refused, 3, &["no policy offers you ClusterRole edti", "did you mean edit?"]);
    let long = ["request", "edit", "--for", "9h", "--reason", "All night", "--name", "long"];
    let refused = world.jit(&world.alice, &long).await;
    assert_refused(&refused, 3, &["long is denied", "9h"]);
    world.phase("long", RequestPhase::Denied).await;
    let refused = world
        .jit(&world.alice, &["request", "edit", "--for", "9h", "--wait", "--name", "longer"])
        .await;
    assert_refused(&refused, 3, &["longer: Denied", "9h"]);

    let no = world.jit(&world.alice, &["can-i", "edit", "--for", "9h"]).await;
    assert_refused(&no, 3, &["9h"]);
    assert_eq!(no.stdout, "no\n");
    let yes = world.jit(&world.alice, &["can-i", "edit", "--for", "9m"]).await;
    assert_refused(
        &yes,
        0,
        &["JitPolicy jit-never would decide", "wait for 1 of group jit-never-managers"],
    );
    assert_eq!(yes.stdout, "yes\n");
    let stored = world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap();
    assert_eq!(stored.lines().count(), 2, "can-i stores nothing: {stored}");
}

#[tokio::test]
async fn a_name_that_is_wrong_is_told_with_the_nearest() {
    let world = World::shared("jit-nearest").await;
    world.ask("fix-checkout", json!({})).await;
    let refused = world.jit(&world.alice, &["status", "fix-chekcout"]).await;
    assert_refused(
        &refused,
        1,
        &["there is no request fix-chekcout", "did you mean fix-checkout?"],
    );
    let refused = world.jit(&world.bob, &["approve", "elsewhere"]).await;
    assert_refused(&refused, 1, &["there is no request elsewhere", "kubectl jit list"]);
}

#[tokio::test]
async fn a_policy_or_a_namespace_that_is_wrong_is_told_with_the_nearest() {
    let world = World::shared("jit-mistyped").await;
    let args = ["request", "edit", "--policy", "jit-mistpyed", "--reason", "A typing mistake"];
    let refused = world.jit(&world.alice, &args).await;
    let told = "no JitPolicy jit-mistpyed offers you anything; did you mean jit-mistyped?";
    assert_refused(&refused, 3, &[told]);
    // The API server says that there is no such namespace to whoever has rights in all of them.
    let plane = world.lapse.plane();
    for args in [&["request", "edit", "--reason", "A typing mistake"][..], &["policies"]] {
        let args: Vec<&str> = ["-n", "jit-mistpyed"].iter().chain(args).copied().collect();
        let refused = plane.jit(&world.admin, &args).await.unwrap();
        let told = "there is no namespace jit-mistpyed; did you mean jit-mistyped?";
        assert_refused(&refused, 1, &[told]);
    }
}

#[rstest]
#[case::days(&["request", "edit", "--for", "1d"], "invalid value '1d' for '--for <DURATION>'")]
#[case::a_number(&["approve", "fix", "--for", "30"], "invalid value '30' for '--for <DURATION>'")]
#[case::of_waiting(&["request", "edit", "--wait", "--timeout", "soon"], "invalid value 'soon' for '--timeout <DURATION>'")]
#[case::a_start(&["request", "edit", "--at", "tomorrow"], "write a time as 2026-11-21T22:00:00Z")]
#[case::a_period(&["report", "--since", "yesterday"], "write how far back, as 30d or 12h")]
#[tokio::test]
async fn a_time_in_the_wrong_form_is_refused_with_the_right_one(
    #[case] args: &[&str],
    #[case] words: &str,
) {
    let world = World::shared("jit-forms").await;
    let refused = world.jit(&world.alice, args).await;
    assert_refused(&refused, 2, &[words]);
    let stored = world.jit(&world.alice, &["list", "-o", "name"]).await.ok().unwrap();
    assert_eq!(stored, "", "nothing was requested");
}

#[tokio::test]
async fn what_is_over_meanwhile_takes_no_more_decisions() {
    let world = World::shared("jit-over").await;
    world.granted("fix", json!({})).await;
    world.denied("no").await;
    world.jit(&world.alice, &["end", "fix"]).await.ok().unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    let ended = "request fix is already Ended; nothing is left to decide";
    assert_refused(&world.jit(&world.alice, &["end", "fix"]).await, 1, &[ended]);
    assert_refused(&world.jit(&world.bob, &["deny", "fix"]).await, 1, &[ended]);
    assert_refused(&world.jit(&world.bob, &["approve", "fix"]).await, 1, &[ended]);
    let denied = "request no is already Denied; nothing is left to decide";
    let both = world.jit(&world.bob, &["approve", "fix", "no"]).await;
    assert_refused(&both, 1, &[ended, denied, "2 of 2 failed"]);
    // Nobody waits for what can never come.
    let more = world.jit(&world.alice, &["extend", "fix", "--for", "5m", "--wait"]).await;
    assert_refused(&more, 3, &["fix"]);
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn who_may_not_is_told_which_role_to_ask_for() {
    let world = World::shared("jit-forbidden").await;
    let elsewhere = ["-n", "default", "list"];
    let refused = world.lapse.plane().jit(&world.alice, &elsewhere).await.unwrap();
    let role = "ask an administrator to bind you ClusterRole lapse:requester (to request) or lapse:approver (to decide)";
    assert_refused(&refused, 1, &["cannot list", role, "give -n a namespace where you have it"]);
    let refused = world.jit(&world.alice, &["report"]).await;
    assert_refused(&refused, 1, &["cannot list", "ClusterRole lapse:auditor or lapse:reviewer"]);
    let outside = ["list", "-A"];
    let refused = world.jit(&world.alice, &outside).await;
    assert_refused(&refused, 1, &["cannot list", "lapse:requester", "or leave out -A"]);
    let refused = world.jit(&world.alice, &["approve", "-A", "--all"]).await;
    assert_refused(&refused, 1, &["cannot list", "lapse:approver", "in the whole cluster"]);
    let refused =
        world.jit(&world.mallory, &["request", "edit", "--reason", "I would like to"]).await;
    assert_refused(&refused, 3, &["no policy offers you ClusterRole edit"]);
    world.ask("fix", json!({})).await;
    world.waits("fix", "managers").await;
    let refused = world.jit(&world.mallory, &["approve", "fix"]).await;
    assert_refused(&refused, 1, &["deciding about request jit-forbidden/fix"]);
    let refused = world.jit(&world.alice, &["approve", "fix"]).await;
    assert_refused(&refused, 1, &["deciding about request jit-forbidden/fix"]);
    assert!(!refused.stderr.contains("admission webhook"), "{refused:?}");
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending);
}

#[rstest]
#[case::no_file(&["--kubeconfig", "/nonexistent/config", "list"], "no cluster to talk to")]
#[case::no_context(&["--context", "elsewhere", "list"], "elsewhere")]
#[tokio::test]
async fn without_a_cluster_it_says_what_is_wrong(#[case] args: &[&str], #[case] words: &str) {
    let world = World::shared("jit-nowhere").await;
    assert_refused(&world.jit(&world.alice, args).await, 1, &[words]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_once() {
    let world = World::shared("jit-unreached").await;
    // Nobody listens there any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": format!("https://{nobody}")}}],
        "users": [{"name": "gone", "user": {"token": "none"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let file = file.display().to_string();
    for args in [&["list"][..], &["doctor"], &["run", "edit", "--", "/bin/true"]] {
        let args: Vec<&str> = ["--kubeconfig", &file].iter().chain(args).copied().collect();
        let refused = world.jit(&world.alice, &args).await;
        let told = format!("cannot reach the API server at https://{nobody}: ");
        assert_refused(&refused, 1, &[&told, "refused"]);
        assert_eq!(refused.stderr.matches("refused").count(), 1, "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_known_is_refused() {
    let world = World::shared("jit-host").await;
    let refused =
        world.jit(&world.alice, &["request", "--endpoint", "nowhere", "--admin", "--wait"]).await;
    assert_refused(&refused, 3, &["nowhere"]);
}

#[tokio::test]
async fn who_stops_waiting_leaves_a_whole_request() {
    let world = World::shared("jit-waiting").await;
    let args = [
        "request",
        "edit",
        "--reason",
        "It can wait",
        "--wait",
        "--timeout",
        "1s",
        "--name",
        "slow",
    ];
    let late = world.jit(&world.alice, &args).await;
    let told = "no access yet; request slow still waits: `kubectl jit status slow` shows it, `kubectl jit end slow` withdraws it";
    assert_refused(&late, 4, &[told]);

    let args = ["request", "edit", "--reason", "It can wait", "--wait", "--name", "stopped"];
    let waiting = world.jit_started(&world.alice, &args).await;
    world.waits_once_made("stopped").await;
    interrupt(&waiting);
    let stopped = waiting.wait_with_output().await.unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    let told = String::from_utf8_lossy(&stopped.stderr);
    assert!(told.contains("request stopped still waits"), "{told}");
    world.approve(&world.bob, "stopped").await.unwrap();
    world.phase("stopped", RequestPhase::Active).await;
}

#[tokio::test]
async fn a_request_of_the_same_name_made_anew_is_not_approved() {
    let world = World::shared("jit-anew").await;
    let first = created(
        &world.jit(&world.alice, &["request", "edit", "--reason", "First", "--name", "same"]).await,
    );
    world.waits(&first, "managers").await;
    let shown = world
        .jit(&world.bob, &["approve", "same", "--dry-run", "client", "-o", "json"])
        .await
        .ok()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    world
        .lapse
        .plane()
        .kubectl(&world.alice, &["-n", &world.ns, "delete", "areq", "same"])
        .await
        .unwrap()
        .ok()
        .unwrap();
    world.ask("same", json!({})).await;
    let refused = world.decide(&world.bob, "same", shown["spec"].clone()).await.unwrap_err();
    assert!(format!("{refused:#}").contains("UID"), "{refused:#}");
}
