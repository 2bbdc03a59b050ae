//! Somebody has the key of an agent, from a copy of its disk: it is worth that host, and until the host enrols again.

use kube::api::{Patch, PatchParams};
use lapse_crds::{GrantPhase, OrderState, RequestPhase};
use lapse_engine::endpoint::hash_of_token;
use serde_json::json;
use tonic::Code;

use super::agent::Agent;
use super::{ADMIN, TOKEN, endpoints, grant_phase, offer, wish, world};

/// A token that nobody used yet.
const ANOTHER: &str = "77b1-another-token-that-nobody-has-used";

#[tokio::test]
async fn the_key_of_an_agent_is_worth_its_own_host_until_it_enrols_again() {
    let world = world("hosts-key").await;
    let mut agents = Vec::new();
    for (name, seed) in [("web-1", 1), ("web-2", 2)] {
        offer(&world, name).await;
        let mut agent = Agent::new(&world, name, seed).await;
        agent.enrol(TOKEN).await.unwrap();
        agents.push(agent);
    }
    let [stolen, other] = agents.try_into().unwrap_or_else(|_| unreachable!("there are two"));
    let mut others = other.attach(&ADMIN).await.unwrap();
    let mut thief = stolen.attach(&ADMIN).await.unwrap();

    world.ask("elsewhere", wish("web-2")).await;
    world.approve(&world.bob, "elsewhere").await.unwrap();
    let elsewhere = other.judge(&others.order().await);
    world.ask("here", wish("web-1")).await;
    world.approve(&world.bob, "here").await.unwrap();
    // The first order that the thief hears of is that of the host whose key they have.
    let here = stolen.judge(&thief.order().await);
    assert_eq!(here.target.name, "web-1");

    // What they say of another host is not believed, whichever host they say it for.
    for (number, uid) in [&stolen.host.uid, &other.host.uid].into_iter().enumerate() {
        let mut liar = Agent::new(&world, "web-1", 1).await;
        liar.host.uid.clone_from(uid);
        let sequence = 100 + i64::try_from(number).unwrap();
        let request = &elsewhere.spec.request.uid;
        thief.send(liar.receipt(&elsewhere.grant, request, OrderState::Active, sequence)).await;
    }
    // It is heard after the lies, and counts.
    thief.send(stolen.receipt(&here.grant, &here.spec.request.uid, OrderState::Active, 200)).await;
    world.phase("here", RequestPhase::Active).await;
    let pending = world.grants().get(&elsewhere.grant).await.unwrap().status.unwrap_or_default();
    assert_eq!(pending.phase, GrantPhase::Pending, "its own agent has not said so");
    others.says(&other, &elsewhere, OrderState::Active).await;
    world.phase("elsewhere", RequestPhase::Active).await;

    // The host enrols again, with a token of its owners and a key of its own.
    let enrolment =
        json!({"tokenHash": hash_of_token(ANOTHER), "expiresAt": "2036-01-01T00:00:00Z"});
    let patch = Patch::Merge(json!({"spec": {"enrolment": enrolment}}));
    endpoints(&world).patch("web-1", &PatchParams::default(), &patch).await.unwrap();
    let mut rightful = Agent::new(&world, "web-1", 3).await;
    rightful.enrol(ANOTHER).await.unwrap();
    let hung_up = loop {
        if let Err(status) = thief.next().await {
            break status;
        }
    };
    assert_eq!(hung_up.code(), Code::Unauthenticated, "{hung_up}");
    assert_eq!(stolen.attach(&ADMIN).await.err().unwrap().code(), Code::Unauthenticated);
    // The right that stood there is the rightful agent's to end.
    let attached = rightful.attach(&ADMIN).await.unwrap();
    world.decide(&world.alice, "here", json!({"verdict": "End"})).await.unwrap();
    grant_phase(&world, &here.grant, GrantPhase::Ending).await;
    let request = &here.spec.request.uid;
    attached.send(rightful.receipt(&here.grant, request, OrderState::Ended, 201)).await;
    grant_phase(&world, &here.grant, GrantPhase::Ended).await;
}
