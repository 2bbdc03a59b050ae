//! A token of the controller that writes Grants.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{Grant, RequestPhase, RoleKind, RoleRef};
use serde_json::json;

use super::{audited, confined, everywhere, moved_to, thief, times_confined};
use crate::world::World;

#[tokio::test]
async fn writes_no_grant_that_nobody_approved() {
    let world = World::shared("stolen-grants").await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    world.ask("asked", json!({})).await;
    world.phase("asked", RequestPhase::Pending).await;
    world.denied("denied").await;
    world.granted("ended", json!({})).await;
    world.decide(&world.alice, "ended", json!({"verdict": "End"})).await.unwrap();
    world.phase("ended", RequestPhase::Ended).await;
    let before = times_confined(&world, "Grant").await;

    let grants: Api<Grant> = Api::all(thief(&world, "lapse-controller").await);
    let post = PostParams::default();
    // It says that bob approved.
    let asked = moved_to(&world, &held, "asked").await;
    assert_eq!(asked.spec.approved_by, std::slice::from_ref(&world.bob.name));
    confined(grants.create(&post, &asked).await, "It waits for 1 of");
    confined(grants.create(&post, &moved_to(&world, &held, "denied").await).await, "Denied by");
    let again = moved_to(&world, &held, "ended").await;
    confined(grants.create(&post, &again).await, "the request is Ended");
    let mut nowhere = asked.clone();
    nowhere.spec.request.name = "never-made".to_owned();
    confined(grants.create(&post, &nowhere).await, "there is none");
    let mut another = asked.clone();
    another.spec.request.uid = held.spec.request.uid.clone();
    confined(grants.create(&post, &another).await, "was made anew");
    // A dry run tells no more.
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    confined(grants.create(&dry_run, &asked).await, "It waits for 1 of");

    let refused = times_confined(&world, "Grant").await - before;
    assert!(refused >= 6.0, "{refused}");
    assert!(audited(&world, "lapse-controller", &asked.name_any()) >= 2);
    let all = world.grants().list(&ListParams::default()).await.unwrap();
    let ours = all.iter().filter(|grant| grant.spec.request.namespace == world.ns);
    let names: BTreeSet<&str> = ours.map(|grant| &*grant.spec.request.name).collect();
    assert_eq!(names, BTreeSet::from(["ended", "held"]));
}

/// What was approved is given as it was approved. The right starts later, so that the controller does not
/// come first.
#[tokio::test]
async fn writes_no_grant_other_than_it_was_approved() {
    let world = World::shared("stolen-terms").await;
    world.granted("held", json!({})).await;
    let held = world.grant("held").await;
    let start = lapse_cluster::clock::now() + TimeDelta::hours(1);
    world.ask("later", json!({"startTime": lapse_crds::Timestamp::new(start)})).await;
    world.approve(&world.bob, "later").await.unwrap();
    let status = world.phase("later", RequestPhase::Scheduled).await;
    let grants: Api<Grant> = Api::all(thief(&world, "lapse-controller").await);
    let post = PostParams::default();

    let mut early = moved_to(&world, &held, "later").await;
    confined(grants.create(&post, &early).await, "It starts at");
    early.spec.starts_at = status.starts_at.unwrap();
    early.spec.expires_at = status.expires_at.unwrap();
    let changes: [fn(&mut Grant, &World); 6] = [
        |_, _| {},
        |grant, world| grant.spec.subject.name.clone_from(&world.mallory.name),
        |grant, _| {
            grant.spec.expires_at = (grant.spec.expires_at.time() + TimeDelta::hours(1)).into();
        },
        |grant, _| {
            let role = RoleRef { kind: RoleKind::ClusterRole, name: "admin".to_owned() };
            grant.spec.target.kubernetes.as_mut().unwrap().role = Some(role);
        },
        |grant, _| {
            grant.spec.target.kubernetes.as_mut().unwrap().namespaces =
                vec!["kube-system".to_owned()];
        },
        everywhere,
    ];
    for change in changes {
        let mut grant = early.clone();
        change(&mut grant, &world);
        confined(grants.create(&post, &grant).await, "It starts at");
    }
    assert!(!world.can_write(&world.mallory).await);
}
