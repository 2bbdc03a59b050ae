//! Ends without the agent, without a network, without power.

use std::time::{Duration, Instant};

use lapse_crds::{ConditionStatus, RequestPhase};
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

/// Waits until alice can do nothing any more, and says how long that took from the end on.
async fn refused(site: &Site, what: &str, end: chrono::DateTime<chrono::Utc>) {
    until(end).await;
    let holds = async || match what {
        "group" => site.host.sh("getent group ops").await.unwrap().contains("alice"),
        _ => site.sudo("true").await,
    };
    eventually("the right to be gone", SOON, async || Ok((!holds().await).then_some(())))
        .await
        .unwrap();
    println!("{what} is gone {} after the end", lapse_cluster::clock::now() - end);
}

const SLEEPER: &str =
    "sudo -n bash -c 'trap \"\" TERM HUP; (setsid sleep 301 &); exec sleep 302' >/dev/null 2>&1 &";

async fn sleeps(site: &Site) -> bool {
    site.host.sh("pgrep -f '^sleep 30[12]' || true").await.unwrap() != ""
}

#[rstest]
#[case::admin("alone-admin", "admin", admin())]
#[case::group("alone-group", "group", group())]
#[tokio::test]
async fn a_right_ends_with_the_agent_dead(
    #[case] name: &str,
    #[case] kind: &str,
    #[case] what: Value,
) {
    let site = Site::new(name).await;
    let (grant, end) = site.given("fix", &what, SHORT).await;
    site.host.as_user("alice", SLEEPER).await.unwrap();
    site.host
        .sh("systemctl mask --now lapse-agent; pkill -9 -x lapse-agent || true")
        .await
        .unwrap();
    refused(&site, kind, end).await;
    eventually("all to be dead", SOON, async || Ok((!sleeps(&site).await).then_some(())))
        .await
        .unwrap();
    site.assert_clean().await;
    // Nobody can say so until it is back.
    let waiting = site.grants().get(&grant).await.unwrap().status.unwrap();
    assert_ne!(waiting.phase, lapse_crds::GrantPhase::Ended);
    site.host.sh("systemctl unmask lapse-agent; systemctl start lapse-agent").await.unwrap();
    site.ended(&grant).await;
}

/// Each of what ends a right, with the others taken away.
#[rstest]
#[case::the_rule_itself(
    "end-rule",
    "systemctl mask --now lapse-agent; systemctl stop 'lapse-end-*.timer' 'lapse-after-*.timer'"
)]
#[case::the_calendar(
    "end-calendar",
    "systemctl mask --now lapse-agent; systemctl stop 'lapse-after-*.timer'"
)]
#[case::the_counting_timer(
    "end-counting",
    "systemctl mask --now lapse-agent; systemctl stop 'lapse-end-*.timer'"
)]
#[case::the_agent("end-agent", "systemctl stop 'lapse-end-*.timer' 'lapse-after-*.timer'")]
#[tokio::test]
async fn each_end_is_enough_alone(#[case] name: &str, #[case] taken: &str) {
    let site = Site::new(name).await;
    let (_, end) = site.given("fix", &admin(), SHORT).await;
    site.host.as_user("alice", SLEEPER).await.unwrap();
    eventually("it to run", SOON, async || Ok(sleeps(&site).await.then_some(()))).await.unwrap();
    // What NOTAFTER ends has no part in this, but where it is looked at.
    if name != "end-rule" {
        site.host.sh("sed -i 's/NOTAFTER=[0-9Z]* //' /etc/sudoers.d/lapse-*").await.unwrap();
    }
    site.host.sh(taken).await.unwrap();
    refused(&site, "sudo", end).await;
    // What runs is ended by systemd, whoever else lives.
    eventually("all to be dead", SOON, async || Ok((!sleeps(&site).await).then_some(())))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_that_is_cut_off_ends_rights_and_says_so_later() {
    let mut site = Site::new("alone-cut").await;
    let (grant, end) = site.given("fix", &admin(), SHORT).await;
    site.host.cut().unwrap();
    let cut = Instant::now();
    // By a connection that is tried, long before TCP gives it up.
    site.ready(ConditionStatus::False).await;
    println!("missed {:?} after it was cut off", cut.elapsed());
    assert!(cut.elapsed() < Duration::from_mins(1), "{:?}", cut.elapsed());
    refused(&site, "sudo", end).await;
    site.assert_clean().await;
    let waiting = site.grants().get(&grant).await.unwrap().status.unwrap();
    assert_ne!(waiting.phase, lapse_crds::GrantPhase::Ended, "nobody has said so");
    site.host.join().unwrap();
    site.ended(&grant).await;
    site.phase("fix", RequestPhase::Ended).await;
    site.ready(ConditionStatus::True).await;
}

#[rstest]
#[case::admin("power-admin", "sudo", admin())]
#[case::group("power-group", "group", group())]
#[tokio::test]
async fn the_power_goes_across_the_end(
    #[case] name: &str,
    #[case] kind: &str,
    #[case] what: Value,
) {
    let mut site = Site::new(name).await;
    let (grant, end) = site.given("fix", &what, SHORT).await;
    site.host.crash().unwrap();
    until(end).await;
    site.host.boot().await.unwrap();
    refused(&site, kind, end).await;
    site.ended(&grant).await;
    site.assert_clean().await;
}

#[tokio::test]
async fn a_right_goes_on_after_a_restart_within_its_time_and_then_ends() {
    let mut site = Site::new("power-within").await;
    let (grant, end) = site.given("fix", &admin(), "1m").await;
    site.host.crash().unwrap();
    site.host.boot().await.unwrap();
    assert!(site.sudo("true").await, "{}", site.journal().await);
    site.host.as_user("alice", SLEEPER).await.unwrap();
    site.host.sh("systemctl mask --now lapse-agent").await.unwrap();
    refused(&site, "sudo", end).await;
    eventually("all to be dead", SOON, async || Ok((!sleeps(&site).await).then_some(())))
        .await
        .unwrap();
    site.host.sh("systemctl unmask lapse-agent; systemctl start lapse-agent").await.unwrap();
    site.ended(&grant).await;
    site.assert_clean().await;
}

/// The agent is killed again and again while rights come and go.
#[tokio::test]
async fn an_agent_that_is_killed_at_any_moment_loses_nothing() {
    let site = Site::new("alone-killed").await;
    let script = "for i in $(seq 60); do pkill -9 -x lapse-agent; sleep 0.$((RANDOM % 5))$((RANDOM % 10)); done";
    let killer = site.host.spawn(&["bash", "-c", script]).unwrap();
    let mut grants = Vec::new();
    for (number, what) in [admin(), group(), admin(), group()].into_iter().enumerate() {
        let request = format!("fix-{number}");
        site.ask(&request, &what, "5s").await;
        site.decide(&site.bob, &request, "Approve").await.unwrap();
        grants.push(request);
    }
    killer.wait().await.unwrap();
    for request in grants {
        // Given and over, or its time was up before the agent lived long enough.
        eventually("the request to be over", SOON, async || {
            let phase =
                site.requests(&site.admin).get(&request).await?.status.unwrap_or_default().phase;
            Ok(matches!(phase, RequestPhase::Ended | RequestPhase::Failed).then_some(()))
        })
        .await
        .unwrap();
    }
    site.assert_clean().await;
}
