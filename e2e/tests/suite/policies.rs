//! Policies that deny, that are on trial, and that select namespaces by their labels.

use kube::Api;
use lapse_crds::{Conditions as _, EndReason, JitPolicy, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use crate::world::{SOON, World, refused};

fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn lockout(world: &World) -> Value {
    let alice = json!([{"kind": "User", "name": world.alice.name}]);
    json!({
        "effect": "Deny", "requesters": alice, "targets": [{"all": true}],
        "description": "Locked out while an incident is looked into.",
    })
}

#[tokio::test]
async fn a_deny_policy_ends_what_it_matches_and_wins_over_all_others() {
    let world = World::shared("lockout").await;
    world.granted("fix", json!({})).await;
    world.ask("waiting", json!({})).await;
    world.phase("waiting", RequestPhase::Pending).await;
    world.apply(policy("lockout-alice", &lockout(&world))).await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::DeniedByPolicy));
    world.locked_out(&world.alice).await;
    let status = world.phase("waiting", RequestPhase::Denied).await;
    assert_eq!(status.policy.as_ref().unwrap().name, "lockout-alice");
    assert!(status.checks[0].message.contains("Locked out while an incident"), "{status:?}");

    // Self-service or not, right after the policy or later: it is denied.
    world.self_service().await;
    world.ask("again", json!({})).await;
    world.phase("again", RequestPhase::Denied).await;
    assert!(!world.can_write(&world.alice).await);
}

/// Whoever looks for what is denied reads these alone, and a policy that does not say allows.
#[tokio::test]
async fn policies_are_selected_by_their_effect() {
    let world = World::shared("effect").await;
    world.apply(policy("effect-deny", &lockout(&world))).await;
    let select = async |effect: &str| {
        let selector = format!("--field-selector=spec.effect={effect}");
        let args = ["get", "jp", &selector, "--output=name"];
        world.kubectl(&world.admin, &args, None).await.unwrap()
    };
    let (denying, allowing) = (select("Deny").await, select("Allow").await);
    assert!(denying.contains("/effect-deny\n") && !denying.contains("/effect\n"), "{denying}");
    assert!(allowing.contains("/effect\n") && !allowing.contains("/effect-deny\n"), "{allowing}");
}

#[tokio::test]
async fn a_request_right_after_a_deny_policy_is_never_given() {
    let world = World::shared("race").await;
    world.self_service().await;
    for round in 0..5 {
        let name = format!("race-deny-{round}");
        world.apply(policy(&name, &lockout(&world))).await;
        let request = format!("fix-{round}");
        world.ask(&request, json!({})).await;
        world.phase(&request, RequestPhase::Denied).await;
        world.kubectl(&world.admin, &["delete", "jitpolicy", &name], None).await.unwrap();
    }
}

#[tokio::test]
async fn on_trial_nothing_is_given_and_what_would_have_happened_is_said() {
    let world = World::shared("trial").await;
    world.granted("held", json!({})).await;
    world.policy(json!({"mode": "Audit"})).await;
    let status = world.phase("held", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::PolicyDisabled));
    world.ask("fix", json!({})).await;
    let status = world.phase("fix", RequestPhase::Denied).await;
    let approved = status.conditions.condition("Approved").unwrap();
    assert_eq!(approved.reason, "AuditMode");
    assert_eq!(
        approved.message,
        "JitPolicy trial is in audit mode: the request would have been granted for 10m once approved by 1 of group \
         trial-managers."
    );
    assert!(!world.can_write(&world.alice).await);

    // Beside another policy it is recorded, and never decides.
    world
        .policy_named("trial-in-force", json!({"approval": {"stages": []}, "priority": 200}))
        .await;
    world.ask("unnamed", json!({"policy": null})).await;
    let status = world.phase("unnamed", RequestPhase::Active).await;
    assert_eq!(status.policy.unwrap().name, "trial-in-force");
    let candidate = status.candidates.iter().find(|candidate| candidate.policy == "trial").unwrap();
    assert!(
        candidate.reason.starts_with("it is in audit mode; it would allow it"),
        "{candidate:?}"
    );
}

