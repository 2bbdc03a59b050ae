//! Requests that people make on hosts, without credentials of the cluster: whoever they are there, and nobody else by whatever
//! the gateway, another host or somebody on the way makes up.

use chrono::TimeDelta;
use kube::Api;
use kube::api::PostParams;
use lapse_cluster::clock;
use lapse_crds::{
    AccessDecision, AccessDecisionSpec, AccessRequest, AccessRequestSpec, OrderState, RequestPhase,
};
use lapse_e2e::plane::{InstallOptions, User};
use lapse_engine::order::Order;
use lapse_engine::origin::{digest_of, digest_of_end, sign};
use lapse_wire::{Ask, Asked, Progress, Withdraw, from_agent, to_agent};
use serde_json::{Value, json};

use super::agent::{Agent, Attached};
use super::{ADMIN, TOKEN, enrolled, offer};
use crate::world::{World, refused, typed};

/// The namespace of the requests, which is there before Lapse is.
pub(super) const NAMESPACE: &str = "default";

/// A corner whose people may be asked for on their hosts; al of web-1 is alice, and others there are nobody.
pub(super) async fn world() -> World {
    let set = vec!["gateway.requests.enabled=true".to_owned()];
    let options = InstallOptions { gateways: 1, set, ..InstallOptions::default() };
    World::own(NAMESPACE, options).await
}

/// Everybody on web-1 may ask for a group there.
pub(super) async fn for_local_users(world: &World, changes: Value) {
    let mut policy = json!({
        "requesters": [{"kind": "EndpointUser"}],
        "workstations": {"names": ["web-1"]},
        "targets": [{"endpoint": {"selector": {"matchLabels": {"role": "web"}}, "admin": {}, "groups": ["adm"]}}],
    });
    policy.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    world.policy(policy).await;
}

pub(super) async fn host(world: &World) -> (Agent, Attached) {
    let host = enrolled(world, "web-1").await;
    for_local_users(world, json!({})).await;
    host
}

async fn gateway(world: &World) -> User {
    world.lapse.plane().service_account("lapse-system", "lapse-gateway").await.unwrap()
}

/// What a local user asks for on the host of this agent, as that signs it.
pub(super) fn asked_there(world: &World, agent: &Agent, who: &str, name: &str) -> AccessRequest {
    let target = json!({"endpoint": {"name": agent.host.name, "localUser": who, "group": "adm"}});
    let mut request = world.request(name, json!({"target": target}));
    request.spec.origin = Some(said(agent, who, &request.spec, name, 0));
    request
}

fn said(
    agent: &Agent,
    who: &str,
    spec: &AccessRequestSpec,
    name: &str,
    seconds: i64,
) -> lapse_crds::Origin {
    let digest = digest_of(NAMESPACE, name, spec).unwrap();
    let at = clock::now() + TimeDelta::seconds(seconds);
    sign(&agent.host, who, &digest, at, agent.key.signing()).unwrap()
}

/// The end of a request, by a local user of the host of this agent.
pub(super) fn ended_there(agent: &Agent, who: &str, request: &str) -> AccessDecision {
    let mut spec: AccessDecisionSpec =
        typed(json!({"request": {"name": request}, "verdict": "End"}));
    let digest = digest_of_end(NAMESPACE, &spec).unwrap();
    let origin = sign(&agent.host, who, &digest, clock::now(), agent.key.signing());
    spec.origin = Some(origin.unwrap());
    typed(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": format!("{request}-"), "namespace": NAMESPACE}, "spec": spec,
    }))
}

/// The next order, whatever has ended meanwhile.
async fn next_order(attached: &mut Attached) -> Order {
    loop {
        match attached.next().await.unwrap() {
            to_agent::Message::Order(order) => return serde_json::from_str(&order.json).unwrap(),
            other @ (to_agent::Message::Asked(_) | to_agent::Message::Progress(_)) => {
                panic!("an earlier agent would hang up: {other:?}")
            }
            _ => {}
        }
    }
}

async fn create(
    world: &World,
    who: &User,
    request: &AccessRequest,
) -> anyhow::Result<AccessRequest> {
    let api: Api<AccessRequest> = world.api(who);
    Ok(api.create(&PostParams::default(), request).await?)
}

async fn decide(world: &World, who: &User, end: &AccessDecision) -> anyhow::Result<AccessDecision> {
    let api: Api<AccessDecision> = world.api(who);
    Ok(api.create(&PostParams::default(), end).await?)
}

