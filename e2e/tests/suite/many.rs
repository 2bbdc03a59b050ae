//! Many rights that end in one moment, while controllers are killed, stopped, or all gone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use kube::Api;
use kube::api::ListParams;
use lapse_cluster::clock;
use lapse_cluster::rights::Component;
use lapse_crds::{AccessRequest, GrantPhase, RequestPhase};
use lapse_e2e::audit::{self, Asked};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::world::{SOON, World, until};

const RIGHTS: usize = 30;
/// How many calls people make at once.
const AT_ONCE: usize = 8;

async fn world(name: &str, controllers: usize) -> World {
    let world = World::own(name, InstallOptions { controllers, ..InstallOptions::default() }).await;
    let limits = json!({"openRequestsPerUser": 1000, "activeGrantsPerUser": 1000});
    world.policy(json!({"limits": limits})).await;
    world
}

/// Rights that all end within the second before a moment; returns the first and the last of their ends.
async fn held_until_together(world: &World) -> (DateTime<Utc>, DateTime<Utc>) {
    let names: Vec<String> = (0..RIGHTS).map(|number| format!("fix-{number}")).collect();
    let asking = names.iter().map(|name| world.ask(name, json!({})));
    stream::iter(asking).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    let ready = |all: &[AccessRequest], phase| {
        let is_in = |request: &AccessRequest| {
            let status = request.status.as_ref();
            let is_known = status.and_then(|status| status.observed_generation) >= Some(0);
            is_known && status.is_some_and(|status| status.phase == phase)
        };
        all.iter().filter(|request| is_in(request)).count()
    };
    let requests: Api<AccessRequest> = world.api(&world.admin);
    let all_in = async |phase: RequestPhase| {
        eventually(&format!("{RIGHTS} requests to be {phase}"), SOON, async || {
            let all = requests.list(&ListParams::default()).await?.items;
            let others = all.iter().filter_map(|request| request.status.as_ref());
            let others: Vec<_> = others
                .filter(|status| status.phase != phase)
                .map(|status| (status.phase, &status.conditions, status.expires_at))
                .collect();
            anyhow::ensure!(ready(&all, phase) == RIGHTS, "not so: {others:#?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    };
    all_in(RequestPhase::Pending).await;
    // Long enough for all to be given, beside other tests, too.
    let end = clock::now() + TimeDelta::seconds(120);
    let approving = names.iter().map(async |name| {
        let left = format!("{}s", (end - clock::now()).num_seconds());
        let approval = json!({"verdict": "Approve", "duration": left});
        world.decide(&world.bob, name, approval).await.unwrap();
    });
    stream::iter(approving).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    all_in(RequestPhase::Active).await;
    let grants = world.grants().list(&ListParams::default()).await.unwrap().items;
    let ends = grants.iter().map(|grant| grant.spec.expires_at.time());
    let (first, last) = (ends.clone().min().unwrap(), ends.max().unwrap());
    assert!(first - clock::now() > TimeDelta::seconds(2), "giving took too long");
    assert!(last - first < TimeDelta::seconds(15), "{first} to {last}");
    (first, last)
}

/// How long after their ends, or after a moment if that is later, the rights were gone, in milliseconds, sorted.
async fn lateness(world: &World, from: Option<DateTime<Utc>>) -> Vec<i64> {
    eventually("all bindings to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let gone = calls(world, "delete", "rolebindings");
    let grants = world.grants().list(&ListParams::default()).await.unwrap().items;
    let late = grants.iter().map(|grant| {
        let name = format!("lapse:{}", grant.metadata.name.as_deref().unwrap());
        let gone = gone.iter().find(|asked| asked.access.name.as_deref() == Some(&*name));
        let end = grant.spec.expires_at.time().max(from.unwrap_or(DateTime::UNIX_EPOCH));
        (gone.unwrap().answered - end).num_milliseconds()
    });
    let mut late: Vec<i64> = late.collect();
    late.sort_unstable();
    late
}

/// What was asked for in this namespace with success.
fn calls(world: &World, verb: &str, resource: &str) -> Vec<Asked> {
    let mut all = audit::read(&world.lapse.plane().audit_log()).unwrap();
    all.retain(|Asked { user, access, code, .. }| {
        *user == audit::user(Component::Controller)
            && (access.verb.as_str(), access.resource.as_str()) == (verb, resource)
            && access.namespace.as_ref() == Some(&world.ns)
            && *code < 300
    });
    all
}

fn told(what: &str, late: &[i64]) -> String {
    let (middle, last) = (late[late.len() / 2], late[late.len() - 1]);
    format!("{what}: {} rights, gone p50 {middle} ms, max {last} ms after", late.len())
}

async fn all_ended(world: &World) {
    let grants = world.grants();
    eventually("all grants to have ended", SOON, async || {
        let all = grants.list(&ListParams::default()).await?.items;
        let is_ended = |phase: GrantPhase| phase == GrantPhase::Ended;
        let mut phases = all.into_iter().map(|grant| grant.status.unwrap_or_default().phase);
        Ok(phases.all(is_ended).then_some(()))
    })
    .await
    .unwrap();
    world.locked_out(&world.alice).await;
}

/// How late rights may end beside other tests on a busy machine. What is meant is printed.
const LATE_MS: i64 = 15_000;

#[tokio::test]
async fn the_leader_is_killed_a_second_before_many_rights_end() {
    let world = world("leader-killed", 3).await;
    let (first, _) = held_until_together(&world).await;
    until(first - TimeDelta::seconds(1)).await;
    world.lapse.controllers[world.leader().await].process.kill();
    let late = lateness(&world, None).await;
    let told = told("the leader of three killed", &late);
    println!("{told}");
    assert!(late[late.len() - 1] < LATE_MS, "{told}");
    all_ended(&world).await;
}

/// It goes on when its lease is long over, and another has it.
#[tokio::test]
async fn the_leader_is_stopped_while_many_rights_end() {
    let world = world("leader-stopped", 3).await;
    let (first, last) = held_until_together(&world).await;
    until(first - TimeDelta::seconds(1)).await;
    let leader = &world.lapse.controllers[world.leader().await];
    leader.process.pause();
    let late = lateness(&world, None).await;
    let told = told("the leader of three stopped", &late);
    println!("{told}");
    assert!(late[late.len() - 1] < LATE_MS, "{told}");
    until(last + TimeDelta::seconds(11)).await;
    leader.process.resume();
    all_ended(&world).await;
    let made = calls(&world, "create", "rolebindings").len();
    assert_eq!(made, RIGHTS, "nothing was given twice");
    world.granted("next", json!({})).await;
}

/// What is over goes first: nothing new is given before.
#[tokio::test]
async fn all_controllers_are_down_while_many_rights_end() {
    let world = world("all-down", 2).await;
    let (_, last) = held_until_together(&world).await;
    world.ask("next", json!({})).await;
    world.phase("next", RequestPhase::Pending).await;
    let controllers = &world.lapse.controllers;
    for replica in controllers {
        replica.process.kill();
    }
    world.approve(&world.bob, "next").await.unwrap();
    until(last + TimeDelta::seconds(1)).await;
    assert_eq!(world.bindings().await.len(), RIGHTS, "nobody could take them");
    // Nobody has to wait for the lease of one that is dead.
    world.free_the_lease().await;
    let started = clock::now();
    controllers[0].process.start().unwrap();
    world.phase("next", RequestPhase::Active).await;
    let next = format!("lapse:{}", world.grant("next").await.metadata.name.unwrap());
    world.decide(&world.alice, "next", json!({"verdict": "End"})).await.unwrap();
    let mut gone = calls(&world, "delete", "rolebindings");
    gone.retain(|asked| asked.access.name.as_ref() != Some(&next));
    let made = calls(&world, "create", "rolebindings");
    let made = made.iter().find(|asked| asked.access.name.as_ref() == Some(&next)).unwrap();
    let all_gone = gone.iter().map(|asked| asked.answered).max().unwrap();
    println!(
        "all controllers down: {} rights gone {} ms after one was started",
        gone.len(),
        (all_gone - started).num_milliseconds()
    );
    assert_eq!(gone.len(), RIGHTS);
    assert!(all_gone <= made.received, "something was given before all was taken that was over");
    let limit = TimeDelta::from_std(Duration::from_mins(1)).unwrap();
    assert!(all_gone - started < limit, "{}", all_gone - started);
    all_ended(&world).await;
}
