//! More time for a right that is held: a request of its own.

use lapse_crds::{CheckName, CheckOutcome, RequestPhase};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_right_that_is_held_is_extended_once_by_who_approves() {
    let world = World::shared("extension").await;
    let managers = json!([{"kind": "Group", "name": "extension-managers"}]);
    let stages = json!([{"name": "manager", "required": 1, "approvers": managers}]);
    world
        .policy(json!({
            "limits": {"openRequestsPerUser": 5, "activeGrantsPerUser": 1},
            "approval": {"stages": stages, "autoApprove": {"maxDuration": "10m"}},
        }))
        .await;
    world.ask("fix", json!({})).await;
    world.phase("fix", RequestPhase::Active).await;

    // What is short needs nobody, but more of it does; and it has the place of what it extends.
    world.ask("more", json!({"extends": "fix"})).await;
    world.phase("more", RequestPhase::Pending).await;
    world.ask("rival", json!({"extends": "fix"})).await;
    let status = world.phase("rival", RequestPhase::Denied).await;
    let failed = status.checks.iter().find(|check| check.outcome == CheckOutcome::Fail).unwrap();
    assert_eq!(failed.name, CheckName::Policy);
    assert!(failed.message.contains("already extended by more"), "{}", failed.message);
    world.approve(&world.bob, "more").await.unwrap();
    world.phase("more", RequestPhase::Active).await;
    assert_eq!(world.bindings().await.len(), 2);

    // The one does not end with the other.
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    assert!(world.can_write(&world.alice).await);
    // One that waits while what it extends ends is denied then.
    world.ask("longer", json!({"extends": "more"})).await;
    world.phase("longer", RequestPhase::Pending).await;
    world.decide(&world.alice, "more", json!({"verdict": "End"})).await.unwrap();
    world.phase("longer", RequestPhase::Denied).await;
    world.locked_out(&world.alice).await;
}