#[tokio::test]
async fn who_asks_on_their_host_is_granted_what_they_ask_for_there() {
    let world = world().await;
    let (agent, mut attached) = host(&world).await;
    let gateway = gateway(&world).await;
    for (local_user, username) in
        [("al", world.alice.name.clone()), ("carol", "lapse:endpoint:web-1:carol".to_owned())]
    {
        let name = format!("of-{local_user}");
        let asked = asked_there(&world, &agent, local_user, &name);
        let stored = create(&world, &gateway, &asked).await.unwrap();
        let requester = serde_json::to_value(stored.spec.requester.unwrap()).unwrap();
        let expected = json!({
            "username": username, "endpointUser": {"endpoint": "web-1", "localUser": local_user},
        });
        assert_eq!(requester, expected, "and no group, no credential of the gateway's");
        world.waits(&name, "manager").await;
        world.approve(&world.bob, &name).await.unwrap();
        let order = agent.judge(&next_order(&mut attached).await);
        assert_eq!(order.local_user, local_user);
        attached.says(&agent, &order, OrderState::Active).await;
        world.phase(&name, RequestPhase::Active).await;
        assert_eq!(world.grant(&name).await.spec.username.as_deref(), Some(&*username));
        attached.says(&agent, &order, OrderState::Ended).await;
        world.phase(&name, RequestPhase::Ended).await;
    }

    // And they take back what they do not need any more. What is alice's she ends with her own credentials, too.
    for name in ["back", "hers"] {
        create(&world, &gateway, &asked_there(&world, &agent, "al", name)).await.unwrap();
        world.waits(name, "manager").await;
    }
    decide(&world, &gateway, &ended_there(&agent, "al", "back")).await.unwrap();
    world.phase("back", RequestPhase::Withdrawn).await;
    world.decide(&world.alice, "hers", json!({"verdict": "End"})).await.unwrap();
    world.phase("hers", RequestPhase::Withdrawn).await;
}

/// A gateway that was taken over has its token, and what hosts have signed and it has seen.
#[tokio::test]
async fn the_gateway_cannot_make_up_who_asks() {
    let world = world().await;
    let (agent, _attached) = host(&world).await;
    let gateway = gateway(&world).await;

    // In its own name it asks for nothing, and decides nothing.
    refused(
        create(&world, &gateway, &world.request("own", json!({}))).await,
        "with the signature of a host",
    );
    let asked = asked_there(&world, &agent, "al", "fix");
    create(&world, &gateway, &asked).await.unwrap();
    world.waits("fix", "manager").await;
    for verdict in ["Approve", "Deny", "End"] {
        let decided = world.decide(&gateway, "fix", json!({"verdict": verdict})).await;
        refused(decided, "the gateway requests and ends nothing by itself");
    }

    // What a host has signed is worth what it says, once, for its own user, and for two minutes.
    let mut changed = asked_there(&world, &agent, "al", "changed");
    changed.spec.duration = "1h".parse().ok();
    refused(create(&world, &gateway, &changed).await, "did not sign this request");
    let mut renamed = asked.clone();
    renamed.metadata.name = Some("renamed".into());
    refused(create(&world, &gateway, &renamed).await, "did not sign this request");
    refused(create(&world, &gateway, &asked).await, "already exists");
    let mut of_another = asked_there(&world, &agent, "carol", "of-another");
    of_another.spec.origin.as_mut().unwrap().local_user = "al".into();
    refused(create(&world, &gateway, &of_another).await, "did not sign this request");
    let mut stale = asked_there(&world, &agent, "al", "stale");
    stale.spec.origin = Some(said(&agent, "al", &stale.spec, "stale", -150));
    refused(create(&world, &gateway, &stale).await, "more than 2 minutes lie between");

    // Whoever has no key of a host states nothing.
    let mut thief = Agent::new(&world, "web-1", 9).await;
    thief.host = agent.host.clone();
    let forged = asked_there(&world, &thief, "al", "forged");
    refused(create(&world, &gateway, &forged).await, "did not sign this request");
    let end = ended_there(&thief, "al", "fix");
    refused(decide(&world, &gateway, &end).await, "did not sign this request");
    // Nor does another local user end it, nor what is said of another request.
    refused(
        decide(&world, &gateway, &ended_there(&agent, "carol", "fix")).await,
        "did not request that there",
    );
    let mut of_another = ended_there(&agent, "al", "renamed");
    of_another.spec.request.name = "fix".into();
    refused(decide(&world, &gateway, &of_another).await, "did not sign this request");
    world.waits("fix", "manager").await;

    // Nobody has a stamp of a host but by the gateway, whatever they write.
    let mut own = world.request("own", json!({}));
    own.spec.requester = Some(typed(json!({
        "username": world.bob.name, "endpointUser": {"endpoint": "web-1", "localUser": "bo"},
    })));
    let stored = create(&world, &world.alice, &own).await.unwrap().spec.requester.unwrap();
    assert_eq!((stored.username.as_str(), stored.endpoint_user), (world.alice.name.as_str(), None));
    let by_host = decide(&world, &world.alice, &ended_there(&agent, "al", "fix")).await;
    refused(by_host, "is for what people end on a host");
}

