//! Rights on hosts: who may enrol, what an agent is told, whom the cluster believes, and what nobody can make up.

mod agent;
mod asked;
mod batch;
mod escalation;
mod much;
mod record;
mod silent;
mod stolen;
mod twice;
mod workstation;

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{
    AccessRequest, ConditionStatus, Conditions as _, EndReason, Endpoint, Grant, GrantPhase,
    OrderState, RequestPhase,
};
use lapse_e2e::plane::{InstallOptions, eventually};
use lapse_engine::endpoint::hash_of_token;
use lapse_engine::order::VerifiedOrder;
use lapse_wire::to_agent;
use serde_json::{Value, json};
use tonic::Code;

use self::agent::{Agent, Attached};
use crate::columns::Shown;
use crate::world::{SOON, World, refused};

const TOKEN: &str = "0f3a-a-token-with-enough-randomness-in-it";
const ADMIN: [&str; 3] = ["Admin", "Commands", "Group"];

async fn world(name: &str) -> World {
    world_of(name, 1).await
}

async fn world_of(name: &str, gateways: usize) -> World {
    World::own(name, InstallOptions { gateways, ..InstallOptions::default() }).await
}

fn endpoints(world: &World) -> Api<Endpoint> {
    Api::all(world.admin.client.clone())
}

/// An Endpoint on which alice is al, and that may be asked for.
async fn offer(world: &World, name: &str) {
    let users = json!([{"subject": {"kind": "User", "name": world.alice.name}, "localUser": "al"}]);
    let enrolment = json!({"tokenHash": hash_of_token(TOKEN), "expiresAt": "2036-01-01T00:00:00Z"});
    world
        .apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": name, "labels": {"role": "web"}},
            "spec": {"platform": "Linux", "users": users, "enrolment": enrolment,
                "owners": [{"kind": "User", "name": world.bob.name}]},
        }))
        .await;
    let offered =
        json!({"selector": {"matchLabels": {"role": "web"}}, "admin": {}, "groups": ["adm"]});
    world.policy(json!({"targets": [{"endpoint": offered}]})).await;
}

async fn enrolled(world: &World, name: &str) -> (Agent, Attached) {
    offer(world, name).await;
    let mut agent = Agent::new(world, name, 1).await;
    agent.enrol(TOKEN).await.unwrap();
    let attached = agent.attach(&ADMIN).await.unwrap();
    ready(world, name, ConditionStatus::True).await;
    (agent, attached)
}

async fn ready(world: &World, name: &str, expected: ConditionStatus) {
    eventually(&format!("Endpoint {name} to be Ready={expected:?}"), SOON, async || {
        let status = endpoints(world).get(name).await?.status.unwrap_or_default();
        let ready = status.conditions.condition("Ready").map(|ready| ready.status);
        Ok((ready == Some(expected)).then_some(()))
    })
    .await
    .unwrap();
}

fn wish(name: &str) -> Value {
    json!({"target": {"endpoint": {"name": name, "admin": {}}}})
}

/// A right on web-1 that its agent says is given.
async fn held(world: &World, wish: Value) -> (Agent, Attached, VerifiedOrder) {
    let (agent, mut attached) = enrolled(world, "web-1").await;
    world.ask("fix", wish).await;
    world.approve(&world.bob, "fix").await.unwrap();
    let order = agent.judge(&attached.order().await);
    attached.says(&agent, &order, OrderState::Active).await;
    world.phase("fix", RequestPhase::Active).await;
    (agent, attached, order)
}

