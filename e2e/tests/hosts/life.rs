//! A right of each kind, from the wish to the end.

use kube::api::DeleteParams;
use lapse_crds::{ConditionStatus, EndReason, RequestPhase};
use lapse_e2e::host::Release;
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::SHORT;
use crate::site::Site;

fn admin() -> Value {
    json!({"admin": {}})
}

fn group() -> Value {
    json!({"group": "ops"})
}

/// What ignores every signal that can be ignored, in sessions of its own, as root.
const STUBBORN: &str = "sudo -n bash -c 'trap \"\" TERM HUP INT; (trap \"\" TERM HUP INT; setsid sleep 301 &) ; \
                        nohup sleep 302 >/dev/null 2>&1 & exec sleep 303' >/dev/null 2>&1 &";

#[rstest]
#[case::debian_12(Release::Debian12)]
#[case::debian_13(Release::Debian13)]
#[tokio::test]
async fn somebody_is_root_for_a_time_and_not_longer(#[case] release: Release) {
    let site = Site::of(&format!("life-{release:?}").to_lowercase(), release).await;
    assert!(!site.sudo("id -u").await, "nobody gave it yet");
    let (grant, end) = site.given("fix", &admin(), SHORT).await;
    assert!(site.sudo("id -u").await, "{}", site.journal().await);
    assert!(site.sudo("-i true").await);
    let bob = site.host.as_user("bob", "sudo -n id -u").await.unwrap();
    assert_ne!(bob.status, 0, "it is alice's alone");
    site.host.as_user("alice", STUBBORN).await.unwrap();
    let running = async || site.host.sh("pgrep -c -f '^sleep 30[123]' || true").await;
    eventually("all to run", SOON, async || Ok((running().await?.trim() == "3").then_some(())))
        .await
        .unwrap();
    until(end).await;
    eventually("all to be dead", SOON, async || Ok((running().await?.trim() == "0").then_some(())))
        .await
        .unwrap();
    println!("all are dead {} after the end", lapse_cluster::clock::now() - end);
    assert!(!site.sudo("id -u").await);
    let over = site.ended(&grant).await.status.unwrap();
    assert_eq!(over.end_reason, Some(EndReason::Expired));
    site.phase("fix", RequestPhase::Ended).await;
    site.assert_clean().await;
    // And again, as nothing of the first is in the way.
    site.given("again", &admin(), "10m").await;
    assert!(site.sudo("true").await);
}

#[tokio::test]
async fn somebody_runs_exactly_what_was_approved() {
    let site = Site::new("life-commands").await;
    let commands = json!({"commands": [
        {"path": "/usr/bin/id", "args": ["-u"]},
        {"path": "/usr/bin/head", "argsPattern": "^-n [0-9]+ /etc/shadow$"},
    ]});
    site.given("fix", &commands, "10m").await;
    assert!(site.sudo("id -u").await, "{}", site.journal().await);
    assert!(site.sudo("/usr/bin/head -n 1 /etc/shadow").await);
    for other in [
        "id",
        "id -u -n",
        "id -g",
        "head -n 1 /etc/gshadow",
        "head -n 1 /etc/shadow /etc/gshadow",
        "bash",
        "-i",
        "-e /etc/shadow",
    ] {
        assert!(!site.sudo(other).await, "{other}");
    }
}

#[tokio::test]
async fn somebody_is_in_a_group_for_a_time() {
    let site = Site::new("life-group").await;
    site.host
        .sh("install -m 640 -g ops /dev/null /srv/book; echo secret > /srv/book")
        .await
        .unwrap();
    let reads = async || site.host.as_user("alice", "cat /srv/book").await.unwrap().status == 0;
    assert!(!reads().await);
    let (grant, end) = site.given("fix", &group(), SHORT).await;
    assert!(reads().await, "{}", site.journal().await);
    // A shell that was opened meanwhile keeps the group, whatever the files say.
    let shell = site.host.spawn(&["su", "--login", "alice", "--command", "sleep 300"]).unwrap();
    until(end).await;
    eventually("the shell to be gone", SOON, async || Ok(shell.exit())).await.unwrap();
    site.ended(&grant).await;
    assert!(!reads().await);
    site.assert_clean().await;
}

