//! What an Endpoint says when no connection speaks for it.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_crds::{ConditionStatus, Conditions as _, Endpoint};
use lapse_e2e::plane::eventually;
use lapse_engine::endpoint::hash_of_token;
use serde_json::{Value, json};

use super::agent::Agent;
use super::{ADMIN, TOKEN, endpoints, enrolled, offer, ready, world, world_of};
use crate::world::{SOON, World, refused};

/// Waits for the reason of its condition `Ready`.
async fn reason(world: &World, expected: (ConditionStatus, &str)) {
    eventually(&format!("web-1 to be Ready={expected:?}"), SOON, async || {
        let status = endpoints(world).get("web-1").await?.status.unwrap_or_default();
        let ready = status.conditions.condition("Ready");
        Ok(ready.filter(|is| (is.status, is.reason.as_str()) == expected).map(drop))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_endpoint_says_what_it_waits_for() {
    let world = world("hosts-waits").await;
    offer(&world, "web-1").await;
    reason(&world, (ConditionStatus::False, "NotEnrolled")).await;
    let told = world.lapse.plane().jit(&world.admin, &["doctor"]).await.unwrap().stdout;
    for words in [
        "Endpoint web-1 is not ready (NotEnrolled)",
        "→ no agent has enrolled: run `lapse-agent enrol` on the host",
        "Service lapse-gateway",
        "the authority of the gateway is valid until",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }

    // A token that is over is none, and one that lapses is said to have.
    let set = async |expires_at: chrono::DateTime<chrono::Utc>| {
        let enrolment = json!({"tokenHash": hash_of_token("new"), "expiresAt": expires_at});
        let patch = Patch::Merge(json!({"spec": {"enrolment": enrolment}}));
        endpoints(&world).patch("web-1", &PatchParams::default(), &patch).await
    };
    let now = lapse_cluster::clock::now();
    let over = set(now - chrono::TimeDelta::minutes(1)).await;
    refused(over.map_err(Into::into), "is in the past, so nobody could enrol with this token");
    let soon = lapse_cluster::clock::now() + chrono::TimeDelta::seconds(10);
    set(soon).await.unwrap();
    reason(&world, (ConditionStatus::False, "TokenExpired")).await;
    // What is not about the token may change all the same.
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"role": "web", "floor": "2"}}}));
    endpoints(&world).patch("web-1", &PatchParams::default(), &labelled).await.unwrap();

    offer(&world, "web-1").await;
    let mut agent = Agent::new(&world, "web-1", 1).await;
    agent.enrol(TOKEN).await.unwrap();
    reason(&world, (ConditionStatus::False, "NotConnected")).await;
    let _attached = agent.attach(&ADMIN).await.unwrap();
    reason(&world, (ConditionStatus::True, "Connected")).await;
}

/// A gateway dies while its hosts are cut off, so nobody is there to write that they have gone.
#[tokio::test]
async fn the_hosts_of_a_dead_gateway_are_missed_and_those_of_a_living_one_are_not() {
    let world = world_of("hosts-missed", 2).await;
    let (lost, attached) = enrolled(&world, "web-1").await;
    offer(&world, "web-2").await;
    let mut other = Agent::new(&world, "web-2", 2).await;
    other.enrol(TOKEN).await.unwrap();
    let other = other.copied(&world, 1);
    let _others = other.attach(&ADMIN).await.unwrap();
    ready(&world, "web-2", ConditionStatus::True).await;

    let began = Instant::now();
    world.lapse.gateways[0].process.kill();
    drop(attached);
    reason(&world, (ConditionStatus::Unknown, "GatewayLost")).await;
    let took = began.elapsed();
    println!("missed after {took:?}");
    assert!(took < Duration::from_secs(90), "{took:?}");
    ready(&world, "web-2", ConditionStatus::True).await;
    // It comes back, to the one that lives.
    let _attached = lost.copied(&world, 1).attach(&ADMIN).await.unwrap();
    reason(&world, (ConditionStatus::True, "Connected")).await;
}

/// The only gateway dies. One that comes back takes over from there.
#[tokio::test]
async fn while_no_gateway_runs_the_controller_says_so() {
    let world = world("hosts-nobody").await;
    let (agent, attached) = enrolled(&world, "web-1").await;
    let gateway = &world.lapse.gateways[0].process;
    let began = Instant::now();
    gateway.kill();
    drop(attached);
    reason(&world, (ConditionStatus::Unknown, "NoGateway")).await;
    println!("said after {:?}", began.elapsed());
    let said = endpoints(&world).get("web-1").await.unwrap();
    let told = world.lapse.plane().jit(&world.admin, &["doctor"]).await.unwrap().stdout;
    assert!(told.contains("Endpoint web-1 is not ready (NoGateway)"), "{told}");

    // One that comes back says what it knows itself: first that the host has not come back.
    gateway.start().unwrap();
    reason(&world, (ConditionStatus::Unknown, "GatewayLost")).await;
    let lost = endpoints(&world).get("web-1").await.unwrap();
    assert_eq!(lost.status.unwrap().connection, said.status.unwrap().connection);
    let _attached = agent.attach(&ADMIN).await.unwrap();
    reason(&world, (ConditionStatus::True, "Connected")).await;
}

/// Whoever has the token of the controller makes nobody believe more than that; and a gateway that runs knows better.
#[tokio::test]
async fn the_controller_says_of_a_host_that_no_gateway_runs_and_nothing_else() {
    let world = world("hosts-only-that").await;
    let (_agent, _attached) = enrolled(&world, "web-1").await;
    let controller = world.lapse.plane().service_account("lapse-system", "lapse-controller").await;
    let as_controller: Api<Endpoint> = Api::all(controller.unwrap().client.clone());
    let says = async |of: &str, status: &str, reason: &str, more: Value| {
        let known = endpoints(&world).get("web-1").await.unwrap().status.unwrap();
        let mut conditions = serde_json::to_value(known.conditions).unwrap();
        let conditions = conditions.as_array_mut().unwrap();
        conditions.retain(|condition| condition["type"] != of);
        conditions.push(json!({"type": of, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}));
        let mut patch = json!({"conditions": conditions});
        patch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let patch = Patch::Merge(json!({"status": patch}));
        as_controller.patch_status("web-1", &PatchParams::default(), &patch).await
    };
    let nothing = || json!({});
    for (of, status, why, more) in [
        ("Ready", "False", "NoGateway", nothing()),
        ("Ready", "Unknown", "GatewayLost", nothing()),
        ("Duplicate", "True", "TwoMachines", nothing()),
        ("Ready", "Unknown", "NoGateway", json!({"lastContact": "2026-01-01T00:00:00Z"})),
        ("Ready", "Unknown", "NoGateway", json!({"report": null})),
        ("Ready", "Unknown", "NoGateway", json!({"connection": null})),
    ] {
        let said = says(of, status, why, more).await;
        refused(said.map_err(Into::into), "by the gateway of Lapse alone");
    }
    says("Ready", "Unknown", "NoGateway", nothing()).await.unwrap();
    reason(&world, (ConditionStatus::True, "Connected")).await;
}
