//! Break-glass: at once, marked everywhere, and reviewed by somebody else afterwards.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use lapse_crds::{
    AccessRequest, AccessRequestStatus, CheckName, Conditions as _, EndReason, Grant, RequestPhase,
    ReviewOutcome,
};
use lapse_e2e::plane::eventually;
use serde_json::{Value, json};

use crate::world::{SOON, World, refused};

/// Reviewed by mallory, who approves nothing, and by alice's own group.
fn emergency(world: &World, within: &str) -> Value {
    let reviewers = json!([
        {"kind": "User", "name": world.mallory.name},
        {"kind": "Group", "name": format!("{}-developers", world.ns)},
    ]);
    let review = json!({"within": within, "reviewers": reviewers});
    json!({"emergency": {"maxDuration": "10m", "maxUnreviewed": 2, "review": review}})
}

fn review(outcome: &str) -> Value {
    json!({"verdict": "Review", "outcome": outcome})
}

/// Alice calls an emergency, and has it.
async fn called(world: &World, name: &str) -> Grant {
    world.ask(name, json!({"emergency": true})).await;
    world.phase(name, RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    world.grant(name).await
}

/// Alice calls an emergency, and is told why not.
async fn refused_by_limits(world: &World, name: &str, words: &str) {
    world.ask(name, json!({"emergency": true})).await;
    let status: AccessRequestStatus = world.phase(name, RequestPhase::Denied).await;
    let limits = status.checks.iter().find(|check| check.name == CheckName::Limits).unwrap();
    assert!(limits.message.contains(words), "{}", limits.message);
}

/// Waits until a Grant says this of its review.
async fn reviewed(world: &World, grant: &str, reason: &str) -> Grant {
    let grants = world.grants();
    eventually(&format!("the review of {grant} to be {reason}"), SOON, async || {
        let grant = grants.get(grant).await?;
        let status = grant.status.as_ref();
        let condition = status.and_then(|status| status.conditions.condition("Reviewed"));
        let is_so = condition.is_some_and(|condition| condition.reason == reason);
        Ok(is_so.then_some(grant))
    })
    .await
    .unwrap()
}

fn name(grant: &Grant) -> String {
    grant.metadata.name.clone().unwrap()
}

#[tokio::test]
async fn somebody_else_reviews_what_was_taken_without_asking() {
    let world = World::shared("emergency").await;
    world.policy(emergency(&world, "24h")).await;
    let night = called(&world, "night").await;
    world.told("night", "EmergencyGranted").await;
    let status = world.status("night").await;
    assert_eq!(status.conditions.condition("Approved").unwrap().reason, "Emergency");
    assert!(status.review.unwrap().outcome.is_none());
    let of_emergencies = ListParams::default().fields("spec.emergency=true");
    let listed = world.grants().list(&of_emergencies).await.unwrap().items;
    assert!(listed.iter().any(|grant| name(grant) == name(&night)));
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let binding = &night.status.as_ref().unwrap().bindings[0].name;
    let annotations = bindings.get(binding).await.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations["lapse.dev/emergency"], "true");

    // Nobody reviews an own emergency: not as one of a group, nor with another certificate.
    let own = "nobody may review their own emergency";
    refused(world.decide(&world.alice, "night", review("Justified")).await, own);
    let group = format!("{}-developers", world.ns);
    let again = world.lapse.plane().user(&world.alice.name, &[&group]).await.unwrap();
    refused(world.decide(&again, "night", review("Justified")).await, own);
    refused(world.decide(&world.bob, "night", review("Justified")).await, "is not a reviewer");
    let without = json!({"verdict": "Review"});
    refused(world.decide(&world.mallory, "night", without).await, "outcome (Justified or");
    refused(world.approve(&world.bob, "night").await, "already approved");

    // Deleting the request ends the right, and pays no debt.
    let requests: Api<AccessRequest> = world.api(&world.alice);
    requests.delete("night", &DeleteParams::default()).await.unwrap();
    world.locked_out(&world.alice).await;
    let second = called(&world, "second").await;
    refused_by_limits(&world, "third", "2 emergencies whose review is awaited").await;
    world.decide(&world.mallory, "night", review("Justified")).await.unwrap();
    let night = reviewed(&world, &name(&night), "Justified").await;
    assert_eq!(night.status.unwrap().end_reason, Some(EndReason::RequestDeleted));
    let twice = world.decide(&world.mallory, "night", review("Unjustified")).await;
    refused(twice, &format!("already reviewed by {}", world.mallory.name));

    // A reviewer takes back what is held.
    world.decide(&world.mallory, "second", json!({"verdict": "Deny"})).await.unwrap();
    world.locked_out(&world.alice).await;
    world.ended(&name(&second)).await;
    called(&world, "fourth").await;
}

#[tokio::test]
async fn a_review_that_is_overdue_blocks_the_next_emergency() {
    let world = World::shared("overdue").await;
    world.policy(emergency(&world, "2s")).await;
    let grant = name(&called(&world, "night").await);
    reviewed(&world, &grant, "Overdue").await;
    world.told("night", "ReviewOverdue").await;
    refused_by_limits(&world, "next", "1 emergency whose review is overdue: night in overdue")
        .await;

    // Deleting the Grant ends the right, and it stays until somebody has reviewed it.
    let grants = world.grants();
    grants.delete(&grant, &DeleteParams::default()).await.unwrap();
    world.locked_out(&world.alice).await;
    let status = world.phase("night", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::GrantDeleted));
    refused_by_limits(&world, "another", "by").await;

    // When the policy says no more who reviews, whoever holds the verb does.
    world.policy(json!({})).await;
    let gone = "no longer says who reviews";
    refused(world.decide(&world.mallory, "night", review("Unjustified")).await, gone);
    world.decide(&world.admin, "night", review("Unjustified")).await.unwrap();
    eventually("the grant to go", SOON, async || {
        Ok(grants.get_opt(&grant).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    let outcome = world.status("night").await.review.unwrap().outcome;
    assert_eq!(outcome, Some(ReviewOutcome::Unjustified));
    world.policy(emergency(&world, "24h")).await;
    called(&world, "later").await;
}
