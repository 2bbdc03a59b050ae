//! A token of the controller, while no controller runs.

use chrono::TimeDelta;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_cluster::objects::ObjectPlace;
use lapse_crds::{
    AccessDecision, EXPIRES_AT, EndReason, Grant, GrantPhase, RequestPhase, RoleKind, RoleRef,
};
use lapse_e2e::plane::{InstallOptions, eventually};
use serde_json::{Value, json};

use super::{confined, everywhere, moved_to, objects_of, right_of, thief};
use crate::world::{SOON, World, typed};

type Change<K> = fn(&mut K, &World);

/// The controllers are stopped, and the thief does their work: it is what was approved, or nothing. What
/// is denied meanwhile is not given any more.
#[tokio::test]
async fn in_the_place_of_the_controller_gives_what_was_approved_and_no_more() {
    let world = World::own("stolen-place", InstallOptions::default()).await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    world.decide(&world.alice, "held", json!({"verdict": "End"})).await.unwrap();
    world.phase("held", RequestPhase::Ended).await;
    let controller = &world.lapse.controllers[0].process;
    world.ask("fix", json!({"duration": "20m"})).await;
    world.phase("fix", RequestPhase::Pending).await;
    controller.pause();
    let approval = world.approve(&world.bob, "fix").await.unwrap();
    let attestation = &approval.metadata.annotations.as_ref().unwrap()[lapse_crds::ATTESTATION];
    let attestation: Value = serde_json::from_str(attestation).unwrap();
    let start: lapse_crds::Timestamp = typed(attestation["admittedAt"].clone());
    let mut approved = moved_to(&world, &held, "fix").await;
    approved.spec.starts_at = start;
    approved.spec.expires_at = (start.time() + TimeDelta::minutes(20)).into();
    let client = thief(&world, "lapse-controller").await;
    let grants: Api<Grant> = Api::all(client.clone());
    let post = PostParams::default();
    let changes: [(Change<Grant>, &str); 8] = [
        (|grant, world| grant.spec.subject.name.clone_from(&world.mallory.name), "spec.subject"),
        (|grant, world| grant.spec.username = Some(world.mallory.name.clone()), "spec.username"),
        (
            |grant, _| {
                grant.spec.expires_at =
                    (grant.spec.expires_at.time() + TimeDelta::minutes(1)).into();
            },
            "spec.expiresAt",
        ),
        (
            |grant, _| {
                let role = RoleRef { kind: RoleKind::ClusterRole, name: "admin".to_owned() };
                grant.spec.target.kubernetes.as_mut().unwrap().role = Some(role);
            },
            "spec.target",
        ),
        (everywhere, "spec.target"),
        (|grant, world| grant.spec.approved_by = vec![world.ben.name.clone()], "spec.approvedBy"),
        (|grant, _| grant.spec.session = None, "spec.session"),
        (|grant, _| grant.metadata.finalizers = None, "metadata.finalizers"),
    ];
    for (change, field) in changes {
        let mut grant = approved.clone();
        change(&mut grant, &world);
        confined(grants.create(&post, &grant).await, &format!("{field} is not what was approved"));
    }
    let written = grants.create(&post, &approved).await.unwrap();

    let right = right_of(&written);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &world.ns);
    let changes: [Change<RoleBinding>; 4] = [
        |binding, world| {
            binding.subjects.as_mut().unwrap()[0].name.clone_from(&world.mallory.name);
        },
        |binding, _| binding.role_ref.name = "admin".to_owned(),
        |binding, _| {
            let later = "2099-01-01T00:00:00.000000Z".to_owned();
            binding.annotations_mut().insert(EXPIRES_AT.to_owned(), later);
        },
        |binding, _| {
            binding.metadata.owner_references = Some(vec![typed(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0",
            }))]);
        },
    ];
    for change in changes {
        let mut binding = right.clone();
        change(&mut binding, &world);
        confined(bindings.create(&post, &binding).await, "is not what the Grant says");
    }
    // There is no right without the mark of who holds it.
    confined(bindings.create(&post, &right).await, "its marker does not stand");
    for (spec, object) in objects_of(&written) {
        ObjectPlace::of(&spec).api(&client).create(&post, &object).await.unwrap();
    }
    // It was approved.
    world.let_in(&world.alice).await;
    assert!(!world.can_write(&world.mallory).await);

    // While no controller takes it down, bob denies it.
    bindings.delete(&right.name_any(), &DeleteParams::default()).await.unwrap();
    let deny = world.decide(&world.bob, "fix", json!({"verdict": "Deny"})).await.unwrap();
    let cached = ListParams::default().at("0");
    let decisions: Api<AccessDecision> = world.api(&world.admin);
    eventually("the Deny to be known to the API server", SOON, async || {
        let known = decisions.list(&cached).await?;
        Ok(known.iter().any(|known| known.name_any() == deny.name_any()).then_some(()))
    })
    .await
    .unwrap();
    confined(bindings.create(&post, &right).await, "Denied by");
    world.locked_out(&world.alice).await;
    let thief: Api<AccessDecision> = Api::namespaced(client, &world.ns);
    confined(thief.delete(&deny.name_any(), &DeleteParams::default()).await, "not over");
    controller.resume();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::Revoked));
    assert_eq!(world.ended(&written.name_any()).await.status.unwrap().phase, GrantPhase::Ended);
    assert!(!world.can_write(&world.alice).await);
}
