//! Just enough: rights that a request spells out, by a role that is made for it and removed with it.

use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use lapse_crds::{EndReason, RbacKind, RequestPhase};
use serde_json::{Value, json};

use crate::world::{World, refused};

fn rules(verbs: &[&str], resources: &[&str]) -> Value {
    json!([{"apiGroups": [""], "resources": resources, "verbs": verbs}])
}

/// A self-service policy that offers rules in this namespace.
async fn offered(world: &World, rules: Value) {
    let targets = json!([{"kubernetes": {
        "rules": rules, "namespaces": {"names": [world.ns]}, "clusterWide": true, "allowEscalation": true,
    }}]);
    world.policy(json!({"targets": targets, "approval": {"stages": []}})).await;
}

fn asked(rules: &Value) -> Value {
    json!({"target": {"kubernetes": {"rules": rules}}})
}

#[tokio::test]
async fn a_request_spells_out_its_rules_and_gets_exactly_these() {
    let world = World::shared("rights").await;
    offered(&world, rules(&["get", "list", "create"], &["configmaps"])).await;
    world.ask("fix", asked(&rules(&["create"], &["configmaps"]))).await;
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    assert!(!world.may(&world.alice, "list", "configmaps").await);
    assert!(!world.may(&world.alice, "get", "secrets").await);
    let grant = world.grant("fix").await;
    let status = grant.status.unwrap();
    assert_eq!(status.roles[0].kind, RbacKind::Role);
    assert_eq!(status.roles[0].name, status.bindings[0].name);
    let args = ["get", "areq", "--namespace", &world.ns];
    let shown = world.kubectl(&world.alice, &args, None).await;
    assert!(
        shown.unwrap_or_default().contains("create configmaps in rights"),
        "TARGET says something else"
    );

    world.ask("more", asked(&rules(&["create", "delete"], &["configmaps"]))).await;
    let status = world.phase("more", RequestPhase::Denied).await;
    let target =
        status.checks.iter().find(|check| check.message.contains("was requested")).unwrap();
    assert_eq!(
        target.message,
        "create, delete configmaps in rights was requested, but JitPolicy rights offers rules (get, list, create \
         configmaps) in rights, the whole cluster. delete configmaps is not among what is allowed. Request no more \
         than that, or request under another policy."
    );

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
    let roles: Api<Role> = world.api(&world.admin);
    assert_eq!(roles.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn rules_in_the_whole_cluster_are_a_cluster_role_that_goes_too() {
    let world = World::shared("rights-wide").await;
    offered(&world, rules(&["create"], &["configmaps"])).await;
    let target = json!({"kubernetes": {
        "rules": rules(&["create"], &["configmaps"]), "clusterWide": true,
    }});
    world.ask("fix", json!({"target": target, "duration": "20s"})).await;
    world.phase("fix", RequestPhase::Active).await;
    world.let_in(&world.alice).await;
    let name = world.grant("fix").await.status.unwrap().roles[0].name.clone();
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    assert!(roles.get_opt(&name).await.unwrap().is_some());
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Expired));
    world.locked_out(&world.alice).await;
    assert!(roles.get_opt(&name).await.unwrap().is_none());
}

/// The role is Lapse's alone: nobody changes it, and without it there is no right.
#[tokio::test]
async fn nobody_changes_the_role_of_a_grant() {
    let world = World::shared("rights-changed").await;
    offered(&world, rules(&["create"], &["configmaps"])).await;
    world.ask("fix", asked(&rules(&["create"], &["configmaps"]))).await;
    world.phase("fix", RequestPhase::Active).await;
    let name = world.grant("fix").await.status.unwrap().roles[0].name.clone();
    let roles: Api<Role> = world.api(&world.admin);
    let wider = json!({"rules": rules(&["*"], &["*"])});
    let params = PatchParams::default();
    let changed = roles.patch(&name, &params, &Patch::Merge(&wider)).await;
    refused(changed.map_err(Into::into), "belong to what Lapse itself grants");
    roles.delete(&name, &DeleteParams::default()).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::BindingDeleted));
    world.locked_out(&world.alice).await;
}

#[tokio::test]
async fn a_deny_policy_by_rules_locks_out_whoever_holds_any_of_them() {
    let world = World::shared("rights-denied").await;
    world.granted("by-role", json!({})).await;
    offered(&world, rules(&["create", "get"], &["configmaps"])).await;
    let deny = |target: Value| {
        let requesters = json!([{"kind": "User", "name": world.alice.name}]);
        world.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": "rights-denied-freeze"},
            "spec": {"effect": "Deny", "requesters": requesters, "targets": [{"kubernetes": target}]},
        }))
    };
    let here = json!({"names": [world.ns]});
    let one = rules(&["create"], &["configmaps"]);
    deny(json!({"rules": one, "namespaces": here})).await;
    let status = world.phase("by-role", RequestPhase::Ended).await;
    assert!(status.end_reason.is_some());
    world.locked_out(&world.alice).await;
    world.ask("same", asked(&one)).await;
    world.phase("same", RequestPhase::Denied).await;
    world.ask("other", asked(&rules(&["get"], &["configmaps"]))).await;
    world.phase("other", RequestPhase::Active).await;

    // A role that contains them denies them, too.
    let edit = json!([{"kind": "ClusterRole", "name": "edit"}]);
    deny(json!({"rules": [], "roles": edit, "namespaces": here})).await;
    let status = world.phase("other", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::DeniedByPolicy));
}

#[tokio::test]
async fn rules_that_mean_nothing_are_refused_with_their_field() {
    let world = World::shared("rights-wrong").await;
    let ask = async |target: Value| {
        let target = json!({"target": {"kubernetes": target}});
        let request = serde_json::to_string(&world.request("wrong", target)).unwrap();
        world.kubectl(&world.alice, &["create", "-f", "-"], Some(&request)).await
    };
    let role = json!({"kind": "ClusterRole", "name": "edit"});
    let one = rules(&["get"], &["pods"]);
    refused(ask(json!({"role": role, "rules": one})).await, "exactly one of role");
    refused(ask(json!({"namespaces": ["rights-wrong"]})).await, "exactly one of role");
    refused(ask(json!({"rules": []})).await, "exactly one of role");
    let field = "spec.target.kubernetes.rules[0].verbs";
    refused(ask(json!({"rules": rules(&[], &["pods"])})).await, field);
    refused(ask(json!({"rules": rules(&["g*"], &["pods"])})).await, field);
    let url = json!([{"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]);
    refused(ask(json!({"rules": url})).await, "apply to the whole cluster only");

    let policy = async |rules: Value| {
        let targets =
            json!([{"kubernetes": {"rules": rules, "namespaces": {"names": [world.ns]}}}]);
        world.dry_run(json!({"targets": targets})).await
    };
    refused(policy(rules(&["get"], &["secrets"])).await, "controller.grantableRules");
    refused(policy(rules(&["get"], &["*/x*"])).await, "spec.targets[0].kubernetes.rules[0]");
    policy(one).await.unwrap();
}
