//! The record of what is done on hosts: what the gateway takes of it, and from whom.

use lapse_crds::{Capability, OrderState};
use lapse_e2e::plane::eventually;
use lapse_engine::activity::{Batch, STREAM};
use lapse_wire::{Activity, from_agent, to_agent};
use serde_json::{Value, json};

use super::agent::{Agent, Attached};
use super::{endpoints, held, wish, world};
use crate::world::{SOON, World};

/// A part of the record with these entries.
fn batch(first: u64, entries: &[Value]) -> Batch {
    let lines = entries.iter().zip(first..).map(|(entry, number)| {
        let mut entry = entry.clone();
        entry["sequence"] = number.into();
        entry["at"] = json!("2026-11-21T22:00:00.000000Z");
        format!("{entry}\n")
    });
    let last = first + entries.len() as u64 - 1;
    Batch { series: "a1".into(), first, last, lines: lines.collect() }
}

async fn says(attached: &Attached, by: &Agent, batch: &Batch) {
    let signature = batch.sign(&by.host.uid, by.key.signing()).unwrap().to_vec();
    let Batch { series, first, last, lines } = batch.clone();
    let activity = Activity { series, first, last, lines, signature };
    attached.say(from_agent::Message::Activity(activity)).await;
}

async fn noted(attached: &mut Attached, last: u64) {
    match attached.next().await.unwrap() {
        to_agent::Message::Noted(noted) => assert_eq!(noted.last, last),
        other => panic!("not noted: {other:?}"),
    }
}

/// What the gateway has exported.
fn exported(world: &World) -> Vec<Value> {
    let log = std::fs::read_to_string(&world.lapse.gateways[0].process.spec().log).unwrap();
    let lines = log.lines().filter(|line| line.contains(STREAM));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_host_tells_what_was_done_on_it_once_and_nobody_tells_it_for_the_host() {
    let world = world("hosts-record").await;
    let (agent, mut attached, order) = held(&world, wish("web-1")).await;
    let call = json!({
        "kind": "Command", "user": "al", "uid": 1000, "grant": order.grant, "holder": "alice", "session": "1.2",
        "request": order.spec.request, "program": "/usr/bin/systemctl", "arguments": ["restart", "a\n\u{1b}[2J"],
        "endpoint": "db-1", "ofALaterRelease": true,
    });
    let first = batch(1, &[call, json!({"kind": "Exit", "session": "1.2", "exit": 3})]);
    says(&attached, &agent, &first).await;
    noted(&mut attached, 2).await;
    // Its agent has not heard so, and says it again.
    says(&attached, &agent, &first).await;
    noted(&mut attached, 2).await;
    let lines = exported(&world);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!((&lines[0]["endpoint"], &lines[0]["series"]), (&json!("web-1"), &json!("a1")));
    assert_eq!(lines[0]["ofALaterRelease"], true, "what a newer agent says is kept");

    // By another key, for another host, or not as it was signed.
    let next = batch(3, &[json!({"kind": "Exit", "session": "1.2", "exit": 0})]);
    let mut liar = Agent::new(&world, "web-1", 9).await;
    liar.host.uid.clone_from(&agent.host.uid);
    says(&attached, &liar, &next).await;
    liar = Agent::new(&world, "web-1", 1).await;
    liar.host.uid = "another".into();
    says(&attached, &liar, &next).await;
    says(&attached, &agent, &Batch { first: 4, ..next.clone() }).await;
    attached.says(&agent, &order, OrderState::Active).await;
    says(&attached, &agent, &next).await;
    noted(&mut attached, 3).await;
    assert_eq!(exported(&world).len(), 3);
    let refused = world.lapse.gateways[0]
        .counted("lapse_gateway_record_batches_total", &["outcome=\"refused\""])
        .await
        .unwrap();
    assert!((refused - 3.0).abs() < f64::EPSILON, "{refused}");

    // What was called is shown, without its arguments, which may be secret.
    let look = async || {
        let status = endpoints(&world).get("web-1").await?.status.unwrap_or_default();
        Ok(status.activity.first().filter(|called| called.exit.is_some()).cloned())
    };
    let shown = eventually("it to be shown", SOON, look).await.unwrap();
    assert_eq!((shown.command.as_str(), shown.user.as_str()), ("/usr/bin/systemctl", "al"));
    let jit = async |args: &[&str]| {
        let args: Vec<&str> = ["-n", &world.ns].into_iter().chain(args.iter().copied()).collect();
        world.lapse.plane().jit(&world.admin, &args).await.unwrap().ok().unwrap()
    };
    let told = jit(&["explain", "fix"]).await;
    assert!(
        told.contains("The last commands on web-1") && told.contains("/usr/bin/systemctl"),
        "{told}"
    );
    let log = world.lapse.gateways[0].process.spec().log.display().to_string();
    let report = jit(&["report", "--records", &log, "-o", "json"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report[0]["record"]["programs"], json!(["/usr/bin/systemctl"]), "{report}");
}

/// Gateways of the first release cannot read a report with what later agents can do; so that is said beside it.
#[tokio::test]
async fn what_a_host_can_do_is_said_beside_its_report() {
    let world = world("hosts-capabilities").await;
    super::offer(&world, "web-1").await;
    let mut agent = Agent::new(&world, "web-1", 1).await;
    agent.enrol(super::TOKEN).await.unwrap();
    let beside = ["Admin", "SessionRecord", "OfALaterRelease"];
    let _attached = agent.attach_with(&["Admin"], &beside).await.unwrap();
    let look = async || {
        let status = endpoints(&world).get("web-1").await?.status.unwrap_or_default();
        Ok(status.report.map(|report| report.capabilities))
    };
    let known = eventually("its report", SOON, look).await.unwrap();
    assert_eq!(known, [Capability::Admin, Capability::SessionRecord]);
}
