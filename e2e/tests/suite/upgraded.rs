//! From the release before to this one, and back, with rights that are held.

use std::path::PathBuf;
use std::sync::Arc;

use lapse_crds::{EndReason, RequestPhase};
use lapse_e2e::plane::InstallOptions;
use lapse_e2e::plane::install::NAMESPACE;
use serde_json::json;

use crate::world::World;

/// The earlier release: a checkout with its programs built.
const PREVIOUS: &str = "LAPSE_PREVIOUS";

fn previous() -> InstallOptions {
    let folder = PathBuf::from(std::env::var_os(PREVIOUS).unwrap());
    InstallOptions {
        chart: Some(folder.join("charts/lapse")),
        programs: Some(folder.join("target/debug")),
        ..InstallOptions::default()
    }
}

/// Puts another release in the place of the one that runs, by some command of Helm.
async fn replaced(world: &mut World, options: InstallOptions, rollback: Option<&str>) {
    let mut next = world.lapse.release(options).await.unwrap();
    match rollback {
        None => drop(next.upgrade(&[]).await.unwrap()),
        Some(revision) => {
            // As docs/upgrade.md says of a url, for a revision from before the webhook wrote its path.
            let force = "--force-conflicts";
            let args = ["rollback", "lapse", revision, "--namespace", NAMESPACE, force];
            world.lapse.plane().helm(&args).await.unwrap().ok().unwrap();
        }
    }
    world.lapse.stop().await.unwrap();
    next.run().await.unwrap();
    world.lapse = Arc::new(next);
}

#[tokio::test]
#[ignore = "takes an earlier release, with its programs built: see CONTRIBUTING.md"]
async fn rights_live_through_an_upgrade_from_the_release_before_and_back() {
    let mut world = World::own("upgraded", previous()).await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    world.ask("asked", json!({})).await;
    world.waits("asked", "1 of").await;
    let answered = world.status("held").await;

    replaced(&mut world, InstallOptions::default(), None).await;
    assert!(world.can_write(&world.alice).await, "the right lives on");
    assert_eq!(world.status("held").await.phase, answered.phase);
    // What was asked and signed before is approved after, and the other way round below.
    world.approve(&world.bob, "asked").await.unwrap();
    world.phase("asked", RequestPhase::Active).await;
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    let ended = world.ended(&held.metadata.name.unwrap()).await;
    assert_eq!(ended.status.unwrap().end_reason, Some(EndReason::EndedByRequester));
    assert!(world.can_write(&world.alice).await, "by the other right");
    world.ask("later", json!({})).await;
    world.waits("later", "1 of").await;

    replaced(&mut world, previous(), Some("1")).await;
    assert!(world.can_write(&world.alice).await, "the right lives on");
    world.approve(&world.bob, "later").await.unwrap();
    world.phase("later", RequestPhase::Active).await;
    for name in ["asked", "later"] {
        world.decide(&world.alice, name, json!({"verdict": "End"})).await.unwrap();
        let grant = world.grant(name).await;
        world.ended(&grant.metadata.name.unwrap()).await;
    }
    world.locked_out(&world.alice).await;
}
