//! The order of stages, and what happens when nobody answers.

use lapse_crds::{CheckName, Conditions as _, RequestPhase};
use lapse_e2e::plane::eventually;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World, refused};

fn one_of(name: &str, approver: &Value) -> Value {
    json!({"name": name, "required": 1, "approvers": [approver]})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name})
}

#[tokio::test]
async fn in_sequence_one_stage_after_the_other() {
    let world = World::shared("sequence").await;
    let stages =
        json!([one_of("manager", &user(&world.bob.name)), one_of("owner", &user(&world.ben.name))]);
    world.policy(json!({"approval": {"stages": stages, "order": "Sequential"}})).await;
    world.ask("fix", json!({})).await;
    refused(world.approve(&world.ben, "fix").await, "it waits for 1 of user bob-sequence; then");
    world.approve(&world.bob, "fix").await.unwrap();
    world.waits("fix", "1 of user ben-sequence").await;
    assert!(!world.can_write(&world.alice).await);
    world.approve(&world.ben, "fix").await.unwrap();
    let status = world.phase("fix", RequestPhase::Active).await;
    let stages = status.approval.unwrap().stages;
    let approved_by = |stage: usize| stages[stage].approved_by.join(" ");
    assert_eq!((approved_by(0), approved_by(1)), (world.bob.name.clone(), world.ben.name.clone()));
}

