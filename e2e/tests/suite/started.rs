//! What the holder of a right starts is marked with it, and goes with it where the policy says so.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod, ReplicationController};
use k8s_openapi::api::policy::v1::Eviction;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use lapse_crds::{ConditionStatus, Conditions as _, EndReason, RequestPhase};
use lapse_e2e::plane::{User, eventually};
use serde_json::{Value, json};

use crate::impersonation::with_token_from_secret;
use crate::rbac;
use crate::world::{SOON, World, refused, typed};

impl World {
    /// A corner whose namespace opted in, and whose policy has what was started end with the right.
    pub(crate) async fn tracking(name: &str, on_end: Value) -> Self {
        let world = Self::shared(name).await;
        let labels = json!({"lapse.dev/track-workloads": "true"});
        world
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
            .await;
        world.policy(json!({"session": {"onEnd": on_end}})).await;
        world
    }

    pub(crate) async fn starts(&self, who: &User, name: &str) -> anyhow::Result<Pod> {
        let pods: Api<Pod> = self.api(who);
        Ok(pods.create(&PostParams::default(), &typed(pod(name))).await?)
    }

    /// Somebody may run workloads here, by a right that is not Lapse's.
    async fn runs_workloads(&self, who: &User) {
        self.bind(&format!("{}-edits", who.name), "edit", &rbac::user(&who.name)).await;
    }

    /// Somebody may put containers into pods here, which `edit` does not allow.
    async fn debugs(&self, who: &User) {
        let rule = json!({"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"]});
        let name = format!("{}-debugs", self.ns);
        self.cluster_role(&name, json!([rule])).await;
        self.bind(&format!("{}-debugs", who.name), &name, &rbac::user(&who.name)).await;
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {
        // A year to stop: nobody waits for that.
        "terminationGracePeriodSeconds": 31_536_000, "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": "busybox"}],
    }})
}

fn mark(pod: &Pod) -> Option<&String> {
    pod.metadata.labels.as_ref()?.get("lapse.dev/grant")
}

#[tokio::test]
async fn what_was_started_goes_with_the_right_and_nothing_else_does() {
    let world = World::tracking("started", json!({"startedWorkloads": "Delete"})).await;
    world.runs_workloads(&world.mallory).await;
    world.starts(&world.mallory, "standing").await.unwrap();
    world.starts(&world.mallory, "entered").await.unwrap();
    world.debugs(&world.alice).await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await.metadata.name.unwrap();

    let started = world.starts(&world.alice, "started").await.unwrap();
    assert_eq!(mark(&started), Some(&grant));
    let annotations = started.metadata.annotations.unwrap();
    assert_eq!(annotations["lapse.dev/started-by"], world.alice.name);
    // It ends by itself, and soon.
    let spec = started.spec.unwrap();
    let rest = spec.active_deadline_seconds.unwrap();
    assert!((1..=3600).contains(&rest), "{rest}");
    assert_eq!(spec.termination_grace_period_seconds, Some(10));
    let raised = json!({"spec": {"activeDeadlineSeconds": rest + 60}});
    let own: Api<Pod> = world.api(&world.alice);
    let params = PatchParams::default();
    let raised = own.patch("started", &params, &Patch::Merge(&raised)).await.unwrap_err();
    assert!(raised.to_string().contains("activeDeadlineSeconds"), "{raised}");
    let jobs: Api<Job> = world.api(&world.alice);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}});
    let job = json!({"metadata": {"name": "started"}, "spec": {"template": template}});
    let job = jobs.create(&PostParams::default(), &typed(job)).await.unwrap();
    let spec = job.spec.unwrap();
    assert!(spec.active_deadline_seconds.is_some_and(|s| (1..=3600).contains(&s)));
    assert_eq!(spec.template.metadata.unwrap().labels.unwrap()["lapse.dev/grant"], grant);
    let longer = json!({"spec": {"activeDeadlineSeconds": 86_400}});
    let longer = jobs.patch("started", &params, &Patch::Merge(&longer)).await;
    refused(longer.map_err(Into::into), "it can be lowered, but not raised");
    // A pod heeds the first time to stop that it is given. One that runs nowhere, as here, has none; for others see the
    // tests on nodes.
    let year = json!({"metadata": {"name": "started"}, "deleteOptions": {"gracePeriodSeconds": 31_536_000}});
    let year: Eviction = typed(year);
    let post = PostParams::default();
    let evicted =
        own.create_subresource::<Eviction, Eviction>("eviction", "started", &post, &year).await;
    refused(evicted.map_err(Into::into), "Leave deleteOptions.gracePeriodSeconds out");
    create_what_makes_pods(&world, &grant).await;
    no_other_way_off(&world).await;
    let pods: Api<Pod> = world.api(&world.alice);
    let container =
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}});
    let entered = pods
        .patch_subresource("ephemeralcontainers", "entered", &params, &Patch::Strategic(&container))
        .await
        .unwrap();
    let env = entered.spec.unwrap().ephemeral_containers.unwrap()[0].env.clone().unwrap();
    assert_eq!((&*env[0].name, env[0].value.as_ref()), ("LAPSE_GRANT", Some(&grant)));
    // Who is not elevated starts what is not marked.
    assert_eq!(mark(&world.starts(&world.mallory, "another").await.unwrap()), None);

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    let status = world.phase("fix", RequestPhase::Ended).await;
    assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
    let pods: Api<Pod> = world.api(&world.admin);
    let jobs: Api<Job> = world.api(&world.admin);
    eventually("what was started to be gone", SOON, async || {
        let gone =
            [pods.get_opt("started").await?.is_none(), pods.get_opt("entered").await?.is_none()];
        Ok((gone == [true, true] && jobs.get_opt("started").await?.is_none()).then_some(()))
    })
    .await
    .unwrap();
    eventually("what makes pods to be gone", SOON, async || {
        let stands = Box::pin(world.what_makes_pods()).await?;
        Ok(stands.is_empty().then_some(()))
    })
    .await
    .unwrap();
    eventually("the Grant to say that all is gone", SOON, async || {
        let status = world.grant("fix").await.status.unwrap();
        let stopped = status.conditions.condition("Stopped").cloned();
        Ok(stopped.filter(|stopped| stopped.status == ConditionStatus::True))
    })
    .await
    .unwrap();
    for name in ["standing", "another"] {
        assert!(pods.get(name).await.unwrap().metadata.deletion_timestamp.is_none(), "{name}");
    }
}

