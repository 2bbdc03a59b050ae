//! Requests that a policy accepts from its workstations alone: what is asked elsewhere, changed on its way, used twice, by
//! somebody else or too late gets nothing.

use chrono::TimeDelta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lapse_cluster::clock;
use lapse_crds::{AccessRequest, RequestPhase};
use lapse_e2e::plane::User;
use lapse_engine::endpoint::hash_of_token;
use lapse_engine::origin::{digest_of, sign};
use serde_json::{Value, json};

use super::agent::Agent;
use super::{TOKEN, endpoints, enrolled, world};
use crate::world::{World, refused};

/// A request as alice makes it on the host of this agent, where she is al, signed so many seconds from now.
fn made_there(world: &World, agent: &Agent, name: &str, seconds: i64) -> AccessRequest {
    let mut request = world.request(name, json!({}));
    let digest = digest_of(&world.ns, name, &request.spec).unwrap();
    let at = clock::now() + TimeDelta::seconds(seconds);
    let origin = sign(&agent.host, "al", &digest, at, agent.key.signing());
    request.spec.origin = Some(origin.unwrap());
    request
}

async fn create(
    world: &World,
    who: &User,
    request: &AccessRequest,
) -> anyhow::Result<AccessRequest> {
    let api: Api<AccessRequest> = world.api(who);
    Ok(api.create(&PostParams::default(), request).await?)
}

async fn from_workstations(world: &World, workstations: Value) {
    world.policy(json!({"workstations": workstations})).await;
}

#[tokio::test]
async fn a_policy_accepts_what_is_asked_on_its_workstations_and_nowhere_else() {
    let world = world("hosts-workstation").await;
    let (agent, _attached) = enrolled(&world, "web-1").await;
    from_workstations(&world, json!({"names": ["web-1"]})).await;

    // In Kubernetes, for which the host is nothing but where it is asked.
    create(&world, &world.alice, &made_there(&world, &agent, "there", 0)).await.unwrap();
    world.waits("there", "manager").await;
    world.approve(&world.bob, "there").await.unwrap();
    world.phase("there", RequestPhase::Active).await;

    world.ask("elsewhere", json!({})).await;
    let denied = world.phase("elsewhere", RequestPhase::Denied).await;
    let why = &denied.conditions.iter().find(|c| c.r#type == "Evaluated").unwrap().message;
    assert!(why.contains("accepts requests only from the workstations web-1"), "{why}");

    // What is held goes on when its host is none of them any more, and what waits gets nothing.
    create(&world, &world.alice, &made_there(&world, &agent, "later", 0)).await.unwrap();
    world.waits("later", "manager").await;
    from_workstations(&world, json!({"selector": {"matchLabels": {"role": "workstation"}}})).await;
    let denied = world.phase("later", RequestPhase::Denied).await;
    let why = &denied.conditions.iter().find(|c| c.r#type == "Evaluated").unwrap().message;
    assert!(why.contains("this one was made on Endpoint web-1"), "{why}");
    world.phase("there", RequestPhase::Active).await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"role": "workstation"}}}));
    endpoints(&world).patch("web-1", &PatchParams::default(), &label).await.unwrap();
    create(&world, &world.alice, &made_there(&world, &agent, "labelled", 0)).await.unwrap();
    world.waits("labelled", "manager").await;
}

#[tokio::test]
async fn a_statement_is_for_one_request_of_one_person_at_one_time() {
    let world = world("hosts-statement").await;
    let (agent, _attached) = enrolled(&world, "web-1").await;
    from_workstations(&world, json!({"names": ["web-1"]})).await;

    let fix = made_there(&world, &agent, "fix", 0);
    let mut more = fix.clone();
    more.spec.duration = "1h".parse().ok();
    refused(create(&world, &world.alice, &more).await, "did not sign this request");
    let mut once_more = fix.clone();
    once_more.metadata.name = Some("fix-again".into());
    refused(create(&world, &world.alice, &once_more).await, "did not sign this request");
    create(&world, &world.alice, &fix).await.unwrap();
    refused(create(&world, &world.alice, &fix).await, "already exists");

    for seconds in [-150, 150] {
        let name = format!("at-{}", seconds + 150);
        let stale = made_there(&world, &agent, &name, seconds);
        refused(create(&world, &world.alice, &stale).await, "more than 2 minutes lie between");
    }
    // Whoever has no agent's key states nothing, and who has that of another host nothing of this one.
    let mut thief = Agent::new(&world, "web-1", 9).await;
    thief.host = agent.host.clone();
    let forged = made_there(&world, &thief, "forged", 0);
    refused(create(&world, &world.alice, &forged).await, "did not sign this request");

    // The host enrols again: what its former key has signed is worth nothing, not even what waits.
    world.waits("fix", "manager").await;
    let token = format!("{TOKEN}-of-another-time");
    let enrolment =
        json!({"tokenHash": hash_of_token(&token), "expiresAt": "2036-01-01T00:00:00Z"});
    let anew = Patch::Merge(json!({"spec": {"enrolment": enrolment}}));
    endpoints(&world).patch("web-1", &PatchParams::default(), &anew).await.unwrap();
    thief.enrol(&token).await.unwrap();
    let old = made_there(&world, &agent, "old", 0);
    refused(create(&world, &world.alice, &old).await, "did not sign this request");
    // The approval is let through, and the request is looked at once more before anything is given.
    let _ = world.approve(&world.bob, "fix").await;
    world.phase("fix", RequestPhase::Denied).await;
}

#[tokio::test]
async fn a_host_that_goes_is_no_workstation_any_more() {
    let world = world("hosts-no-workstation").await;
    let (agent, attached) = enrolled(&world, "web-1").await;
    from_workstations(&world, json!({"names": ["web-1"]})).await;
    drop(attached);
    endpoints(&world).delete("web-1", &DeleteParams::default()).await.unwrap();
    let late = made_there(&world, &agent, "late", 0);
    let said = format!("{:#}", create(&world, &world.alice, &late).await.unwrap_err());
    let expected = ["Endpoint web-1 is being deleted", "there is no Endpoint web-1"];
    assert!(expected.iter().any(|words| said.contains(words)), "{said}");
}
