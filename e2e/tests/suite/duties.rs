//! Separation of duties: nobody holds, or approves, rights by two policies that are kept apart.

use kube::Api;
use kube::api::PostParams;
use lapse_cluster::clock;
use lapse_crds::{AccessRequest, AccessRequestStatus, CheckName, RequestPhase, Timestamp};
use lapse_e2e::plane::{User, eventually};
use serde_json::json;

use crate::world::{SOON, World, refused};

/// The policy of the corner, and another that keeps itself apart from it, by which managers and
/// developers are given what they ask for at once.
async fn corner(name: &str) -> (World, String) {
    let world = World::shared(name).await;
    let other = format!("{name}-other");
    let group = |who: &str| json!({"kind": "Group", "name": format!("{name}-{who}")});
    let separation = json!([{"policy": name}]);
    world
        .policy_named(
            &other,
            json!({
                "requesters": [group("developers"), group("managers")],
                "approval": {"stages": []}, "separationOfDuties": separation,
            }),
        )
        .await;
    (world, other)
}

async fn ask_as(world: &World, who: &User, name: &str, policy: &str) {
    let request = world.request(name, json!({"policy": policy}));
    let api: Api<AccessRequest> = world.api(who);
    api.create(&PostParams::default(), &request).await.unwrap();
}

fn said(status: &AccessRequestStatus) -> &str {
    let check = |name| status.checks.iter().find(|check| check.name == name);
    &check(CheckName::SeparationOfDuties).unwrap().message
}

#[tokio::test]
async fn nobody_holds_or_approves_both() {
    let (world, other) = corner("duties").await;
    ask_as(&world, &world.bob, "held", &other).await;
    world.phase("held", RequestPhase::Active).await;
    world.ask("fix", json!({})).await;
    let words = format!("bob-duties holds access under JitPolicy {other} until");
    world.refuses_approval(&world.bob, "fix", &words).await;
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    assert_eq!(world.grant("fix").await.spec.approved_by, ["ben-duties"]);

    ask_as(&world, &world.ben, "by-its-approver", &other).await;
    let status = world.phase("by-its-approver", RequestPhase::Denied).await;
    assert!(
        said(&status).starts_with("You have approved access under JitPolicy duties"),
        "{status:?}"
    );
    ask_as(&world, &world.alice, "by-its-holder", &other).await;
    let status = world.phase("by-its-holder", RequestPhase::Denied).await;
    assert!(said(&status).starts_with("You hold access under JitPolicy duties"), "{status:?}");

    // It lasts as long as the right.
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    ask_as(&world, &world.alice, "afterwards", &other).await;
    world.phase("afterwards", RequestPhase::Active).await;
}

#[tokio::test]
async fn an_approval_does_not_count_while_its_author_holds_the_other() {
    let (world, other) = corner("duties-later").await;
    let start = Timestamp::new(clock::now() + chrono::TimeDelta::hours(1)).to_string();
    world.ask("later", json!({"startTime": start})).await;
    world.approve(&world.bob, "later").await.unwrap();
    world.phase("later", RequestPhase::Scheduled).await;
    ask_as(&world, &world.bob, "held", &other).await;
    world.phase("held", RequestPhase::Active).await;
    let status = world.phase("later", RequestPhase::Pending).await;
    let approved = status.conditions.iter().find(|c| c.r#type == "Approved").unwrap();
    let words = "The approval by bob-duties-later does not count for now";
    assert!(approved.message.contains(words), "{approved:?}");
    world.decide(&world.bob, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("later", RequestPhase::Scheduled).await;
}

/// bob approves what alice asks for while he is given what is kept apart: one of the two waits or is denied.
#[tokio::test]
async fn a_race_between_two_people_gives_nobody_both() {
    let (world, other) = corner("duties-race").await;
    for round in 0..5 {
        let (hers, his) = (format!("hers-{round}"), format!("his-{round}"));
        world.ask(&hers, json!({})).await;
        world.phase(&hers, RequestPhase::Pending).await;
        // Either may be refused at once.
        let (approved, ()) = tokio::join!(
            world.approve(&world.bob, &hers),
            ask_as(&world, &world.bob, &his, &other)
        );
        let his_phase = eventually("his request to be decided", SOON, async || {
            let phase = world.status(&his).await.phase;
            Ok((phase != RequestPhase::Pending).then_some(phase))
        })
        .await
        .unwrap();
        if his_phase == RequestPhase::Denied {
            assert!(approved.is_ok(), "{approved:?}");
            world.phase(&hers, RequestPhase::Active).await;
            world.decide(&world.alice, &hers, json!({"verdict": "End"})).await.unwrap();
            world.phase(&hers, RequestPhase::Ended).await;
            continue;
        }
        assert_eq!(his_phase, RequestPhase::Active);
        assert_eq!(world.status(&hers).await.phase, RequestPhase::Pending);
        world.decide(&world.alice, &hers, json!({"verdict": "End"})).await.unwrap();
        world.phase(&hers, RequestPhase::Withdrawn).await;
        world.decide(&world.bob, &his, json!({"verdict": "End"})).await.unwrap();
        world.phase(&his, RequestPhase::Ended).await;
    }
}

#[tokio::test]
async fn a_separation_that_cannot_be_is_refused() {
    let world = World::shared("duties-wrong").await;
    let apply = async |apart: serde_json::Value, deny: bool| {
        let mut policy = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": "duties-wrong-policy"},
            "spec": {"requesters": [], "targets": [], "separationOfDuties": apart},
        });
        if deny {
            policy["spec"]["effect"] = json!("Deny");
        }
        let args = ["apply", "--dry-run=server", "-f", "-"];
        world.kubectl(&world.admin, &args, Some(&policy.to_string())).await
    };
    let other = json!([{"policy": "other"}]);
    refused(
        apply(json!([{"policy": "duties-wrong-policy"}]), false).await,
        "spec.separationOfDuties[0].policy: is duties-wrong-policy, the policy itself",
    );
    refused(apply(json!([other[0], other[0]]), false).await, "Duplicate value");
    refused(
        apply(json!([{"policy": "../other"}]), false).await,
        "spec.separationOfDuties[0].policy",
    );
    refused(apply(other.clone(), true).await, "limits, separationOfDuties, conditions");
    apply(other, false).await.unwrap();
}
