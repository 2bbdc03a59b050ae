//! What is Lapse's alone, tried by people who otherwise may do everything, and by the components'
//! own tokens. These rules stand in the API server itself and need no webhook.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, RequestPhase};
use lapse_e2e::plane::User;
use serde_json::{Value, json};

use crate::rbac::{binding as binding_to, cluster_role, user};
use crate::world::{World, refused, typed};

fn forbidden<T: std::fmt::Debug>(result: kube::Result<T>, policy: &str) {
    refused(result.map_err(Into::into), policy);
}

async fn component(world: &World, name: &str) -> User {
    world.lapse.plane().service_account("lapse-system", name).await.unwrap()
}

fn binding(name: &str, namespace: &str, role: &str, subjects: &Value) -> RoleBinding {
    typed(json!({
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "x"},
            "annotations": {"lapse.dev/grant-uid": "x"},
        },
        "roleRef": cluster_role(role),
        "subjects": subjects,
    }))
}

#[tokio::test]
async fn grants_and_status_are_written_by_the_controller_alone() {
    let world = World::shared("reserved-status").await;
    world.granted("fix", json!({})).await;
    let held = world.grant("fix").await;
    let mut forged = Grant::new("forged", held.spec.clone());
    forged.spec.subject.name.clone_from(&world.mallory.name);
    forbidden(world.grants().create(&PostParams::default(), &forged).await, "lapse-grants");

    let merge = |value: Value| Patch::Merge(value);
    let params = PatchParams::default();
    let requests: Api<AccessRequest> = world.api(&world.admin);
    let active = merge(json!({"status": {"phase": "Active"}}));
    forbidden(requests.patch_status("fix", &params, &active).await, "lapse-status");
    let name = held.metadata.name.unwrap();
    let ended = merge(json!({"status": {"phase": "Ended"}}));
    forbidden(world.grants().patch_status(&name, &params, &ended).await, "lapse-status");
    let policies: Api<JitPolicy> = Api::all(world.admin.client.clone());
    let ready = merge(json!({"status": {"activeGrants": 7}}));
    forbidden(policies.patch_status(&world.ns, &params, &ready).await, "lapse-status");
    let later = merge(json!({"spec": {"expiresAt": "2099-01-01T00:00:00Z"}}));
    refused(
        world.grants().patch(&name, &params, &later).await.map_err(Into::into),
        "cannot be changed",
    );
    let freed = merge(json!({"metadata": {"finalizers": null}}));
    forbidden(world.grants().patch(&name, &params, &freed).await, "lapse-grants");
    assert!(world.can_write(&world.alice).await);
}

#[tokio::test]
async fn decisions_stay() {
    let world = World::shared("reserved-decisions").await;
    world.ask("fix", json!({})).await;
    world.decide(&world.bob, "fix", json!({"verdict": "Deny"})).await.unwrap();
    world.phase("fix", RequestPhase::Denied).await;
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    let name = decisions.list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone();
    let params = DeleteParams::default();
    forbidden(decisions.delete(&name.unwrap(), &params).await, "lapse-decisions-kept");
    let all = decisions.delete_collection(&params, &ListParams::default()).await;
    forbidden(all, "lapse-decisions-kept");
    assert_eq!(decisions.list(&ListParams::default()).await.unwrap().items.len(), 1);
}

/// An owner that does not exist would have the garbage collector delete the object.
#[tokio::test]
async fn owners_and_finalizers_are_not_set_by_people() {
    let world = World::shared("reserved-owners").await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0"});
    for (name, field, value) in [
        ("owned", "ownerReferences", json!([owner])),
        ("kept", "finalizers", json!(["example.com/x"])),
    ] {
        let mut request = serde_json::to_value(world.request(name, json!({}))).unwrap();
        request["metadata"][field] = value.clone();
        let requests: Api<AccessRequest> = world.api(&world.alice);
        let created = requests.create(&PostParams::default(), &typed(request)).await;
        forbidden(created, "lapse-ownership");
        let late = format!("late-{name}");
        world.ask(&late, json!({})).await;
        let patch = Patch::Merge(json!({"metadata": {field: value}}));
        let patched = requests.patch(&late, &PatchParams::default(), &patch).await;
        forbidden(patched, "lapse-ownership");
    }
}

