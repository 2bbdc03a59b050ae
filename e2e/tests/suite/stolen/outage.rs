//! What the controller gives while the webhook cannot confirm it.

use chrono::TimeDelta;
use lapse_crds::RequestPhase;
use lapse_e2e::plane::proxy::Behaviour;
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::json;

use crate::world::{SOON, World};

/// Nothing is given without the webhook; nothing fails for good either. The request says what it waits for,
/// and not by which path the webhook is called.
#[tokio::test]
async fn with_the_webhook_down_nothing_is_given_until_it_answers() {
    let world = World::own("stolen-outage", InstallOptions::default()).await;
    let start = lapse_cluster::clock::now() + TimeDelta::seconds(20);
    world.ask("fix", json!({"startTime": lapse_crds::Timestamp::new(start)})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Scheduled).await;
    world.lapse.proxy.set_behaviour(Behaviour::Refuse);
    let waiting = eventually("the request to say what it waits for", SOON, async || {
        let status = world.status("fix").await;
        let granted = status.conditions.iter().find(|c| c.r#type == "Granted").cloned();
        Ok(granted.filter(|granted| granted.message.contains("confine.lapse.dev")))
    })
    .await
    .unwrap();
    assert!(waiting.message.contains("gave no answer in time"), "{waiting:?}");
    assert!(!waiting.message.contains("https://"), "{waiting:?}");
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending);
    assert!(!world.can_write(&world.alice).await);
    world.lapse.proxy.set_behaviour(Behaviour::Forward);
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}