async fn grant_phase(world: &World, name: &str, phase: GrantPhase) -> Grant {
    eventually(&format!("Grant {name} to be {phase}"), SOON, async || {
        let grant = world.grants().get(name).await?;
        let is = grant.status.clone().unwrap_or_default().phase;
        Ok((is == phase).then_some(grant))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_token_enrols_one_agent_once() {
    let world = world("hosts-enrol").await;
    offer(&world, "web-1").await;
    let mut agent = Agent::new(&world, "web-1", 1).await;
    assert!(agent.told_to_trust().await.contains("authorities"));
    assert!(agent.enrol("").await.unwrap_err().message().contains("empty"));
    agent.host.name = "../nodes".into();
    assert_eq!(agent.enrol(TOKEN).await.unwrap_err().code(), Code::InvalidArgument);

    // Whoever has no token finds out no name: not by what is said, nor by how long that takes.
    let mut said = Vec::new();
    for (name, token) in [("web-1", "another"), ("web-2", TOKEN)] {
        agent.host.name = name.into();
        let began = Instant::now();
        let status = agent.enrol(token).await.unwrap_err();
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(1), "{name}: {took:?}");
        println!("{name} was refused in {took:?}");
        said.push((status.code(), status.message().replace(name, "NAME")));
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0].0, Code::PermissionDenied);
    assert!(said[0].1.starts_with("this token cannot enrol"), "{said:?}");
    agent.host.name = "web-1".into();
    agent.enrol(TOKEN).await.unwrap();

    // The token is spent, and nowhere to be read.
    let mut thief = Agent::new(&world, "web-1", 9).await;
    let status = thief.enrol(TOKEN).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("good for one enrolment"), "{status}");
    let stored = endpoints(&world).get("web-1").await.unwrap();
    assert!(!serde_json::to_string(&stored).unwrap().contains(TOKEN));
    let known = stored.status.unwrap().agent.unwrap();
    assert_eq!(known.public_key, agent.public_key());

    // Its certificate is good for its own key alone, and no other is good for anything.
    thief.certificate = agent.certificate.clone();
    assert!(thief.attach(&ADMIN).await.is_err());
    thief.key = agent.key.clone();
    let status = thief.attach(&ADMIN).await.err().unwrap();
    assert!(status.message().contains("another machine"), "{status}");
    let _attached = agent.attach(&ADMIN).await.unwrap();
    ready(&world, "web-1", ConditionStatus::True).await;
}

