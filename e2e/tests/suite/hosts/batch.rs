//! Several hosts at once, by the command line: a request for each, and their end in one action.

use lapse_crds::{OrderState, RequestPhase};
use lapse_e2e::plane::eventually;
use lapse_wire::to_agent;
use serde_json::json;

use super::agent::Attached;
use super::{enrolled, world};
use crate::rbac;
use crate::world::SOON;

/// Waits until the host is told to end something.
async fn told_to_end(attached: &mut Attached) {
    match attached.next().await.unwrap() {
        to_agent::Message::End(_) => {}
        other => panic!("no end: {other:?}"),
    }
}

#[tokio::test]
async fn several_hosts_are_asked_for_and_ended_together() {
    let world = world("hosts-batch").await;
    let (one, mut first) = enrolled(&world, "web-1").await;
    let (two, mut second) = enrolled(&world, "web-2").await;
    let offered = json!({"selector": {"matchLabels": {"role": "web"}}, "admin": {}});
    let limits = json!({"openRequestsPerUser": 5, "activeGrantsPerUser": 5});
    world.policy(json!({"targets": [{"endpoint": offered}], "limits": limits})).await;
    let jit = async |line: &str| {
        let args: Vec<&str> = ["-n", "hosts-batch"].into_iter().chain(line.split(' ')).collect();
        world.lapse.plane().jit(&world.alice, &args).await.unwrap()
    };
    let one_host = jit("can-i --endpoint web-1,web-2 --admin").await;
    assert_eq!(one_host.status, 2, "{one_host:?}");
    // Which hosts there are is for those alone who may see them.
    let by_labels = "request --endpoint-selector role=db --admin --reason Maintenance-of-hosts";
    let refused = jit(by_labels).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("ClusterRole lapse-endpoint-viewer"), "{refused:?}");
    let developers = rbac::group("hosts-batch-developers");
    world.bind_everywhere("hosts-batch-find", "lapse-endpoint-viewer", &developers).await;
    let none = eventually("the binding to be known", SOON, async || {
        let told = jit(by_labels).await;
        Ok((!told.stderr.contains("is forbidden")).then_some(told))
    });
    let none = none.await.unwrap();
    assert!(none.stderr.contains("no Endpoint has the labels role=db"), "{none:?}");

    let line = "request --endpoint-selector role=web --admin --for 10m --reason Maintenance-of-hosts --name fix --batch outage";
    let asked = jit(line).await;
    assert!(asked.success(), "{asked:?}");
    for part in ["fix-web-1 created", "fix-web-2 created"] {
        assert!(asked.stdout.contains(part), "{asked:?}");
    }
    assert!(asked.stderr.contains("`kubectl jit end --batch outage` ends all of it"), "{asked:?}");
    let mut orders = Vec::new();
    for (name, agent, attached) in
        [("fix-web-1", &one, &mut first), ("fix-web-2", &two, &mut second)]
    {
        world.approve(&world.bob, name).await.unwrap();
        let order = agent.judge(&attached.order().await);
        attached.says(agent, &order, OrderState::Active).await;
        world.phase(name, RequestPhase::Active).await;
        orders.push(order);
    }

    let ending = jit("end --batch outage --timeout 20s");
    let hosts = async {
        told_to_end(&mut first).await;
        told_to_end(&mut second).await;
        first.says(&one, &orders[0], OrderState::Ended).await;
    };
    let (ended, ()) = tokio::join!(ending, hosts);
    assert_eq!(ended.status, 1, "{ended:?}");
    for part in [
        "1 of 2 are gone",
        "fix-web-2",
        "has not confirmed yet that access is gone",
        "the access of 1 of 2 is not gone yet",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    second.says(&two, &orders[1], OrderState::Ended).await;
    world.phase("fix-web-2", RequestPhase::Ended).await;
    let nothing = jit("end --batch outage").await;
    assert!(nothing.success(), "{nothing:?}");
    assert!(nothing.stderr.contains("is open or active"), "{nothing:?}");
}
