//! What is over goes when the retention of its policy has passed, and nothing else does.

use kube::Api;
use kube::api::{DeleteParams, ListParams};
use lapse_crds::{AccessDecision, AccessRequest, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::world::{SOON, World};

/// The requests of this corner, how many decisions there are, and the requests of its Grants.
async fn kept(world: &World) -> (Vec<String>, usize, Vec<String>) {
    let all = ListParams::default();
    let requests: Api<AccessRequest> = world.api(&world.admin);
    let requests = requests.list(&all).await.unwrap().items.into_iter();
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    let decisions = decisions.list(&all).await.unwrap().items.len();
    let grants = world.grants().list(&all).await.unwrap().items.into_iter();
    let grants = grants.map(|grant| grant.spec.request).filter(|of| of.namespace == world.ns);
    (
        requests.map(|request| request.metadata.name.unwrap()).collect(),
        decisions,
        grants.map(|of| of.name).collect(),
    )
}

#[tokio::test]
async fn what_is_over_goes_and_what_is_held_stays() {
    let world = World::shared("retention").await;
    for name in ["ended", "dropped", "held"] {
        world.granted(name, json!({})).await;
    }
    world.denied("denied").await;
    world.decide(&world.alice, "ended", json!({"verdict": "End"})).await.unwrap();
    world.phase("ended", RequestPhase::Ended).await;
    // A person deletes the request: the Grant and the decision about it are left.
    let dropped = world.grant("dropped").await.metadata.name.unwrap();
    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("dropped", &DeleteParams::default()).await.unwrap();
    world.ended(&dropped).await;
    let (requests, decisions, grants) = kept(&world).await;
    assert_eq!(requests, ["denied", "ended", "held"]);
    assert_eq!((decisions, grants.len()), (5, 3), "a month is not over yet");

    world.policy(json!({"retention": "5s"})).await;
    world.ask("waiting", json!({})).await;
    let expected = (vec!["held".to_owned(), "waiting".to_owned()], 1, vec!["held".to_owned()]);
    eventually("what is over to go", SOON, async || {
        Ok((kept(&world).await == expected).then_some(()))
    })
    .await
    .unwrap();
    assert!(world.can_write(&world.alice).await, "the right that is held goes on");
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.locked_out(&world.alice).await;
    let expected = (vec!["waiting".to_owned()], 0, vec![]);
    eventually("what has ended since to go", SOON, async || {
        Ok((kept(&world).await == expected).then_some(()))
    })
    .await
    .unwrap();
}

/// Nothing is left that names such a decision; a new holder of the lease looks for them first.
#[tokio::test]
async fn a_decision_goes_whose_request_was_deleted_before_anything_was_given() {
    let world = World::own("retention-orphan", InstallOptions::default()).await;
    world.policy(json!({"retention": "2s"})).await;
    let controller = &world.lapse.controllers[0].process;
    for name in ["gone", "waiting"] {
        world.ask(name, json!({})).await;
    }
    world.phase("waiting", RequestPhase::Pending).await;
    controller.kill();
    for name in ["gone", "waiting"] {
        world.approve(&world.bob, name).await.unwrap();
    }
    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("gone", &DeleteParams::default()).await.unwrap();
    controller.start().unwrap();
    world.phase("waiting", RequestPhase::Active).await;
    eventually("the decision to go", SOON, async || {
        let (requests, decisions, _) = kept(&world).await;
        Ok((requests == ["waiting"] && decisions == 1).then_some(()))
    })
    .await
    .unwrap();
    world.let_in(&world.alice).await;
}
