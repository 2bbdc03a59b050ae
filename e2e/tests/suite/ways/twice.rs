//! One person with several credentials, in several groups, in several places at the same instant.

use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{ListParams, PostParams};
use lapse_crds::{AccessDecision, AccessRequest, RequestPhase};
use serde_json::json;

use super::edit;
use crate::rbac;
use crate::world::{World, refused, typed};

/// alice is given the group of the approvers with another certificate: the name counts, not the credential.
#[tokio::test]
async fn nobody_approves_an_own_request_with_another_credential() {
    let world = World::shared("twice-own").await;
    world.ask("fix", json!({})).await;
    let plane = world.lapse.plane();
    let groups = ["twice-own-developers", "twice-own-managers"];
    for groups in [&groups[..], &groups[1..]] {
        let again = plane.user(&world.alice.name, groups).await.unwrap();
        refused(world.approve(&again, "fix").await, "nobody may approve their own request");
    }
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending);
    assert!(!world.can_write(&world.alice).await);
}

/// A service account that asks does not approve, with a second token or by its group.
#[tokio::test]
async fn a_service_account_does_not_approve_its_own_request() {
    let world = World::shared("twice-account").await;
    let ns = &world.ns;
    let accounts: Api<ServiceAccount> = world.api(&world.admin);
    let account: ServiceAccount = typed(json!({"metadata": {"name": "bot"}}));
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let group = format!("system:serviceaccounts:{ns}");
    let group = json!([{"kind": "Group", "name": group}]);
    world
        .policy(json!({
            "requesters": group, "targets": edit(ns),
            "approval": {"stages": [{"name": "any", "required": 1, "approvers": group}]},
        }))
        .await;
    let bot = rbac::account(ns, "bot");
    world.bind("bot-asks", "lapse:requester", &bot).await;
    world.bind_everywhere(&format!("{ns}-bot-approves"), "lapse:approver", &bot).await;
    let plane = world.lapse.plane();
    let (first, second) = (
        plane.service_account(ns, "bot").await.unwrap(),
        plane.service_account(ns, "bot").await.unwrap(),
    );
    let api: Api<AccessRequest> = world.api(&first);
    api.create(&PostParams::default(), &world.request("fix", json!({}))).await.unwrap();
    world.phase("fix", RequestPhase::Pending).await;
    for token in [&first, &second] {
        refused(world.approve(token, "fix").await, "nobody may approve their own request");
    }
    assert!(!world.can_write(&first).await);
}

/// bob approves ten times at the same instant, with two certificates: he counts once.
#[tokio::test]
async fn one_person_at_the_same_instant_counts_once() {
    let world = World::shared("twice-instant").await;
    let managers = json!([{"kind": "Group", "name": "twice-instant-managers"}]);
    world
        .policy(json!({"approval": {"stages": [
            {"name": "first", "required": 1, "approvers": managers},
            {"name": "second", "required": 1, "approvers": managers},
        ]}}))
        .await;
    world.ask("fix", json!({})).await;
    let again = world.lapse.plane().user(&world.bob.name, &["twice-instant-managers"]).await;
    let again = again.unwrap();
    let tries = (0..10).map(|n| world.approve(if n % 2 == 0 { &world.bob } else { &again }, "fix"));
    let accepted = join_all(tries).await.into_iter().flatten().count();
    assert!(accepted >= 1, "at least one of them is the first");
    let api: Api<AccessDecision> = world.api(&world.admin);
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), accepted);
    world.waits("fix", "1 of").await;
    assert_eq!(world.status("fix").await.phase, RequestPhase::Pending);
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}
