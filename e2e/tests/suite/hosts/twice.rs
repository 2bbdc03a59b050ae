//! Two machines of one identity, by all that can be told of them: they are told apart by nobody, and told of.

use lapse_crds::{ConditionStatus, Conditions as _, RequestPhase};
use lapse_e2e::plane::eventually;
use tonic::Code;

use super::agent::Attached;
use super::{ADMIN, endpoints, enrolled, wish, world_of};
use crate::world::{SOON, World};

/// Waits until a connection ends, and says how.
async fn ended(mut attached: Attached) -> Code {
    loop {
        if let Err(status) = attached.next().await {
            return status.code();
        }
    }
}

async fn duplicate(world: &World) -> Option<ConditionStatus> {
    let status = endpoints(world).get("web-1").await.unwrap().status.unwrap_or_default();
    status.conditions.condition("Duplicate").map(|duplicate| duplicate.status)
}

/// They connect to one replica, or to two: the gateway is stateless, so that makes no difference.
#[tokio::test]
async fn two_machines_of_one_identity_are_told_and_given_nothing() {
    let world = world_of("hosts-twice", 2).await;
    let (agent, first) = enrolled(&world, "web-1").await;
    let copy = agent.copied(&world, 1);
    let second = copy.attach(&ADMIN).await.unwrap();
    assert_eq!(ended(first).await, Code::Aborted, "one of them is connected");
    assert_eq!(duplicate(&world).await, None, "a host that remembers nothing looks the same");
    let third = agent.attach(&ADMIN).await.unwrap();
    assert_eq!(ended(second).await, Code::Aborted);
    eventually("the Endpoint to say so", SOON, async || {
        Ok((duplicate(&world).await == Some(ConditionStatus::True)).then_some(()))
    })
    .await
    .unwrap();
    let counted = world.lapse.gateways[0].counted("lapse_gateway_duplicate_connections_total", &[]);
    assert!(counted.await.unwrap() >= 1.0);
    let replaced = world.lapse.gateways[0].counted("lapse_gateway_replaced_connections_total", &[]);
    assert!(replaced.await.unwrap() >= 1.0);
    world.ask("fix", wish("web-1")).await;
    let denied = world.phase("fix", RequestPhase::Denied).await;
    let said = serde_json::to_string(&denied).unwrap();
    assert!(said.contains("Two machines have the identity of Endpoint web-1"), "{said}");
    drop(third);
}

/// One host that comes back has no double, whichever replica it comes to.
#[tokio::test]
async fn a_host_that_comes_back_is_one() {
    let world = world_of("hosts-once", 1).await;
    let (agent, first) = enrolled(&world, "web-1").await;
    let second = agent.attach(&ADMIN).await.unwrap();
    assert_eq!(ended(first).await, Code::Aborted);
    eventually("the second connection to be written", SOON, async || {
        let status = endpoints(&world).get("web-1").await?.status.unwrap_or_default();
        let written = status.connection.map(|connection| connection.name);
        Ok((written == agent.connection()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(duplicate(&world).await, None);
    drop(second);
}