#[rstest]
#[case::admin("end-admin", admin())]
#[case::group("end-group", group())]
#[tokio::test]
async fn a_right_ends_when_somebody_ends_it(#[case] name: &str, #[case] what: Value) {
    let site = Site::new(name).await;
    let gone = async |grant: &str| {
        site.ended(grant).await;
        site.assert_clean().await;
        assert!(!site.sudo("true").await);
    };
    let (grant, _) = site.given("by-alice", &what, "10m").await;
    site.decide(&site.alice, "by-alice", "End").await.unwrap();
    gone(&grant).await;

    let (grant, _) = site.given("by-bob", &what, "10m").await;
    site.decide(&site.bob, "by-bob", "Deny").await.unwrap();
    gone(&grant).await;

    let (grant, _) = site.given("by-deletion", &what, "10m").await;
    site.requests(&site.admin).delete("by-deletion", &DeleteParams::default()).await.unwrap();
    gone(&grant).await;

    // An administrator of the host takes it away.
    let (grant, _) = site.given("by-root", &what, "10m").await;
    site.host.sh("rm -f /etc/sudoers.d/lapse-*; gpasswd -d alice ops || true").await.unwrap();
    gone(&grant).await;

    let (grant, _) = site.given("by-endpoint", &what, "10m").await;
    site.endpoints().delete(&site.name, &DeleteParams::default()).await.unwrap();
    gone(&grant).await;
    eventually("the Endpoint to go", SOON, async || {
        Ok(site.endpoints().get_opt(&site.name).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rights_that_overlap_take_nothing_from_one_another() {
    let site = Site::new("life-overlap").await;
    let (short, _) = site.given("short", &group(), "10m").await;
    let (long, _) = site.given("long", &group(), "10m").await;
    let members = async || site.host.sh("getent group ops").await.unwrap();
    site.decide(&site.alice, "short", "End").await.unwrap();
    site.ended(&short).await;
    assert!(members().await.contains("alice"), "{}", site.journal().await);
    site.decide(&site.alice, "long", "End").await.unwrap();
    site.ended(&long).await;
    assert!(!members().await.contains("alice"));

    // Who was a member before stays one.
    site.host.sh("gpasswd -a alice ops").await.unwrap();
    let (grant, _) = site.given("member", &group(), "10m").await;
    site.decide(&site.alice, "member", "End").await.unwrap();
    site.ended(&grant).await;
    assert!(members().await.contains("alice"));
}

#[tokio::test]
async fn what_a_host_cannot_do_is_said_on_the_request() {
    let site = Site::new("life-cannot").await;
    let failed = async |request: &str, what: Value, words: &str| {
        site.ask(request, &what, "10m").await;
        site.decide(&site.bob, request, "Approve").await.unwrap();
        let status = site.phase(request, RequestPhase::Failed).await;
        let said = serde_json::to_string(&status).unwrap();
        assert!(said.contains(words), "expected {words:?} in {said}");
        site.assert_clean().await;
    };
    failed("group", json!({"group": "nowhere"}), "there is no local group nowhere").await;
    let tool = json!({"commands": [{"path": "/home/alice/tool"}]});
    let missing = json!({"commands": [{"path": "/usr/bin/nothing-here"}]});
    failed("missing", missing, "there is no such program").await;
    site.host.sh("install -o alice /bin/true /home/alice/tool").await.unwrap();
    failed("open", tool, "belongs to the user ID 1000").await;
    site.endpoint("nobody-here").await;
    failed("user", admin(), "there is no local user nobody-here").await;
    site.ready(ConditionStatus::True).await;
}

/// What alice has open goes, what the host runs as her does not, and she may come back.
#[tokio::test]
async fn somebody_is_logged_off_at_the_end_where_the_policy_says_so() {
    let site = Site::new("log-off").await;
    let offer = json!({"names": [site.name], "groups": ["ops"]});
    let session = json!({"onEnd": {"localSessions": "LogOff"}});
    site.policy_named("log-off-at-the-end", offer, session).await;
    let service = "systemd-run --quiet --unit of-alice --uid alice sleep 405";
    site.host.sh(service).await.unwrap();
    let shell = site.host.spawn(&["su", "--login", "alice", "--command", "sleep 401"]).unwrap();
    let opened = "trap '' TERM HUP; (setsid sleep 402 &); echo sleep 403 | at now 2>/dev/null";
    site.host.as_user("alice", opened).await.unwrap();
    let bobs = site.host.spawn(&["su", "--login", "bob", "--command", "sleep 404"]).unwrap();
    let running = async || {
        let all = "for n in 401 402 403 404 405; do pgrep -fx \"(/usr/bin/)?sleep $n\" >/dev/null && echo $n; done; true";
        anyhow::Ok(site.host.sh(all).await?.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let all = async || Ok((running().await? == "401 402 403 404 405").then_some(()));
    eventually("all to run", SOON, all).await.unwrap();

    site.ask_by("log-off-at-the-end", "fix", &group(), "1h").await;
    site.decide(&site.bob, "fix", "Approve").await.unwrap();
    let grant = site.phase("fix", RequestPhase::Active).await.grant.unwrap().name;
    assert_eq!(running().await.unwrap(), "401 402 403 404 405", "while it lasts");
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    assert_eq!(running().await.unwrap(), "404 405", "{}", site.journal().await);
    eventually("the shell to be gone", SOON, async || Ok(shell.exit())).await.unwrap();
    assert!(bobs.exit().is_none());
    let again = site.host.as_user("alice", "sleep 0.3; id -un").await.unwrap();
    assert_eq!(again.stdout.trim(), "alice", "she comes back");
    site.assert_clean().await;

    // By the policy that does not say so she stays.
    site.host.as_user("alice", "(setsid sleep 402 &)").await.unwrap();
    let (grant, _) = site.given("other", &admin(), "1h").await;
    site.decide(&site.alice, "other", "End").await.unwrap();
    site.ended(&grant).await;
    assert_eq!(running().await.unwrap(), "402 404 405");
}
