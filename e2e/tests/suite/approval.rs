//! Who may approve, who counts where, and what an approval is worth.

use lapse_crds::RequestPhase;
use lapse_e2e::plane::{User, eventually};
use serde_json::json;

use crate::rbac;
use crate::world::{SOON, World, refused};

impl World {
    /// Waits until somebody's approval is refused for this reason: the webhook learns by watches of what was said and given.
    pub(crate) async fn refuses_approval(&self, who: &User, request: &str, words: &str) {
        let approval = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": "tried", "namespace": self.ns},
            "spec": {"verdict": "Approve", "request": {"name": request}},
        });
        eventually(&format!("{request} not to be approved: {words}"), SOON, async || {
            let tried = self.tries(&who.client, &approval).await;
            let is_so = tried.is_err_and(|error| format!("{error:#}").contains(words));
            Ok(is_so.then_some(()))
        })
        .await
        .unwrap();
        refused(self.approve(who, request).await, words);
    }
}

#[tokio::test]
async fn admission_tells_people_why_not() {
    let world = World::shared("why-not").await;
    world.ask("fix", json!({})).await;
    refused(world.approve(&world.alice, "fix").await, "nobody may approve their own request");
    refused(world.approve(&world.mallory, "fix").await, "is not an approver of JitPolicy why-not");
    refused(world.approve(&world.bob, "no-such-request").await, "no-such-request");
    let wrong = json!({"verdict": "Approve", "request": {"name": "fix", "uid": "another"}});
    refused(world.decide(&world.bob, "fix", wrong).await, "UID");
    let long = json!({"verdict": "Approve", "duration": "2h"});
    refused(world.decide(&world.bob, "fix", long).await, "1s..1h");
    assert!(!world.can_write(&world.alice).await);

    world.approve(&world.bob, "fix").await.unwrap();
    world.refuses_approval(&world.bob, "fix", "already").await;
    world.phase("fix", RequestPhase::Active).await;
}

#[tokio::test]
async fn two_of_two_and_nobody_twice() {
    let world = World::shared("two-of-two").await;
    let approvers = json!([{"kind": "Group", "name": "two-of-two-managers"}]);
    let stages = json!([{"name": "managers", "required": 2, "approvers": approvers}]);
    world.policy(json!({"approval": {"stages": stages}})).await;
    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.refuses_approval(&world.bob, "fix", "has already approved").await;
    let status = world.phase("fix", RequestPhase::Pending).await;
    assert!(status.grant.is_none());
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}

#[tokio::test]
async fn an_approver_sets_a_shorter_time() {
    let world = World::shared("shorter").await;
    world.ask("fix", json!({"duration": "30m"})).await;
    let spec = json!({"verdict": "Approve", "duration": "2m"});
    world.decide(&world.bob, "fix", spec).await.unwrap();
    let status = world.phase("fix", RequestPhase::Active).await;
    let held = status.expires_at.unwrap().time() - status.starts_at.unwrap().time();
    assert_eq!(held.num_seconds(), 120);
}

#[tokio::test]
async fn an_approval_of_an_older_policy_is_void_and_can_be_given_again() {
    let world = World::shared("void").await;
    let approvers = json!([{"kind": "Group", "name": "void-managers"}]);
    let stages = json!([{"name": "managers", "required": 2, "approvers": approvers}]);
    world.policy(json!({"approval": {"stages": stages.clone()}})).await;
    world.ask("fix", json!({})).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.policy(json!({"approval": {"stages": stages}, "description": "Changed"})).await;
    world.approve(&world.ben, "fix").await.unwrap();
    let status = world.phase("fix", RequestPhase::Pending).await;
    assert!(status.grant.is_none(), "bob approved another policy");
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

#[tokio::test]
async fn a_decision_in_the_same_millisecond_as_its_request() {
    let world = World::shared("at-once").await;
    for round in 0..5 {
        let name = format!("fix-{round}");
        world.ask(&name, json!({})).await;
        // Nothing has looked at the request yet: admission judges what is stored, not the status.
        world.approve(&world.bob, &name).await.unwrap();
        world.phase(&name, RequestPhase::Active).await;
        world.let_in(&world.alice).await;
        world.decide(&world.alice, &name, json!({"verdict": "End"})).await.unwrap();
        world.phase(&name, RequestPhase::Ended).await;
        world.locked_out(&world.alice).await;
    }
}

#[tokio::test]
async fn without_the_verb_a_named_approver_cannot_approve() {
    let world = World::shared("no-verb").await;
    let approvers = json!([{"kind": "User", "name": world.mallory.name}]);
    let stages = json!([{"name": "owner", "required": 1, "approvers": approvers}]);
    world.policy(json!({"approval": {"stages": stages}})).await;
    world.ask("fix", json!({})).await;
    refused(world.approve(&world.mallory, "fix").await, "lacks the verb approve");
    assert!(!world.can_write(&world.alice).await);
}

/// Several requests are approved in one command: a file may hold as many decisions as one likes.
#[tokio::test]
async fn several_requests_are_approved_in_one_command() {
    let world = World::shared("bulk").await;
    let names = ["fix-a", "fix-b", "fix-c"];
    for name in names {
        world.ask(name, json!({})).await;
    }
    let decision = |name: &&str| {
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": format!("{name}-"), "namespace": world.ns},
            "spec": {"request": {"name": name}, "verdict": "Approve"},
        })
        .to_string()
    };
    let all: Vec<String> = names.iter().map(decision).collect();
    world.kubectl(&world.bob, &["create", "-f", "-"], Some(&all.join("\n"))).await.unwrap();
    for name in names {
        world.phase(name, RequestPhase::Active).await;
    }
}

/// The verb `approve` can be given for one policy: approvers of administration and of applications apart.
#[tokio::test]
async fn the_verb_holds_for_the_policies_that_it_names() {
    let world = World::shared("verb-of-one").await;
    let rule = json!({
        "apiGroups": ["lapse.dev"], "resources": ["jitpolicies"], "verbs": ["approve"],
        "resourceNames": ["verb-of-one-other"],
    });
    world.cluster_role("verb-of-one", json!([rule])).await;
    let mallory = rbac::user(&world.mallory.name);
    world.bind_everywhere("verb-of-one", "verb-of-one", &mallory).await;
    let approvers = json!([{"kind": "User", "name": world.mallory.name}]);
    let stages = json!([{"name": "owner", "required": 1, "approvers": approvers}]);
    world.policy(json!({"approval": {"stages": stages}})).await;
    world.policy_named("verb-of-one-other", json!({"approval": {"stages": stages}})).await;
    world.ask("fix", json!({})).await;
    world.ask("other", json!({"policy": "verb-of-one-other"})).await;
    refused(world.approve(&world.mallory, "fix").await, "lacks the verb approve");
    world.approve(&world.mallory, "other").await.unwrap();
    world.phase("other", RequestPhase::Active).await;
}
