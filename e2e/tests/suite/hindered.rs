//! What hinders a controller while a right is to end: what it gives and cannot, reads that are never answered, a Deny that no
//! watch tells of.

use std::collections::HashSet;
use std::time::Duration;

use http::{Method, StatusCode};
use kube::Api;
use kube::api::PostParams;
use lapse_crds::{AccessRequest, EndReason, RequestPhase};
use lapse_e2e::plane::api_proxy::{ApiProxy, Call, Fault};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{SOON, World};

/// Within how long a right goes that nothing but what is tested here keeps, on a machine that is busy with other tests. A call
/// that hangs takes longer.
const SLOW: Duration = Duration::from_secs(8);

async fn world(name: &str) -> World {
    World::own(name, InstallOptions { behind_proxy: true, ..InstallOptions::default() }).await
}

fn proxy(world: &World) -> &ApiProxy {
    world.lapse.api.as_ref().unwrap()
}

/// Has a right denied, and returns how long its binding stood after that.
async fn denied(world: &World, name: &str) -> Duration {
    world.decide(&world.ben, name, json!({"verdict": "Deny"})).await.unwrap();
    let begun = Instant::now();
    eventually("the binding to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    begun.elapsed()
}

fn is_creation_of_binding(call: &Call) -> bool {
    call.method == Method::POST && call.path.ends_with("/rolebindings")
}

fn is_creation_of_marker(call: &Call) -> bool {
    is_creation_of_binding(call) && call.path.contains("/namespaces/lapse-system/")
}

/// More rights than there are places for ends that failed cannot be given: each try hangs. Then another is denied, and the
/// first try to take that fails.
#[tokio::test]
async fn what_cannot_be_given_delays_no_end_that_failed_once() {
    const WAITING: usize = 12;
    let world = world("give-hangs").await;
    let api = proxy(&world);
    world.granted("fix", json!({})).await;
    api.fault(Fault::Hold, is_creation_of_binding);
    drop(api.calls());
    let group = format!("{}-developers", world.ns);
    for number in 0..WAITING {
        let name = format!("waits-{number}");
        let who = format!("{name}-{}", world.ns);
        let who = world.lapse.plane().user(&who, &[&group]).await.unwrap();
        let requests: Api<AccessRequest> = world.api(&who);
        let request = world.request(&name, json!({}));
        requests.create(&PostParams::default(), &request).await.unwrap();
        world.approve(&world.bob, &name).await.unwrap();
    }
    // While many are given, the marker comes first, and no binding before it stands.
    let mut tries = 0;
    eventually("all to be tried again", SOON, async || {
        tries += api.calls().iter().filter(|call| is_creation_of_marker(call)).count();
        Ok((tries >= 2 * WAITING).then_some(()))
    })
    .await
    .unwrap();
    let mut has_failed = false;
    api.fault(Fault::Status(StatusCode::INTERNAL_SERVER_ERROR), move |call| {
        let is_first = call.method == Method::DELETE && !has_failed;
        has_failed |= is_first;
        is_first
    });
    let stood = denied(&world, "fix").await;
    println!("gone {stood:?} after it was denied");
    assert!(stood < SLOW, "{stood:?}");
    api.heal();
    api.cut();
    world.phase("fix", RequestPhase::Ended).await;
    for number in 0..WAITING {
        world.phase(&format!("waits-{number}"), RequestPhase::Active).await;
    }
}

/// The first read of each object is swallowed, as by connections to a node that is dead.
#[tokio::test]
async fn reads_that_are_never_answered_delay_no_end() {
    let world = world("reads-hang").await;
    world.granted("fix", json!({})).await;
    let mut seen = HashSet::new();
    proxy(&world).fault(Fault::Hold, move |call| {
        let is_read = call.method == Method::GET && !call.is_watch && !call.is_list;
        is_read && seen.insert(call.path.clone())
    });
    let stood = denied(&world, "fix").await;
    println!("gone {stood:?} after it was denied");
    assert!(stood < SLOW, "{stood:?}");
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Revoked));
}

/// What the sweep finds counts as what a watch tells.
#[tokio::test]
async fn a_deny_that_no_watch_tells_of_ends_the_right_with_a_sweep() {
    let world = world("deaf").await;
    let api = proxy(&world);
    world.granted("fix", json!({})).await;
    let is_watch = |call: &Call| call.is_watch && call.path.ends_with("/accessdecisions");
    api.fault(Fault::Swallow(|_| true), is_watch);
    drop(api.calls());
    api.cut();
    eventually("the watch to be there again", SOON, async || {
        Ok(api.calls().iter().any(is_watch).then_some(()))
    })
    .await
    .unwrap();
    let stood = denied(&world, "fix").await;
    println!("gone {stood:?} after it was denied");
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Revoked));
    world.locked_out(&world.alice).await;
}