/// What makes pods, or what makes that.
fn workloads() -> Value {
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
    async fn what_makes_pods(&self) -> anyhow::Result<Vec<String>> {
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

#[tokio::test]
async fn the_mark_is_written_by_lapse_alone() {
    let world = World::tracking("marking", json!({"startedWorkloads": "Keep"})).await;
    world.runs_workloads(&world.mallory).await;
    world.granted("fix", json!({})).await;
    let grant = world.grant("fix").await;
    let (name, uid) = (grant.metadata.name.unwrap(), grant.metadata.uid.unwrap());
    world.starts(&world.mallory, "victim").await.unwrap();
    let claim = json!({"metadata": {"labels": {"lapse.dev/grant": name}, "annotations": {"lapse.dev/grant-uid": uid}}});
    let mut claimed = pod("claimed");
    claimed["metadata"]["labels"] = claim["metadata"]["labels"].clone();
    let pods: Api<Pod> = world.api(&world.mallory);
    let words = "written by Lapse alone";
    world.debugs(&world.mallory).await;
    let created = pods.create(&PostParams::default(), &typed(claimed)).await.unwrap();
    assert_eq!(mark(&created), None);
    let params = PatchParams::default();
    let changed = pods.patch("victim", &params, &Patch::Merge(&claim)).await;
    refused(changed.map_err(Into::into), "stay as they are");
    let variable = json!([{"name": "LAPSE_GRANT_UID", "value": uid}]);
    let container = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox", "env": variable}]}});
    let entered = pods
        .patch_subresource("ephemeralcontainers", "victim", &params, &Patch::Strategic(&container))
        .await;
    refused(entered.map_err(Into::into), words);

    // Nor does who is marked take the mark off.
    world.starts(&world.alice, "started").await.unwrap();
    let own: Api<Pod> = world.api(&world.alice);
    let off = json!({"metadata": {"labels": {"lapse.dev/grant": null}, "annotations": {"lapse.dev/grant-uid": null}}});
    refused(
        own.patch("started", &params, &Patch::Merge(&off)).await.map_err(Into::into),
        "stay as they are",
    );
    own.delete("started", &DeleteParams::default()).await.unwrap();

    // Nor do they have the place no longer looked at; whoever holds nothing may.
    let rule = json!({"apiGroups": [""], "resources": ["namespaces", "namespaces/status"], "verbs": ["patch"]});
    let labeller = format!("{}-labels", world.ns);
    world.cluster_role(&labeller, json!([rule])).await;
    let untracked = json!({"metadata": {"labels": {"lapse.dev/track-workloads": null}}});
    let untracked = Patch::Merge(&untracked);
    for who in [&world.alice, &world.mallory] {
        world.bind(&format!("{}-labels", who.name), &labeller, &rbac::user(&who.name)).await;
        eventually("the authorizer to know of it", SOON, async || {
            Ok(world.may(who, "patch", "namespaces").await.then_some(()))
        })
        .await
        .unwrap();
        let namespaces: Api<Namespace> = Api::all(who.client.clone());
        let only_here = PatchParams { dry_run: true, ..PatchParams::default() };
        let written = [
            namespaces.patch(&world.ns, &only_here, &untracked).await,
            namespaces.patch_status(&world.ns, &only_here, &untracked).await,
        ];
        for written in written {
            if who.name == world.alice.name {
                refused(written.map_err(Into::into), "lapse.dev/track-workloads");
            } else {
                assert!(written.unwrap().metadata.labels.is_some());
            }
        }
    }

    // The policy keeps what was started.
    world.starts(&world.alice, "kept").await.unwrap();
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    let kept = pods.get("kept").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none() && mark(&kept).is_some());
}

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

/// A status is written with the labels and annotations of its object, and so is the node of a pod.
async fn no_other_way_off(world: &World) {
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
