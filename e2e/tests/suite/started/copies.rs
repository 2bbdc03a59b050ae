//! Whose a copy is, and what is made by whoever somebody else may come as.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::RequestPhase;
use lapse_e2e::plane::eventually;
use serde_json::json;

use super::makers::workloads;
use crate::impersonation::with_token_from_secret;
use crate::rbac;
use crate::world::{SOON, World, typed};

/// Nobody who holds nothing is refused for what somebody who holds a right has started.
#[tokio::test]
async fn a_copy_of_what_was_started_is_whose_who_makes_it() {
    let world = World::tracking("copied", json!({"startedWorkloads": "Delete"})).await;
    world.runs_workloads(&world.mallory).await;
    world.granted("fix", json!({})).await;
    let cron_jobs: Api<CronJob> = world.api(&world.alice);
    let nightly = json!({"metadata": {"name": "nightly"}, "spec": workloads()["cronjobs"]});
    cron_jobs.create(&PostParams::default(), &typed(nightly)).await.unwrap();

    let create = ["create", "job", "by-hand", "--from=cronjob/nightly", "--namespace", &world.ns];
    let copied = world.lapse.plane().kubectl(&world.mallory, &create).await.unwrap();
    assert!(copied.success() && copied.stderr.contains("lapse.dev/grant"), "{copied:?}");
    let jobs: Api<Job> = world.api(&world.admin);
    is_unmarked(&jobs.get("by-hand").await.unwrap());
    // A backup is restored elsewhere.
    let place = format!("{}-restored", world.ns);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}});
    world.apply(namespace).await;
    let mut backup = serde_json::to_value(cron_jobs.get("nightly").await.unwrap()).unwrap();
    backup["metadata"] = json!({"name": "nightly", "labels": backup["metadata"]["labels"]});
    let elsewhere: Api<CronJob> = Api::namespaced(world.admin.client.clone(), &place);
    let restored = elsewhere.create(&PostParams::default(), &typed(backup)).await.unwrap();
    is_unmarked(&restored);

    // Its holder gets no copy without the mark.
    let create = ["create", "job", "mine", "--from=cronjob/nightly", "--namespace", &world.ns];
    world.lapse.plane().kubectl(&world.alice, &create).await.unwrap().ok().unwrap();
    assert!(
        jobs.get("mine").await.unwrap().metadata.labels.unwrap().contains_key("lapse.dev/grant")
    );
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    eventually("the holder's to be gone", SOON, async || {
        Ok(jobs.get_opt("mine").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    elsewhere.get("nightly").await.unwrap();
}

fn is_unmarked(object: &(impl serde::Serialize + kube::Resource + Clone)) {
    let mut object = object.clone();
    // They say who once wrote what.
    object.meta_mut().managed_fields = None;
    let object = serde_json::to_string(&object).unwrap();
    for mark in ["lapse.dev/grant", "lapse.dev/grant-uid", "lapse.dev/started-by"] {
        assert!(!object.contains(mark), "{mark}: {object}");
    }
}

/// A reconciler that comes as a service account which somebody else may come as, too.
#[tokio::test]
async fn a_reconciler_is_told_whose_right_its_workload_ends_with() {
    let world = World::tracking("reconciled", json!({"startedWorkloads": "Delete"})).await;
    world.bind("tenant-edits", "edit", &rbac::account(&world.ns, "tenant")).await;
    world.granted("fix", json!({})).await;
    let account = format!("system:serviceaccount:{}:tenant", world.ns);
    let create = [
        "create",
        "deployment",
        "app",
        "--image=busybox",
        "--as",
        &account,
        "--namespace",
        &world.ns,
    ];
    let created = world.lapse.plane().kubectl(&world.admin, &create).await.unwrap();
    assert!(created.success(), "{created:?}");
    let told = ["guard.trustedReconcilers", &world.alice.name, &account];
    assert!(told.iter().all(|word| created.stderr.contains(word)), "{created:?}");
}

/// A reconciler that comes with a token from a Secret, while somebody may come as it.
#[tokio::test]
async fn what_comes_with_a_token_from_a_secret_is_taken_for_nobodys() {
    let world = World::tracking("secret-token", json!({"startedWorkloads": "Delete"})).await;
    world.bind("tenant-edits", "edit", &rbac::account(&world.ns, "old")).await;
    world.granted("fix", json!({})).await;
    let client = with_token_from_secret(&world, "old").await;
    let deployments: Api<Deployment> = Api::namespaced(client, &world.ns);
    let app: Deployment = typed(json!({
        "metadata": {"name": "app"},
        "spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}},
                "spec": {"containers": [{"name": "app", "image": "busybox"}]},
            },
        },
    }));
    let made = eventually("it to be let create", SOON, async || {
        Ok(deployments.create(&PostParams::default(), &app).await.ok())
    })
    .await
    .unwrap();
    is_unmarked(&made);
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    let grant = world.grant("fix").await;
    eventually("what was started to be gone", SOON, async || {
        let grant = world.grants().get(&grant.name_any()).await?;
        let conditions = grant.status.unwrap_or_default().conditions;
        let stopped = conditions.iter().find(|condition| condition.r#type == "Stopped");
        Ok(stopped.filter(|stopped| stopped.reason == "Verified").map(drop))
    })
    .await
    .unwrap();
    assert_eq!(world.api::<Deployment>(&world.admin).get("app").await.unwrap().uid(), made.uid());
}
