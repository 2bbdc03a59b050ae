//! What the holder of a right starts is marked with it, and goes with it where the policy says so.

mod copies;
mod makers;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lapse_crds::{ConditionStatus, Conditions as _, EndReason, RequestPhase};
use lapse_e2e::plane::{User, eventually};
use serde_json::{Value, json};

pub(crate) use self::makers::create_what_makes_pods;
use self::makers::no_other_way_off;
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
