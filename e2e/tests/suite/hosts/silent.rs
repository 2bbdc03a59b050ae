//! What an Endpoint says when no connection speaks for it.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use lapse_crds::{ConditionStatus, Conditions as _};
use lapse_e2e::plane::eventually;
use lapse_engine::endpoint::hash_of_token;
use serde_json::json;

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
    set(now + chrono::TimeDelta::seconds(3)).await.unwrap();
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