/// A host that was taken over vouches for its own users, and for its own host.
#[tokio::test]
async fn a_host_vouches_for_nothing_beyond_itself() {
    let world = world().await;
    let (agent, _attached) = host(&world).await;
    offer(&world, "web-2").await;
    let mut other = Agent::new(&world, "web-2", 2).await;
    other.enrol(TOKEN).await.unwrap();
    let _other = other.attach(&ADMIN).await.unwrap();
    for_local_users(&world, json!({})).await;
    let gateway = gateway(&world).await;

    let mut elsewhere = asked_there(&world, &other, "al", "elsewhere");
    elsewhere.spec.target.endpoint.as_mut().unwrap().name = "web-1".into();
    elsewhere.spec.origin = Some(said(&other, "al", &elsewhere.spec, "elsewhere", 0));
    refused(create(&world, &gateway, &elsewhere).await, "is granted access there alone");
    let mut as_another = asked_there(&world, &agent, "carol", "as-another");
    as_another.spec.target.endpoint.as_mut().unwrap().local_user = Some("al".into());
    as_another.spec.origin = Some(said(&agent, "carol", &as_another.spec, "as-another", 0));
    refused(create(&world, &gateway, &as_another).await, "is granted access there alone");
    let mut in_cluster = world.request("in-cluster", json!({}));
    in_cluster.spec.origin = Some(said(&agent, "al", &in_cluster.spec, "in-cluster", 0));
    refused(create(&world, &gateway, &in_cluster).await, "is granted access there alone");
    let root = asked_there(&world, &agent, "root", "root");
    refused(create(&world, &gateway, &root).await, "root belongs to nobody");

    // From a host that is none of its workstations the policy takes nothing.
    create(&world, &gateway, &asked_there(&world, &other, "al", "there")).await.unwrap();
    let denied = world.phase("there", RequestPhase::Denied).await;
    let why = &denied.conditions.iter().find(|c| c.r#type == "Evaluated").unwrap().message;
    assert!(why.contains("this one was made on Endpoint web-2"), "{why}");

    // A policy for users and groups is for nobody who shows no credential, whosever local user they are.
    for_local_users(&world, json!({"requesters": [{"kind": "User", "name": world.alice.name}]}))
        .await;
    create(&world, &gateway, &asked_there(&world, &agent, "al", "as-alice")).await.unwrap();
    let denied = world.phase("as-alice", RequestPhase::Denied).await;
    let why = &denied.conditions.iter().find(|c| c.r#type == "Evaluated").unwrap().message;
    assert!(why.contains("(local user al of Endpoint web-1) is not among the requesters"), "{why}");
}

/// al is alice, who is a manager by now: she does not approve what she asked for on her host.
#[tokio::test]
async fn nobody_approves_what_they_asked_for_on_a_host() {
    let world = world().await;
    let (agent, _attached) = host(&world).await;
    let gateway = gateway(&world).await;
    let alice = json!({"kind": "User", "name": world.alice.name});
    let stages = json!([{"name": "anybody", "required": 1, "approvers": [alice, {"kind": "User", "name": world.bob.name}]}]);
    for_local_users(&world, json!({"approval": {"stages": stages}})).await;
    world
        .bind_everywhere("alice-approves", "lapse:approver", &crate::rbac::user(&world.alice.name))
        .await;
    create(&world, &gateway, &asked_there(&world, &agent, "al", "fix")).await.unwrap();
    world.waits("fix", "1 of").await;
    refused(world.approve(&world.alice, "fix").await, "nobody may approve their own request");
    world.approve(&world.bob, "fix").await.unwrap();
}

/// Says something that is answered; what it comes to.
pub(super) async fn answered(attached: &mut Attached, message: from_agent::Message) -> Asked {
    attached.say(message).await;
    loop {
        if let to_agent::Message::Asked(asked) = attached.next().await.unwrap() {
            return asked;
        }
    }
}

fn ask(request: &AccessRequest) -> from_agent::Message {
    from_agent::Message::Ask(Ask { json: serde_json::to_string(request).unwrap() })
}

/// Waits until the gateway says of a request what it must.
async fn told(attached: &mut Attached, name: &str, is_it: impl Fn(&Progress) -> bool) -> Progress {
    loop {
        match attached.next().await.unwrap() {
            to_agent::Message::Progress(progress) if progress.name == name && is_it(&progress) => {
                return progress;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_gateway_carries_what_is_asked_and_tells_what_becomes_of_it() {
    let world = world().await;
    let (mut agent, before) = host(&world).await;
    agent.asks = true;
    let mut attached = agent.attach(&ADMIN).await.unwrap();
    drop(before);
    assert_eq!(attached.carries_to().await.unwrap(), NAMESPACE);
    let ok = |name: &str, is_withdrawal| Asked {
        name: name.into(),
        is_withdrawal,
        error: String::new(),
    };

    // Who must still approve, and that it is held.
    let fix = ask(&asked_there(&world, &agent, "al", "fix"));
    assert_eq!(answered(&mut attached, fix.clone()).await, ok("fix", false));
    let waiting = told(&mut attached, "fix", |progress| !progress.waiting_for.is_empty()).await;
    assert_eq!(waiting.phase, "Pending");
    assert!(waiting.waiting_for.contains("managers"), "{waiting:?}");
    // What was said twice is stored once.
    assert_eq!(answered(&mut attached, fix).await, ok("fix", false));
    world.approve(&world.bob, "fix").await.unwrap();
    let order = loop {
        if let to_agent::Message::Order(order) = attached.next().await.unwrap() {
            break agent.judge(&serde_json::from_str(&order.json).unwrap());
        }
    };
    let receipt = agent.receipt(&order.grant, &order.spec.request.uid, OrderState::Active, 1);
    attached.send(receipt).await;
    told(&mut attached, "fix", |progress| progress.phase == "Active").await;

    // Why it is denied, and that it is taken back.
    let no = ask(&asked_there(&world, &agent, "carol", "no"));
    assert_eq!(answered(&mut attached, no).await, ok("no", false));
    world.waits("no", "manager").await;
    let spec = json!({"verdict": "Deny", "comment": "not today"});
    world.decide(&world.bob, "no", spec).await.unwrap();
    let denied = told(&mut attached, "no", |progress| progress.phase == "Denied").await;
    assert!(denied.why.contains("not today"), "{denied:?}");
    let back = ask(&asked_there(&world, &agent, "carol", "back"));
    assert_eq!(answered(&mut attached, back).await, ok("back", false));
    let end = serde_json::to_string(&ended_there(&agent, "carol", "back")).unwrap();
    let end = from_agent::Message::Withdraw(Withdraw { json: end });
    assert_eq!(answered(&mut attached, end).await, ok("back", true));
    told(&mut attached, "back", |progress| progress.phase == "Withdrawn").await;

    // What admission refuses is said to who asks, and what nobody has signed is said to nobody.
    let mut elsewhere = asked_there(&world, &agent, "al", "elsewhere");
    elsewhere.spec.target.endpoint.as_mut().unwrap().name = "web-2".into();
    elsewhere.spec.origin = Some(said(&agent, "al", &elsewhere.spec, "elsewhere", 0));
    let refused = answered(&mut attached, ask(&elsewhere)).await;
    assert!(
        refused.error.starts_with(
            "spec.origin proves nothing: who requests on a host is granted access there alone"
        ),
        "{refused:?}"
    );
    let mut thief = Agent::new(&world, "web-1", 9).await;
    thief.host = agent.host.clone();
    attached.say(ask(&asked_there(&world, &thief, "al", "forged"))).await;
    let later = ask(&asked_there(&world, &agent, "al", "later"));
    assert_eq!(answered(&mut attached, later).await.name, "later");
    let requests: Api<AccessRequest> = world.api(&world.admin);
    assert!(requests.get_opt("forged").await.unwrap().is_none());
}

/// Where nobody asks on hosts, the gateway says so to its agents, and what they say nevertheless is stored nowhere.
#[tokio::test]
async fn a_gateway_that_carries_nothing_says_so() {
    let world = super::world("hosts-no-requests").await;
    let (mut agent, before) = enrolled(&world, "web-1").await;
    agent.asks = true;
    let mut attached = agent.attach(&ADMIN).await.unwrap();
    drop(before);
    // As often as it would hang up on who says what it has not signed.
    for _ in 0..20 {
        let mut fix = asked_there(&world, &agent, "al", "fix");
        fix.metadata.namespace = Some(NAMESPACE.to_owned());
        let refused = answered(&mut attached, ask(&fix)).await;
        assert!(refused.error.contains("carries nothing to namespace default now"), "{refused:?}");
    }
    // It goes on to serve the host.
    world.ask("own", super::wish("web-1")).await;
    world.approve(&world.bob, "own").await.unwrap();
    attached.order().await;
    let local = json!({"requesters": [{"kind": "EndpointUser", "endpoint": "web-1"}]});
    refused(world.dry_run(local).await, "takes no requests from hosts");
}