#[tokio::test]
async fn when_nobody_answers_others_are_asked() {
    let world = World::shared("escalation").await;
    let stages = json!([one_of("manager", &user(&world.bob.name))]);
    let escalation = json!({"after": "15s", "approvers": [user(&world.ben.name)]});
    world.policy(json!({"approval": {"stages": stages, "escalation": escalation}})).await;
    world.ask("fix", json!({})).await;
    refused(world.approve(&world.ben, "fix").await, "if nobody has answered by");
    world.told("fix", "Escalated").await;
    let approval = eventually("the status to say so", SOON, async || {
        let approval = world.status("fix").await.approval;
        Ok(approval.filter(|approval| approval.escalated_at.is_some()))
    })
    .await
    .unwrap();
    assert_eq!(
        approval.waiting_for.as_deref(),
        Some("1 of user bob-escalation, or user ben-escalation")
    );
    world.approve(&world.ben, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
}

#[tokio::test]
async fn an_own_request_where_the_policy_says_so() {
    let world = World::shared("own-request").await;
    let managers = json!({"kind": "Group", "name": "own-request-managers"});
    let approval = |allowed: &str| {
        json!({
            "requesters": [managers],
            "approval": {"stages": [one_of("manager", &managers)], "selfApproval": allowed},
        })
    };
    world.policy(approval("Forbid")).await;
    let request = world.request("fix", json!({}));
    world.api(&world.bob).create(&kube::api::PostParams::default(), &request).await.unwrap();
    refused(world.approve(&world.bob, "fix").await, "nobody may approve their own request");
    world.policy(approval("Allow")).await;
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

#[tokio::test]
async fn impersonation_approves_only_where_it_may() {
    let world = World::shared("as-bob").await;
    let stages = json!([one_of("manager", &json!({"kind": "Group", "name": "as-bob-managers"}))]);
    let with = |impersonation: &str| json!({"approval": {"stages": stages.clone(), "impersonation": impersonation}});
    world.policy(with("Forbid")).await;
    world.ask("fix", json!({})).await;
    let decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": "fix-", "namespace": world.ns},
        "spec": {"request": {"name": "fix"}, "verdict": "Approve"},
    })
    .to_string();
    let user = format!("--as={}", world.bob.name);
    let args = ["create", "-f", "-", &user, "--as-group=as-bob-managers"];
    refused(world.kubectl(&world.admin, &args, Some(&decision)).await, "credential ID");
    assert!(!world.can_write(&world.alice).await);
    // He himself may, and so may who impersonates him where the policy allows it.
    world.approve(&world.bob, "fix").await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.policy(with("Allow")).await;
    world.ask("again", json!({})).await;
    let again = decision.replace(r#""name":"fix""#, r#""name":"again""#);
    world.kubectl(&world.admin, &args, Some(&again)).await.unwrap();
    world.phase("again", RequestPhase::Active).await;
}

#[tokio::test]
async fn an_approval_names_what_was_read() {
    let world = World::shared("by-uid").await;
    let stages = json!([one_of("manager", &user(&world.bob.name))]);
    world.policy(json!({"approval": {"stages": stages, "requireUID": true}})).await;
    let request = world.ask("fix", json!({})).await;
    refused(world.approve(&world.bob, "fix").await, "set spec.request.uid");
    let named =
        json!({"verdict": "Approve", "request": {"name": "fix", "uid": request.metadata.uid}});
    world.decide(&world.bob, "fix", named).await.unwrap();
    world.phase("fix", RequestPhase::Active).await;
}

#[tokio::test]
async fn what_is_short_and_harmless_needs_nobody() {
    let world = World::shared("short").await;
    let stages = json!([one_of("manager", &user(&world.bob.name))]);
    let roles = json!([{"kind": "ClusterRole", "name": "edit"}]);
    world
        .policy(json!({
            "approval": {"stages": stages, "autoApprove": {"maxDuration": "5m"}},
            "targets": [{"kubernetes": {
                "roles": roles, "namespaces": {"names": ["short"]},
                "clusterWide": true, "allowEscalation": true,
            }}],
        }))
        .await;
    world.ask("too-long", json!({"duration": "6m"})).await;
    world.phase("too-long", RequestPhase::Pending).await;
    let everywhere = json!({"kubernetes": {"role": roles[0], "clusterWide": true}});
    world.ask("climbs", json!({"duration": "5m", "target": everywhere})).await;
    world.phase("climbs", RequestPhase::Pending).await;
    assert!(!world.can_write(&world.alice).await);

    world.ask("fix", json!({"duration": "5m"})).await;
    let status = world.phase("fix", RequestPhase::Active).await;
    let approved = status.conditions.condition("Approved").unwrap();
    assert_eq!(approved.reason, "AutoApproved");
    world.let_in(&world.alice).await;
    let waiting = world.status("climbs").await.approval.unwrap().waiting_for;
    assert_eq!(waiting.as_deref(), Some("1 of user bob-short"));
}

#[tokio::test]
async fn an_approver_is_told_what_the_role_can_do() {
    let world = World::shared("told-risk").await;
    world.ask("fix", json!({})).await;
    let decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": "fix-approved", "namespace": world.ns},
        "spec": {"request": {"name": "fix"}, "verdict": "Approve"},
    })
    .to_string();
    let plane = world.lapse.plane();
    let output = plane
        .kubectl_with_input(&world.bob, &["create", "-f", "-"], Some(&decision))
        .await
        .unwrap();
    let said = format!("{output:?}");
    assert!(said.contains("you approved alice-told-risk's request for"), "{said}");
    assert!(said.contains("In told-risk, this role can read secrets"), "{said}");
    assert!(said.contains("It can act as service accounts told-risk/default"), "{said}");
}

/// Whoever can run workloads beside a service account can act as it does.
#[tokio::test]
async fn a_role_is_refused_that_reaches_a_service_account_that_climbs() {
    let world = World::shared("reaches").await;
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "operator", "namespace": world.ns},
        }))
        .await;
    // The binding may stand anywhere; it is the account that is within reach.
    let operator = rbac::account(&world.ns, "operator");
    world.bind_everywhere("reaches-operator", "cluster-admin", &operator).await;
    world.ask("climbs", json!({})).await;
    let status = world.phase("climbs", RequestPhase::Denied).await;
    let risk = status.checks.iter().find(|check| check.name == CheckName::Risk).unwrap();
    let words = "act as service account reaches/operator, which holds ClusterRole cluster-admin";
    assert!(risk.message.contains(words), "{risk:?}");
    let view = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "view"}}});
    world.ask("looks", json!({"target": view})).await;
    world.phase("looks", RequestPhase::Pending).await;
}
