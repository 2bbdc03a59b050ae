//! A token of the controller that rewrites what became of rights, and deletes who said no.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest, EndReason, Grant, GrantRef, RequestPhase};
use serde_json::json;

use super::{confined, forbidden, moved_to, request, thief, times_confined};
use crate::world::World;

/// What was ended stays ended: neither the status nor the Grant brings it back.
#[tokio::test]
async fn has_nothing_granted_again_that_has_ended() {
    let world = World::shared("stolen-status").await;
    world.granted("fix", json!({})).await;
    let name = world.grant("fix").await.name_any();
    // Somebody pulled the plug, and decided nothing: no Deny is left that says so.
    world.grants().delete(&name, &DeleteParams::default()).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
    let client = thief(&world, "lapse-controller").await;
    let requests: Api<AccessRequest> = Api::namespaced(client.clone(), &world.ns);
    let params = PatchParams::default();
    let statuses = [
        json!({"phase": "Pending", "grant": null, "endedAt": null, "endReason": null}),
        json!({"phase": "Active"}),
        json!({"grant": null}),
        json!({"grant": {"name": name, "uid": "another"}}),
        json!({"endReason": "Expired"}),
    ];
    for status in statuses {
        let patch = Patch::Merge(json!({"status": status}));
        forbidden(requests.patch_status("fix", &params, &patch).await, "lapse-status-final");
    }
    let nothing = Patch::Merge(json!({"status": null}));
    forbidden(requests.patch_status("fix", &params, &nothing).await, "lapse-status-final");

    world.granted("other", json!({})).await;
    world.decide(&world.alice, "other", json!({"verdict": "End"})).await.unwrap();
    world.phase("other", RequestPhase::Ended).await;
    let ended = world.grant("other").await;
    let grants: Api<Grant> = Api::all(client.clone());
    let statuses = [
        json!({"phase": "Pending", "endedAt": null, "endReason": null}),
        json!({"phase": "Active"}),
        json!({"bindings": []}),
        json!({"endReason": "Expired"}),
    ];
    for status in statuses {
        let patch = Patch::Merge(json!({"status": status}));
        let patched = grants.patch_status(&ended.name_any(), &params, &patch).await;
        forbidden(patched, "lapse-status-final");
    }
    // The Grant itself goes, and does not come again.
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    grants.patch(&ended.name_any(), &params, &freed).await.unwrap();
    grants.delete(&ended.name_any(), &DeleteParams::default()).await.unwrap();
    let again = moved_to(&world, &ended, "other").await;
    confined(grants.create(&PostParams::default(), &again).await, "the request is Ended");
    world.locked_out(&world.alice).await;
    let last = request(&world, "fix").await.status.unwrap();
    assert_eq!((last.phase, last.end_reason), (RequestPhase::Ended, Some(EndReason::GrantDeleted)));
    let recorded = last.grant.unwrap();
    assert_eq!(recorded, GrantRef { name, uid: recorded.uid.clone() });
}

#[tokio::test]
async fn deletes_no_decision_before_its_time() {
    let world = World::shared("stolen-decisions").await;
    world.granted("held", json!({})).await;
    world.denied("denied").await;
    let before = times_confined(&world, "AccessDecision").await;
    let client = thief(&world, "lapse-controller").await;
    let decisions: Api<AccessDecision> = Api::namespaced(client, &world.ns);
    let all = decisions.list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 2);
    for decision in &all {
        let deleted = decisions.delete(&decision.name_any(), &DeleteParams::default()).await;
        confined(deleted, "stays");
        let dry_run = DeleteParams { dry_run: true, ..DeleteParams::default() };
        confined(decisions.delete(&decision.name_any(), &dry_run).await, "stays");
    }
    let (params, all) = (DeleteParams::default(), ListParams::default());
    forbidden(decisions.delete_collection(&params, &all).await, "cannot deletecollection");
    assert_eq!(decisions.list(&ListParams::default()).await.unwrap().items.len(), 2);
    assert!(times_confined(&world, "AccessDecision").await - before >= 4.0);
}
