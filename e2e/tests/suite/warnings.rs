//! What the holder of a right is told before it ends.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use lapse_crds::RequestPhase;
use lapse_e2e::plane::InstallOptions;
use serde_json::{Value, json};

use crate::world::{World, refused};

/// The warnings about a request: what they say, and how often.
async fn warnings(world: &World, request: &str) -> Vec<(String, i32)> {
    let events: Api<Event> = world.api(&world.admin);
    let events = events.list(&ListParams::default()).await.unwrap().items.into_iter();
    let about = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone());
    events
        .filter(|event| event.reason.as_deref() == Some("EndsSoon"))
        .filter(|event| about(event).as_deref() == Some(request))
        .map(|event| (event.note.unwrap(), event.series.map_or(1, |series| series.count)))
        .collect()
}

/// Every replica tells, and one that was restarted looks at everything anew.
#[tokio::test]
async fn each_is_told_once_by_all_replicas_together() {
    let options = InstallOptions { controllers: 2, ..InstallOptions::default() };
    let world = World::own("warned", options).await;
    world.granted("fix", json!({"duration": "20s"})).await;
    world.told("fix", "EndsSoon").await;
    let restarted = &world.lapse.controllers[0].process;
    restarted.kill();
    restarted.start().unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    let end = status.expires_at.unwrap().time().format("%H:%M:%S");
    let told = warnings(&world, "fix").await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (said, times) = &told[0];
    let is_of_time = |left: u32| said.starts_with(&format!("Your access ends in {left}s, at "));
    assert!((1..=5).any(is_of_time), "{said}");
    // With the day, if it is another by then.
    assert!(said.ends_with(&format!("{end} UTC; request more time if you need it.")), "{said}");
    assert_eq!(*times, 1);

    world.policy(json!({"session": {"warnings": ["8s"]}})).await;
    world.granted("own", json!({"duration": "20s"})).await;
    world.phase("own", RequestPhase::Ended).await;
    let told = warnings(&world, "own").await;
    let is_of_the_policy =
        |left: u32| told[0].0.starts_with(&format!("Your access ends in {left}s, at "));
    assert!(told.len() == 1 && (6..=8).any(is_of_the_policy), "{told:?}");
}

#[tokio::test]
async fn a_list_of_warnings_that_means_nothing_is_refused() {
    let world = World::shared("warned-wrong").await;
    let apply = async |changes: Value| world.dry_run(changes).await;
    let list = |warnings: Value| json!({"session": {"warnings": warnings}});
    refused(apply(list(json!(["0s"]))).await, "must be more than zero");
    refused(apply(list(json!(["soon"]))).await, "spec.session.warnings[0]");
    refused(apply(list(json!(["5s", "5s"]))).await, "Duplicate value");
    let deny = json!({"effect": "Deny", "session": {"warnings": ["1m"]}});
    refused(apply(deny).await, "approval, emergency, session and retention");
    apply(list(json!([]))).await.unwrap();
}