/// Lists name the agent, and the local user; requests and Grants are found by their host.
async fn shows_who_holds_what(world: &World, name: &str, grant: &str) {
    let agent = Shown::get(world, &["jep"]).await;
    let report = endpoints(world).get(name).await.unwrap().status.unwrap().report.unwrap();
    assert_eq!(agent.of(name, ["READY", "AGENT"]), ["True", report.version.as_str()]);
    let selector = |host: &str| format!("spec.target.endpoint.name={host}");
    let on_host = selector(name);
    let grants = Shown::get(world, &["gr", "--field-selector", &on_host]).await;
    let [target] = grants.of(grant, ["TARGET"]);
    assert!(target.ends_with(&format!("on {name} as al")), "{target}");
    let requests = Shown::get(world, &["areq", "--field-selector", &on_host]).await;
    assert_eq!(requests.of("fix", ["PHASE"]), ["Active"]);
    let elsewhere = ListParams::default().fields(&selector("web-2"));
    assert_eq!(world.grants().list(&elsewhere).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn a_right_on_a_host_is_held_and_over_when_its_agent_says_so() {
    let world = world("hosts-life").await;
    let (agent, mut attached) = enrolled(&world, "web-1").await;
    world.ask("fix", wish("web-1")).await;
    world.waits("fix", "manager").await;
    world.approve(&world.bob, "fix").await.unwrap();
    let order = agent.judge(&attached.order().await);
    assert_eq!((order.local_user.as_str(), order.target.name.as_str()), ("al", "web-1"));
    let pending = world.grants().get(&order.grant).await.unwrap();
    assert_eq!(pending.status.unwrap_or_default().phase, GrantPhase::Pending);
    assert_eq!(world.bindings().await, Vec::<String>::new());

    attached.says(&agent, &order, OrderState::Received).await;
    attached.says(&agent, &order, OrderState::Active).await;
    world.phase("fix", RequestPhase::Active).await;
    shows_who_holds_what(&world, "web-1", &order.grant).await;

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    match attached.next().await.unwrap() {
        to_agent::Message::End(end) => {
            assert_eq!(
                (end.grant.as_str(), end.request_uid.as_str()),
                (order.grant.as_str(), order.spec.request.uid.as_str())
            );
        }
        other => panic!("no end: {other:?}"),
    }
    // Nobody but the agent can say that it is gone.
    let ending = grant_phase(&world, &order.grant, GrantPhase::Ending).await;
    let ended = ending.status.unwrap();
    let ended = ended.conditions.condition("Ended").unwrap();
    assert_eq!((ended.status, ended.reason.as_str()), (ConditionStatus::False, "Unverified"));
    attached.says(&agent, &order, OrderState::Ended).await;
    let over = grant_phase(&world, &order.grant, GrantPhase::Ended).await.status.unwrap();
    assert_eq!(over.end_reason, Some(EndReason::EndedByRequester));
    world.phase("fix", RequestPhase::Ended).await;

    // What the agent could not do was never given.
    world.ask("again", wish("web-1")).await;
    world.approve(&world.bob, "again").await.unwrap();
    let order = agent.judge(&attached.order().await);
    attached.says(&agent, &order, OrderState::Failed).await;
    world.phase("again", RequestPhase::Failed).await;

    // Who hangs up is not there.
    drop(attached);
    ready(&world, "web-1", ConditionStatus::False).await;
}

#[tokio::test]
async fn an_endpoint_goes_when_what_is_in_force_on_it_has_gone() {
    let world = world("hosts-gone").await;
    let (agent, mut attached, order) = held(&world, wish("web-1")).await;

    endpoints(&world).delete("web-1", &DeleteParams::default()).await.unwrap();
    assert!(matches!(attached.next().await.unwrap(), to_agent::Message::End(_)));
    let ending = grant_phase(&world, &order.grant, GrantPhase::Ending).await.status.unwrap();
    assert_eq!(ending.end_reason, Some(EndReason::TargetDeleted));
    assert!(endpoints(&world).get("web-1").await.is_ok(), "it stays until its agent has said so");
    attached.says(&agent, &order, OrderState::Ended).await;
    eventually("the Endpoint to go", SOON, async || {
        Ok(endpoints(&world).get_opt("web-1").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    let status = attached.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(agent.attach(&ADMIN).await.err().unwrap().code(), Code::Unauthenticated);
}

/// The line that says who alice is there is taken out, as when somebody leaves.
#[tokio::test]
async fn who_is_taken_off_an_endpoint_holds_nothing_there() {
    let world = world("hosts-left").await;
    let (_agent, mut attached, order) = held(&world, wish("web-1")).await;
    let nobody = Patch::Merge(json!({"spec": {"users": []}}));
    endpoints(&world).patch("web-1", &PatchParams::default(), &nobody).await.unwrap();
    assert!(matches!(attached.next().await.unwrap(), to_agent::Message::End(_)));
    let ending = grant_phase(&world, &order.grant, GrantPhase::Ending).await.status.unwrap();
    assert_eq!(ending.end_reason, Some(EndReason::RequesterNotAllowed));
}

/// Its agent will never say again what is in force there. An owner says so, and each right is over when its time is.
#[tokio::test]
async fn the_endpoint_of_a_lost_host_goes_when_an_owner_says_so() {
    let world = world("hosts-lost").await;
    let mut short = wish("web-1");
    short["duration"] = json!("30s");
    let (_agent, attached, order) = held(&world, short).await;
    drop(attached);
    endpoints(&world).delete("web-1", &DeleteParams::default()).await.unwrap();
    grant_phase(&world, &order.grant, GrantPhase::Ending).await;

    let group = "rbac.authorization.k8s.io";
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": group});
    world
        .apply(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "writers"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "lapse-endpoint-owner"},
            "subjects": [user(&world.alice.name), user(&world.bob.name)]}))
        .await;
    let lost = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let says_so = async |client: &kube::Client| {
        let api: Api<Endpoint> = Api::all(client.clone());
        api.patch("web-1", &PatchParams::default(), &lost).await
    };
    eventually("the binding to hold", SOON, async || {
        let said = says_so(&world.alice.client).await.unwrap_err().to_string();
        Ok(said.contains("may remove them from an Endpoint").then_some(()))
    })
    .await
    .unwrap();
    assert!(endpoints(&world).get("web-1").await.is_ok(), "alice is no owner");
    says_so(&world.bob.client).await.unwrap();
    assert!(endpoints(&world).get_opt("web-1").await.unwrap().is_none());
    let over = grant_phase(&world, &order.grant, GrantPhase::Ended).await;
    let ended = over.status.unwrap();
    assert_eq!(ended.conditions.condition("Ended").unwrap().reason, "Unverified");
    assert!(ended.ended_at.unwrap().time() >= over.spec.expires_at.time());
}

/// A stolen token of the gateway, of the controller, or a person with wide rights: none of them has a right on a host by it.
#[tokio::test]
async fn nobody_makes_up_what_agents_and_webhook_sign() {
    let world = world("hosts-stolen").await;
    let (agent, mut attached) = enrolled(&world, "web-1").await;
    world.ask("fix", wish("web-1")).await;
    world.approve(&world.bob, "fix").await.unwrap();
    let order = agent.judge(&attached.order().await);
    let plane = world.lapse.plane();
    let gateway = plane.service_account("lapse-system", "lapse-gateway").await.unwrap();
    let as_gateway: Api<Endpoint> = Api::all(gateway.client.clone());
    let patch = async |api: &Api<Endpoint>, status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status("web-1", &PatchParams::default(), &patch).await
    };

    // Its own key in the agent's place.
    let mut stored = endpoints(&world).get("web-1").await.unwrap().status.unwrap().agent.unwrap();
    stored.public_key = Agent::new(&world, "web-1", 9).await.public_key();
    let stolen = patch(&as_gateway, json!({"agent": stored})).await;
    refused(stolen.map_err(Into::into), "nobody may write it");
    // A person, whatever rights they have.
    let own = patch(&endpoints(&world), json!({"lastContact": "2026-01-01T00:00:00Z"})).await;
    refused(own.map_err(Into::into), "by the gateway of Lapse alone");
    // A receipt that the agent did not sign is stored, and believed by nobody.
    let mut thief = Agent::new(&world, "web-1", 9).await;
    thief.host = agent.host.clone();
    let forged = thief.receipt(&order.grant, &order.spec.request.uid, OrderState::Active, 7);
    let forged: Value = serde_json::from_str(&forged).unwrap();
    patch(&as_gateway, json!({"orders": [forged]})).await.unwrap();
    // The agent's own is: whatever came before it.
    attached.send(thief.receipt(&order.grant, &order.spec.request.uid, OrderState::Ended, 8)).await;
    let json = agent.receipt(&order.grant, &order.spec.request.uid, OrderState::Active, 9);
    let pending = world.grants().get(&order.grant).await.unwrap().status.unwrap_or_default();
    assert_eq!(pending.phase, GrantPhase::Pending, "nobody believed the forged one");
    attached.send(json).await;
    world.phase("fix", RequestPhase::Active).await;

    // No Grant, and so no order, by the gateway or by a person.
    let mut made = world.grants().get(&order.grant).await.unwrap();
    made.metadata = ObjectMeta { name: Some("made-up".into()), ..ObjectMeta::default() };
    let grants: Api<Grant> = Api::all(gateway.client.clone());
    assert!(grants.create(&PostParams::default(), &made).await.is_err());
    refused(
        world.grants().create(&PostParams::default(), &made).await.map_err(Into::into),
        "made and changed by Lapse alone",
    );
    let controller = plane.service_account("lapse-system", "lapse-controller").await.unwrap();
    let grants: Api<Grant> = Api::all(controller.client.clone());
    let stolen = grants.create(&PostParams::default(), &made).await;
    refused(stolen.map_err(Into::into), "its token was stolen");

    // Where nobody asks on hosts, it creates no request at all, and ends none.
    let requests: Api<AccessRequest> = world.api(&gateway);
    let made = requests.create(&PostParams::default(), &world.request("made-up", json!({}))).await;
    refused(made.map_err(Into::into), "forbidden");
    refused(world.decide(&gateway, "fix", json!({"verdict": "End"})).await, "forbidden");

    // Who does not own the Endpoint does not say who is whom there.
    let user =
        |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    let subjects = [user(&world.alice.name), user(&world.bob.name)];
    let writer = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "writers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lapse-endpoint-owner"},
        "subjects": subjects});
    world.apply(writer).await;
    let users = json!({"spec": {"users": [{"subject": {"kind": "User", "name": world.mallory.name}, "localUser": "al"}]}});
    let by = async |client: &kube::Client| {
        let api: Api<Endpoint> = Api::all(client.clone());
        api.patch("web-1", &PatchParams::default(), &Patch::Merge(&users)).await
    };
    eventually("the binding to hold", SOON, async || {
        let said = by(&world.alice.client).await.unwrap_err().to_string();
        Ok(said.contains("is changed by its owners").then_some(()))
    })
    .await
    .unwrap();
    let changed = by(&world.bob.client).await.unwrap();
    assert_eq!(changed.name_any(), "web-1");
    // And what alice held as al ends with that.
    assert!(matches!(
        attached.next().await.unwrap(),
        to_agent::Message::Recorded(_) | to_agent::Message::End(_)
    ));
    let ending = grant_phase(&world, &order.grant, GrantPhase::Ending).await.status.unwrap();
    assert_eq!(ending.end_reason, Some(EndReason::RequesterNotAllowed));
}