#[tokio::test]
async fn objects_under_its_names_and_labels_are_made_by_the_controller_alone() {
    let world = World::shared("reserved-rbac").await;
    let post = PostParams::default();
    let mallory = json!([user(&world.mallory.name)]);
    let bindings: Api<RoleBinding> = world.api(&world.admin);
    let named = {
        let mut binding = binding("lapse:mine", &world.ns, "view", &mallory);
        binding.metadata.labels = None;
        binding
    };
    forbidden(bindings.create(&post, &named).await, "lapse-rbac-reserved");
    let labelled = binding("mine", &world.ns, "view", &mallory);
    forbidden(bindings.create(&post, &labelled).await, "lapse-rbac-reserved");
    let wide = binding_to("ClusterRoleBinding", "lapse:mine", &cluster_role("view"), &mallory[0]);
    let wide: ClusterRoleBinding = typed(wide);
    let all: Api<ClusterRoleBinding> = Api::all(world.admin.client.clone());
    forbidden(all.create(&post, &wide).await, "lapse-rbac-reserved");

    // Nor is what the controller made changed by anybody.
    world.granted("fix", json!({})).await;
    let held = world.grant("fix").await.status.unwrap().bindings[0].name.clone();
    let more =
        Patch::Merge(json!({"subjects": [user(&world.alice.name), user(&world.mallory.name)]}));
    forbidden(bindings.patch(&held, &PatchParams::default(), &more).await, "lapse-rbac-reserved");
    let renamed = Patch::Merge(json!({"metadata": {"labels": {"lapse.dev/grant": null}}}));
    forbidden(
        bindings.patch(&held, &PatchParams::default(), &renamed).await,
        "lapse-rbac-reserved",
    );
    assert!(world.can_write(&world.alice).await);
}

/// A stolen token of the controller.
#[tokio::test]
async fn the_controller_binds_one_person_to_a_role_of_the_list_under_its_own_names() {
    let world = World::shared("reserved-controller").await;
    let thief = component(&world, "lapse-controller").await;
    let (ns, name) = (&world.ns, "lapse:stolen");
    let mallory = json!([user(&world.mallory.name)]);
    let everybody = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]);
    let two = json!([user("a"), user("b")]);
    let cases = [
        (binding("stolen", ns, "edit", &mallory), "lapse-controller-rbac"),
        (binding(name, ns, "edit", &everybody), "lapse-controller-rbac"),
        (binding(name, ns, "edit", &two), "lapse-controller-rbac"),
        (binding(name, "lapse-system", "edit", &mallory), "lapse-controller-rbac"),
        (binding(name, ns, "system:node", &mallory), "forbidden"),
    ];
    for (binding, words) in cases {
        let namespace = binding.metadata.namespace.clone().unwrap();
        let api: Api<RoleBinding> = Api::namespaced(thief.client.clone(), &namespace);
        forbidden(api.create(&PostParams::default(), &binding).await, words);
    }
    let api: Api<RoleBinding> = Api::namespaced(thief.client.clone(), ns);
    let others = format!("{ns}-developers");
    forbidden(api.delete(&others, &DeleteParams::default()).await, "lapse-controller-rbac");
}

/// A stolen token of the controller, and roles.
#[tokio::test]
async fn the_controller_makes_roles_of_what_it_may_hand_out_alone() {
    let world = World::shared("reserved-roles").await;
    let thief = component(&world, "lapse-controller").await;
    let role = |name: &str, resource: &str, label: &str| -> ClusterRole {
        typed(json!({
            "metadata": {
                "name": name,
                "labels": {
                    "app.kubernetes.io/managed-by": "lapse", "lapse.dev/grant": "stolen", label: "true",
                },
                "annotations": {"lapse.dev/grant-uid": "stolen"},
            },
            "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}],
        }))
    };
    let api: Api<ClusterRole> = Api::all(thief.client.clone());
    let own = "lapse.dev/grant";
    let aggregated = "rbac.authorization.k8s.io/aggregate-to-view";
    let cases = [
        (role("lapse:stolen", "secrets", own), "not currently held"),
        (role("stolen", "configmaps", own), "lapse-controller-rbac"),
        (role("lapse:stolen", "configmaps", aggregated), "lapse-controller-rbac"),
    ];
    for (role, words) in cases {
        forbidden(api.create(&PostParams::default(), &role).await, words);
    }
    let gone = DeleteParams::default();
    forbidden(api.delete("lapse:approver", &gone).await, "lapse-controller-rbac");
    forbidden(api.delete("cluster-admin", &gone).await, "lapse-controller-rbac");
}

/// A stolen token of the webhook.
#[tokio::test]
async fn the_webhook_changes_nothing_of_its_configurations_but_how_it_is_reached() {
    let world = World::shared("reserved-webhook").await;
    let thief = component(&world, "lapse-webhook").await;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(thief.client.clone());
    let params = PatchParams::default();
    let mut configuration = api.get("lapse").await.unwrap();
    configuration.webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".to_owned());
    let weaker = Patch::Merge(json!({"webhooks": configuration.webhooks}));
    forbidden(api.patch("lapse", &params, &weaker).await, "lapse-webhook-configurations");
    let none = Patch::Merge(json!({"webhooks": []}));
    forbidden(api.patch("lapse", &params, &none).await, "lapse-webhook-configurations");
}

#[tokio::test]
async fn public_keys_are_added_by_the_webhook_alone() {
    let world = World::shared("reserved-keys").await;
    let maps: Api<ConfigMap> = Api::namespaced(world.admin.client.clone(), "lapse-system");
    let patch = Patch::Merge(json!({"data": {"0123456789abcdef": "{}"}}));
    let patched = maps.patch("lapse-attestation-keys", &PatchParams::default(), &patch).await;
    forbidden(patched, "lapse-attestation-keys");
}
