//! A controller that dies at each of its writes, calls that are lost at each, and an API server that is gone while a right
//! ends: what comes of it is what would have come of it anyway.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::ListParams;
use lapse_crds::{AccessRequest, Grant, RequestPhase};
use lapse_e2e::plane::api_proxy::{ApiProxy, Call, Fault};
use lapse_e2e::plane::{InstallOptions, eventually};
use rstest::rstest;
use serde_json::json;

use crate::world::{SOON, World, until};

async fn world(name: &str) -> World {
    World::own(name, InstallOptions { behind_proxy: true, ..InstallOptions::default() }).await
}

fn proxy(world: &World) -> &ApiProxy {
    world.lapse.api.as_ref().unwrap()
}

/// The `number`-th write from now on.
fn nth_write(number: usize) -> impl FnMut(&Call) -> bool + Send + 'static {
    let mut seen = 0;
    move |call| {
        seen += usize::from(call.is_write());
        call.is_write() && seen == number
    }
}

/// A right is asked for, given, held, and ended by its holder; returns what is stored of it in the end, without names and
/// times.
async fn life(world: &World, name: &str) -> String {
    world.ask(name, json!({})).await;
    world.approve(&world.bob, name).await.unwrap();
    world.phase(name, RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    world.decide(&world.alice, name, json!({"verdict": "End"})).await.unwrap();
    world.phase(name, RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
    let grant = world.grant(name).await.metadata.name.unwrap();
    world.ended(&grant).await;
    // The marker goes last.
    let markers: Api<RoleBinding> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let marker = format!("lapse:{grant}");
    eventually("the marker to be gone", SOON, async || {
        Ok(markers.get_opt(&marker).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    left(world, name, &grant).await
}

async fn left(world: &World, name: &str, grant: &str) -> String {
    let requests: Api<AccessRequest> = world.api(&world.admin);
    let request = requests.get(name).await.unwrap().status.unwrap();
    let grant: Grant = world.grants().get(grant).await.unwrap();
    let finalizers = grant.metadata.finalizers.unwrap_or_default();
    let status = grant.status.unwrap();
    let of_request =
        request.conditions.iter().map(|c| format!("{} {:?} {}", c.r#type, c.status, c.reason));
    let of_grant =
        status.conditions.iter().map(|c| format!("{} {:?} {}", c.r#type, c.status, c.reason));
    let lines = [
        format!("request {:?} {:?}", request.phase, request.end_reason),
        of_request.collect::<Vec<_>>().join(", "),
        format!("grant {:?} {:?} {finalizers:?}", status.phase, status.end_reason),
        of_grant.collect::<Vec<_>>().join(", "),
        format!("bindings {:?}", world.bindings().await),
    ];
    lines.join("\n")
}

/// Before each write of a life, and after it took effect: the controller dies there, and another goes on.
#[tokio::test]
async fn a_controller_that_dies_at_any_of_its_writes_leaves_nothing_behind() {
    let world = world("crash-points").await;
    let (api, controller) = (proxy(&world), &world.lapse.controllers[0].process);
    let expected = life(&world, "whole").await;
    let mut points = Vec::new();
    'all: for number in 1.. {
        for (fault, when) in [(Fault::Hold, "before"), (Fault::HoldAnswer, "after")] {
            let name = format!("fix-{number}-{when}");
            api.fault(fault, nth_write(number));
            let crash = async {
                let call = api.held().await.unwrap();
                controller.kill();
                api.heal();
                api.cut();
                world.free_the_lease().await;
                controller.start().unwrap();
                format!("{when} {call}")
            };
            let mut crash = std::pin::pin!(crash);
            let mut life = std::pin::pin!(life(&world, &name));
            let (found, point) = tokio::select! {
                point = &mut crash => (life.await, point),
                found = &mut life => {
                    // It has no more writes than these.
                    assert_eq!(found, expected);
                    api.heal();
                    break 'all;
                }
            };
            assert_eq!(found, expected, "killed {point}");
            points.push(point);
        }
    }
    println!("killed at {} points:\n{}", points.len(), points.join("\n"));
    let grants = world.grants().list(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(grants, points.len() + 2, "each request was granted once");
    for part in ["before POST", "after POST", "/grants", "/rolebindings", "DELETE", "/status"] {
        assert!(points.iter().any(|point| point.contains(part)), "{part} is not among them");
    }
}

/// The same calls, lost on the way there or back, or refused: the controller lives, and does what it would have done.
#[rstest]
#[case::lost_before("lost-before", Fault::Cut)]
#[case::lost_after("lost-after", Fault::CutAnswer)]
#[case::an_error("an-error", Fault::Status(StatusCode::INTERNAL_SERVER_ERROR))]
#[case::too_much("too-much", Fault::Status(StatusCode::TOO_MANY_REQUESTS))]
#[tokio::test]
async fn a_write_that_is_lost_or_refused_is_made_up_for(#[case] name: &str, #[case] fault: Fault) {
    let world = world(name).await;
    let api = proxy(&world);
    let expected = life(&world, "whole").await;
    drop(api.calls());
    life(&world, "counted").await;
    let writes = api.calls().iter().filter(|call| call.is_write()).count();
    assert!(writes >= 6, "{writes}");
    for number in 1..=writes {
        api.fault(fault.clone(), nth_write(number));
        assert_eq!(life(&world, &format!("fix-{number}")).await, expected, "write {number}");
        api.heal();
    }
}

/// Watches and lists that tell something else than what is so, or at another time: what comes of it is the same, and in time.
#[rstest]
#[case::too_old("too-old", Fault::Expire, |call: &Call| call.is_watch)]
#[case::stale_lists("stale-lists", Fault::Stale, |call: &Call| call.is_list)]
#[case::repeated("repeated", Fault::Repeat, |call: &Call| call.is_watch)]
#[tokio::test]
async fn what_watches_and_lists_tell_wrongly_changes_nothing(
    #[case] name: &str,
    #[case] fault: Fault,
    #[case] concerns: fn(&Call) -> bool,
) {
    let world = world(name).await;
    let api = proxy(&world);
    let expected = life(&world, "whole").await;
    let is_end = |call: &Call| call.method == Method::DELETE && call.path.contains("/lapse:");
    api.fault(fault, concerns);
    // All is listed, and then listed and watched again while something happens.
    api.cut();
    let status = world.granted("short", json!({"duration": "40s"})).await;
    drop(api.calls());
    api.cut();
    assert_eq!(life(&world, "fix").await, expected);
    assert!(api.calls().iter().any(is_end));
    let expires = status.expires_at.unwrap().time();
    until(expires - TimeDelta::seconds(1)).await;
    api.cut();
    until(expires).await;
    eventually("the binding to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let late = lapse_cluster::clock::now() - expires;
    println!("{name}: gone {late} after its end");
    assert!(late < TimeDelta::seconds(10), "{late}");
    world.phase("short", RequestPhase::Ended).await;
    api.heal();
    api.cut();
    assert_eq!(life(&world, "after").await, expected);
}

/// Whatever the API server does to the controller while the time of a right is up: when that is over, so is the right.
#[rstest]
#[case::it_hangs("hangs", Fault::Hold)]
#[case::it_is_gone("gone", Fault::Cut)]
#[case::it_fails("fails", Fault::Status(StatusCode::INTERNAL_SERVER_ERROR))]
#[case::it_has_too_much_to_do("throttles", Fault::Status(StatusCode::TOO_MANY_REQUESTS))]
#[tokio::test]
async fn a_right_ends_as_soon_as_the_api_server_is_back(#[case] name: &str, #[case] fault: Fault) {
    let world = world(name).await;
    let api = proxy(&world);
    let status = world.granted("fix", json!({"duration": "20s"})).await;
    let expires = status.expires_at.unwrap().time();
    until(expires - TimeDelta::seconds(1)).await;
    api.fault(fault, |_| true);
    api.cut();
    until(expires + TimeDelta::seconds(4)).await;
    assert_eq!(world.bindings().await.len(), 1, "nobody could take it");
    api.heal();
    api.cut();
    let back = lapse_cluster::clock::now();
    eventually("the binding to be gone", SOON, async || {
        Ok(world.bindings().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let late = lapse_cluster::clock::now() - back;
    println!("{name}: gone {late} after the API server was back");
    // It is tried again within a second; what is more is for a machine that is busy with other tests.
    assert!(late < TimeDelta::seconds(10), "{late}");
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
}
