//! A token of the controller that makes roles and bindings.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{EndReason, GRANT_LABEL, GRANT_UID, RequestPhase};
use serde_json::json;

use super::{audited, confined, right_of, thief, times_confined};
use crate::world::{World, typed};

#[tokio::test]
async fn makes_no_binding_but_those_of_a_grant_that_is_to_be_given() {
    let world = World::shared("stolen-bindings").await;
    world.granted("held", json!({})).await;
    world.granted("ended", json!({})).await;
    world.decide(&world.alice, "ended", json!({"verdict": "End"})).await.unwrap();
    world.phase("ended", RequestPhase::Ended).await;
    let (held, ended) = (world.grant("held").await, world.grant("ended").await);
    let before = times_confined(&world, "RoleBinding").await;
    let client = thief(&world, "lapse-controller").await;
    let post = PostParams::default();
    let bind = async |binding: &RoleBinding, namespace: &str| {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        let mut binding = binding.clone();
        binding.metadata.namespace = Some(namespace.to_owned());
        api.create(&post, &binding).await
    };

    let right = right_of(&held);
    confined(bind(&right_of(&ended), &world.ns).await, "the grant is Ended");
    confined(bind(&right, &world.ns).await, "the grant is Active");
    confined(bind(&right, "default").await, "no such object belongs to the grant");
    confined(bind(&right, "kube-system").await, "no such object belongs to the grant");
    let mut to_mallory = right.clone();
    to_mallory.subjects.as_mut().unwrap()[0].name.clone_from(&world.mallory.name);
    confined(bind(&to_mallory, &world.ns).await, "the grant is Active");
    let mut twice = right.clone();
    twice.metadata.name = Some("lapse:twice".to_owned());
    confined(bind(&twice, &world.ns).await, "no such object belongs to the grant");
    let mut of_none = right.clone();
    of_none.labels_mut().insert(GRANT_LABEL.to_owned(), "never-made".to_owned());
    confined(bind(&of_none, &world.ns).await, "there is no Grant never-made");
    let mut of_another = right.clone();
    of_another.annotations_mut().insert(GRANT_UID.to_owned(), ended.uid().unwrap());
    confined(bind(&of_another, &world.ns).await, "has another UID");

    let everywhere: ClusterRoleBinding = typed({
        let mut binding = serde_json::to_value(&right).unwrap();
        let kind = json!({"kind": "ClusterRoleBinding", "metadata": {"namespace": null}});
        json_patch::merge(&mut binding, &kind);
        binding
    });
    let all: Api<ClusterRoleBinding> = Api::all(client.clone());
    confined(all.create(&post, &everywhere).await, "no such object belongs to the grant");
    // Rules that the installation may hand out, and that nobody asked for.
    let roles: Api<Role> = Api::namespaced(client.clone(), &world.ns);
    let metadata = serde_json::to_value(&right.metadata).unwrap();
    let given = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]}]);
    let role: Role = typed(json!({"metadata": metadata, "rules": given}));
    confined(roles.create(&post, &role).await, "no such object belongs to the grant");

    let refused = times_confined(&world, "RoleBinding").await - before;
    assert!(refused >= 8.0, "{refused}");
    assert!(audited(&world, "lapse-controller", &right.name_any()) >= 4);
    assert!(!world.can_write(&world.mallory).await);
    assert!(world.can_write(&world.alice).await);

    // Taking the binding away to put another in its place ends the right.
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &world.ns);
    bindings.delete(&right.name_any(), &DeleteParams::default()).await.unwrap();
    confined(bind(&to_mallory, &world.ns).await, "the grant is");
    let status = world.phase("held", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::BindingDeleted));
    assert!(!world.can_write(&world.mallory).await);
    world.locked_out(&world.alice).await;
}
