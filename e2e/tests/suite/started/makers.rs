//! What makes pods: it is marked with all that it makes, and the mark comes off in no way.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use lapse_e2e::plane::eventually;
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World, refused, typed};

/// What makes pods, or what makes that.
pub(super) fn workloads() -> Value {
    let labels = json!({"app": "w"});
    let pod = json!({"containers": [{"name": "c", "image": "busybox"}], "terminationGracePeriodSeconds": 3600});
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let selector = json!({"matchLabels": labels});
    let mut of_job = template.clone();
    of_job["spec"]["restartPolicy"] = json!("Never");
    json!({
        "deployments": {"selector": selector, "template": template},
        "statefulsets": {"selector": selector, "template": template, "serviceName": "w"},
        "daemonsets": {"selector": selector, "template": template},
        "replicasets": {"selector": selector, "template": template},
        "replicationcontrollers": {"selector": labels, "template": template},
        "cronjobs": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": of_job}}},
    })
}

/// Alice creates one of each, and may not take its mark off.
pub(crate) async fn create_what_makes_pods(world: &World, grant: &str) {
    async fn create<K>(world: &World, plural: &str) -> Value
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let object = json!({"metadata": {"name": "w"}, "spec": workloads()[plural]});
        let api: Api<K> = world.api(&world.alice);
        let created = api.create(&PostParams::default(), &typed::<K>(object)).await.unwrap();
        // Who holds the right may not have pods made that nobody finds.
        let template = if plural == "cronjobs" { "jobTemplate" } else { "template" };
        let off = json!({"spec": {template: {"metadata": {
            "labels": {"lapse.dev/grant": null}, "annotations": {"lapse.dev/grant-uid": null}}}}});
        let off = api.patch("w", &PatchParams::default(), &Patch::Merge(&off)).await;
        refused(off.map_err(Into::into), "they stay as they are");
        serde_json::to_value(created).unwrap()
    }
    let all = [
        create::<Deployment>(world, "deployments").await,
        create::<StatefulSet>(world, "statefulsets").await,
        create::<DaemonSet>(world, "daemonsets").await,
        create::<ReplicaSet>(world, "replicasets").await,
        create::<ReplicationController>(world, "replicationcontrollers").await,
        create::<CronJob>(world, "cronjobs").await,
    ];
    for object in &all {
        let job = object.pointer("/spec/jobTemplate");
        let template = job.unwrap_or(object).pointer("/spec/template").unwrap();
        for marked in [Some(object), job, Some(template)].into_iter().flatten() {
            assert_eq!(marked["metadata"]["labels"]["lapse.dev/grant"], grant, "{object}");
        }
        assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 10, "{object}");
    }
}

impl World {
    /// Which of them stand.
    pub(super) async fn what_makes_pods(&self) -> anyhow::Result<Vec<String>> {
        async fn stands<K>(world: &World) -> anyhow::Result<Option<String>>
        where
            K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
                + Clone
                + std::fmt::Debug
                + serde::de::DeserializeOwned,
        {
            let found = world.api::<K>(&world.admin).get_metadata_opt("w").await?;
            Ok(found.map(|_| K::kind(&()).into_owned()))
        }
        let all = tokio::try_join!(
            stands::<Deployment>(self),
            stands::<StatefulSet>(self),
            stands::<DaemonSet>(self),
            stands::<ReplicaSet>(self),
            stands::<ReplicationController>(self),
            stands::<CronJob>(self),
        )?;
        let (deployment, stateful_set, daemon_set, replica_set, controller, cron_job) = all;
        let all = [deployment, stateful_set, daemon_set, replica_set, controller, cron_job];
        Ok(all.into_iter().flatten().collect())
    }
}

/// A status is written with the labels and annotations of its object, and so is the node of a pod.
pub(super) async fn no_other_way_off(world: &World) {
    async fn stays<K>(world: &World, name: &str, off: &Value)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = world.api(&world.alice);
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(off)).await;
        refused(written.map_err(Into::into), "they stay as they are");
    }

    let all = |of: &[&str]| of.iter().map(|plural| format!("{plural}/status")).collect::<Vec<_>>();
    let mut core = all(&["pods", "replicationcontrollers"]);
    core.push("pods/binding".to_owned());
    let apps = all(&["deployments", "statefulsets", "daemonsets", "replicasets"]);
    let batch = all(&["jobs", "cronjobs"]);
    let rule = |group: &str, resources: &[String]| json!({"apiGroups": [group], "resources": resources, "verbs": ["create", "patch"]});
    let rules = json!([rule("", &core), rule("apps", &apps), rule("batch", &batch)]);
    let writer = format!("{}-writes-status", world.ns);
    world.cluster_role(&writer, rules).await;
    world.bind("writes-status", &writer, &rbac::user(&world.alice.name)).await;

    eventually("alice to be let write any status", SOON, async || {
        let nothing = Patch::Merge(json!({}));
        let jobs: Api<CronJob> = world.api(&world.alice);
        let written = jobs.patch_status("w", &PatchParams::default(), &nothing).await;
        Ok(written.is_ok().then_some(()))
    })
    .await
    .unwrap();
    let off = &json!({"metadata": {"labels": {"lapse.dev/grant": null}, "annotations": {"lapse.dev/grant-uid": null}}});
    stays::<Pod>(world, "started", off).await;
    stays::<Job>(world, "started", off).await;
    stays::<Deployment>(world, "w", off).await;
    stays::<StatefulSet>(world, "w", off).await;
    stays::<DaemonSet>(world, "w", off).await;
    stays::<ReplicaSet>(world, "w", off).await;
    stays::<ReplicationController>(world, "w", off).await;
    stays::<CronJob>(world, "w", off).await;

    let binding = json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n"},
        "metadata": {"name": "started", "annotations": {"lapse.dev/grant-uid": "another"}}});
    let pods: Api<Pod> = world.api(&world.alice);
    let bound: Result<Value, _> =
        pods.create_subresource("binding", "started", &PostParams::default(), &binding).await;
    refused(bound.map_err(Into::into), "written by Lapse alone");
}