#[tokio::test]
async fn namespaces_are_selected_by_their_labels_as_they_are() {
    let world = World::shared("labels").await;
    let selector = json!({"selector": {"matchLabels": {"labels-team": "shop"}}});
    let target = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": selector,
    }}]);
    world.policy(json!({"targets": target})).await;
    world.ask("too-early", json!({})).await;
    let status = world.phase("too-early", RequestPhase::Denied).await;
    let said = status.checks.iter().map(|check| &*check.message).collect::<Vec<_>>().join(" ");
    assert!(said.contains("offers ClusterRole edit in namespaces with labels-team=shop"), "{said}");

    let label = async |value: &str| {
        let args = ["label", "namespace", "labels", "--overwrite", value];
        world.kubectl(&world.admin, &args, None).await.unwrap();
    };
    label("labels-team=shop").await;
    world.granted("fix", json!({})).await;
    label("labels-team=bank").await;
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::RequesterNotAllowed));
    world.locked_out(&world.alice).await;
}

/// "Every namespace" is every ordinary one.
#[tokio::test]
async fn every_namespace_is_none_of_the_protected() {
    let world = World::shared("every").await;
    let role = json!({"kind": "ClusterRole", "name": "edit"});
    let target = json!({"kubernetes": {"roles": [role], "namespaces": {"all": true}}});
    world.policy(json!({"targets": [target]})).await;
    for protected in ["kube-system", "lapse-system"] {
        let target = json!({"kubernetes": {"role": role, "namespaces": [protected]}});
        world.ask(protected, json!({"target": target})).await;
        let status = world.phase(protected, RequestPhase::Denied).await;
        let said = &status.conditions.condition("Evaluated").unwrap().message;
        assert!(said.contains(protected), "{said}");
    }
    world.granted("fix", json!({})).await;
}

#[tokio::test]
async fn what_means_nothing_is_refused() {
    let world = World::shared("meaningless").await;
    let group = json!([{"kind": "Group", "name": "developers"}]);
    let apply = async |changes: Value| world.dry_run(changes).await;
    let everything = json!([{"all": true}]);
    let spec = json!({"requesters": group, "targets": everything});
    refused(apply(spec).await, "all is allowed with effect Deny alone");
    let spec = json!({
        "effect": "Deny", "requesters": group, "targets": everything, "duration": {"max": "1h"},
    });
    refused(apply(spec).await, "approval, emergency, session and retention");
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"selector": {}},
    }}]);
    refused(apply(json!({"requesters": group, "targets": targets})).await, "an empty selector");
    let targets = json!([{"all": true, "kubernetes": {"roles": []}}]);
    refused(
        apply(json!({"effect": "Deny", "requesters": group, "targets": targets})).await,
        "exactly one kind",
    );
    let spec = json!({"effect": "Deny", "requesters": group, "targets": everything});
    apply(spec).await.unwrap();
}

/// The policy comes before its role, as with one manifest for both.
#[tokio::test]
async fn a_policy_whose_role_does_not_exist_is_not_ready_until_it_does() {
    let role = "controller.bindableRoles[4].kind=Role,controller.bindableRoles[4].name=mend";
    let options = InstallOptions { set: vec![role.to_owned()], ..InstallOptions::default() };
    let world = World::own("mending", options).await;
    let targets = json!([{"kubernetes": {
        "roles": [{"kind": "Role", "name": "mend"}], "namespaces": {"names": ["mending"]},
    }}]);
    world.policy(json!({"targets": targets})).await;
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let ready = async || {
        let status = policies.get("mending").await.unwrap().status.unwrap();
        let ready = status.conditions.into_iter().next().unwrap();
        (ready.reason, ready.message)
    };
    let (reason, message) = ready().await;
    assert_eq!(reason, "RoleNotFound");
    assert_eq!(
        message,
        "there is no Role mend in namespace mending: requests for it are denied until it exists"
    );
    let mend = json!({"kubernetes": {"role": {"kind": "Role", "name": "mend"}}});
    world.ask("too-early", json!({"target": mend})).await;
    let status = world.phase("too-early", RequestPhase::Denied).await;
    let said = &status.conditions.condition("Evaluated").unwrap().message;
    assert!(said.contains("Role mend does not exist"), "{said}");
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "mend"}, "rules": rules,
        }))
        .await;
    eventually("the role to be found", SOON, async || {
        Ok((ready().await.0 == "Valid").then_some(()))
    })
    .await
    .unwrap();
    world.kubectl(&world.admin, &["delete", "role", "mend", "-n", "mending"], None).await.unwrap();
    eventually("the role to be missed", SOON, async || {
        Ok((ready().await.0 == "RoleNotFound").then_some(()))
    })
    .await
    .unwrap();
}
