//! Beside other admission, which puts its own on whatever is written.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{Conditions as _, Grant, RequestPhase};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use crate::world::{SOON, World};

impl World {
    /// Has every object of these groups carry labels and annotations of somebody else's, as Kyverno and Gatekeeper do.
    async fn mutated_by_others(&self, groups: &Value, labels: &str) {
        let rules = json!([{"apiGroups": groups, "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"]}]);
        let expression = format!(
            "Object{{metadata: Object.metadata{{labels: {labels}, annotations: {{'example.com/checked': 'yes'}}}}}}"
        );
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": "others"},
            "spec": {
                "matchConstraints": {"resourceRules": rules}, "failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "others"},
            "spec": {"policyName": "others"},
        });
        for object in [policy, binding] {
            let args = ["apply", "-f", "-"];
            self.kubectl(&self.admin, &args, Some(&object.to_string())).await.unwrap();
        }
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "probe"}, "rules": []});
        let offer = json!({"kubernetes": {"roles": [{"kind": "ClusterRole", "name": "view"}], "namespaces": {"names": [self.ns]}}});
        let spec = json!({
            "requesters": [{"kind": "Group", "name": "g"}], "targets": [offer], "duration": {"default": "1m", "max": "1m"},
        });
        let policy = json!({"apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "probe"}, "spec": spec});
        // An API server whose definitions are new looks up their types for this every now and then.
        let is_ours = groups.as_array().unwrap().contains(&json!("lapse.dev"));
        for probe in [Some(role), Some(policy).filter(|_| is_ours)].into_iter().flatten() {
            eventually("others to put their labels on", SOON, async || {
                let args = ["apply", "--dry-run=server", "-o", "yaml", "-f", "-"];
                let said = self.kubectl(&self.admin, &args, Some(&probe.to_string())).await;
                Ok(said.is_ok_and(|said| said.contains("example.com/checked")).then_some(()))
            })
            .await
            .unwrap();
        }
    }

    /// A policy that offers roles and rules, here and in the whole cluster, and a request for each of these.
    async fn asks_for_everything(&self) -> [&'static str; 4] {
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
        let edit = json!({"kind": "ClusterRole", "name": "edit"});
        let here = json!({"roles": [edit], "rules": rules, "namespaces": {"names": [self.ns]}});
        let wide =
            json!({"roles": [edit], "rules": rules, "clusterWide": true, "allowEscalation": true});
        let targets = json!([{"kubernetes": here}, {"kubernetes": wide}]);
        self.policy(json!({"targets": targets, "approval": {"stages": []}})).await;
        self.ask("role", json!({"target": {"kubernetes": {"role": edit}}})).await;
        self.ask("rules", json!({"target": {"kubernetes": {"rules": rules}}})).await;
        let target = json!({"kubernetes": {"role": edit, "clusterWide": true}});
        self.ask("role-anywhere", json!({"target": target})).await;
        let target = json!({"kubernetes": {"rules": rules, "clusterWide": true}});
        self.ask("rules-anywhere", json!({"target": target})).await;
        ["role", "rules", "role-anywhere", "rules-anywhere"]
    }
}

#[tokio::test]
async fn what_others_put_on_objects_is_let_be_where_it_gives_nothing() {
    let world = World::own("beside", InstallOptions::default()).await;
    let groups =
        json!(["rbac.authorization.k8s.io", "lapse.dev", "events.k8s.io", "coordination.k8s.io"]);
    world.mutated_by_others(&groups, "{'team': 'platform'}").await;
    let names = world.asks_for_everything().await;
    for name in names {
        world.phase(name, RequestPhase::Active).await;
    }
    let admin = world.admin.client.clone();
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse,team=platform");
    let roles: Api<Role> = world.api(&world.admin);
    assert_eq!(roles.list(&ours).await.unwrap().items.len(), 1);
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    assert_eq!(bindings.list(&ours).await.unwrap().items.len(), 2);
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    assert_eq!(roles.list(&ours).await.unwrap().items.len(), 1);
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    assert_eq!(bindings.list(&ours).await.unwrap().items.len(), 2);
    let grants: Api<Grant> = Api::all(admin);
    let all = grants.list(&ListParams::default()).await.unwrap();
    assert!(all.iter().all(|grant| grant.labels().contains_key("team")));
    for name in names {
        world.decide(&world.alice, name, json!({"verdict": "End"})).await.unwrap();
        world.phase(name, RequestPhase::Ended).await;
    }
    assert_eq!(world.bindings().await, Vec::<String>::new());
}

/// A label by which another role takes the rules over gives them to whoever holds that one.
#[tokio::test]
async fn by_no_label_another_role_takes_over_what_was_approved() {
    let world = World::own("aggregated", InstallOptions::default()).await;
    let collects =
        json!({"clusterRoleSelectors": [{"matchLabels": {"example.com/collect": "yes"}}]});
    let everything = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "collector"},
        "aggregationRule": collects, "rules": [],
    });
    world.apply(everything).await;
    let groups = json!(["rbac.authorization.k8s.io"]);
    world.mutated_by_others(&groups, "{'example.com/collect': 'yes'}").await;
    let names = world.asks_for_everything().await;
    for name in &names[..3] {
        world.phase(name, RequestPhase::Active).await;
    }
    eventually("what was approved for one person to be kept from others", SOON, async || {
        let conditions = world.status("rules-anywhere").await.conditions;
        let said = conditions.condition("Granted").map(|granted| granted.message.clone());
        let said = said.unwrap_or_default();
        Ok(said.contains("ClusterRole collector takes over its rules").then_some(()))
    })
    .await
    .unwrap();
}
