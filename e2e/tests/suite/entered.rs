//! Which pods the holder of a right goes into is recorded, and these go at its end where the policy says so.
//!
//! Nothing runs here: a stream is refused after admission has let it pass. For those that open see the tests on nodes.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use lapse_crds::{ConditionStatus, Conditions as _, EnteredPod, RequestPhase, StreamKind};
use lapse_e2e::plane::{InstallOptions, User, eventually};
use serde_json::{Value, json};

use crate::rbac;
use crate::world::{SOON, World, refused};

impl World {
    /// What is said to somebody who goes into a pod.
    pub(crate) async fn enters(&self, who: &User, args: &[&str]) -> String {
        self.enters_in(&self.ns, who, args).await
    }

    pub(crate) async fn enters_in(&self, namespace: &str, who: &User, args: &[&str]) -> String {
        let args = [&["--namespace", namespace], args].concat();
        let answer = self.lapse.plane().kubectl(who, &args).await.unwrap();
        assert!(!answer.success(), "{answer:?}");
        answer.stderr
    }

    async fn entered(&self, request: &str) -> Vec<EnteredPod> {
        self.grant(request).await.status.unwrap().entered
    }
}

/// As whom, into which pod, by what.
fn in_short(entered: &[EnteredPod]) -> Vec<(&str, &str, &[StreamKind])> {
    entered.iter().map(|e| (&*e.username, &*e.pod, &*e.streams)).collect()
}

#[tokio::test]
async fn pods_that_were_entered_go_with_the_right() {
    let world = World::tracking("entered", json!({"openStreams": "DeletePods"})).await;
    for pod in ["web-0", "web-1", "untouched"] {
        world.starts(&world.admin, pod).await.unwrap();
    }
    world.bind("mallory-edits", "edit", &rbac::user(&world.mallory.name)).await;
    world.granted("fix", json!({})).await;

    let nowhere = "does not have a host assigned";
    for args in
        [&["exec", "web-0", "--", "id"][..], &["exec", "web-0", "--", "id"], &["attach", "web-0"]]
    {
        let said = world.enters(&world.alice, args).await;
        assert!(said.contains(nowhere) || said.contains("not running"), "{args:?}: {said}");
    }
    // As a service account that the right lets her act as.
    let bot = format!("system:serviceaccount:{}:default", world.ns);
    world.bind("bot-edits", "edit", &rbac::account(&world.ns, "default")).await;
    let as_bot = ["exec", "web-1", "--as", &bot, "--", "id"];
    eventually("the account to be let in", SOON, async || {
        Ok(world.enters(&world.alice, &as_bot).await.contains(nowhere).then_some(()))
    })
    .await
    .unwrap();
    // Who holds nothing is nobody's business.
    world.enters(&world.mallory, &["exec", "untouched", "--", "id"]).await;
    let entered = world.entered("fix").await;
    let alice = &*world.alice.name;
    assert_eq!(
        in_short(&entered),
        [
            (alice, "web-0", &[StreamKind::Exec, StreamKind::Attach][..]),
            (&bot, "web-1", &[StreamKind::Exec]),
        ]
    );
    assert!(entered.iter().all(|e| e.tracked && e.namespace == world.ns));

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    eventually("the Grant to say that they are gone", SOON, async || {
        let status = world.grant("fix").await.status.unwrap();
        let stopped = status.conditions.condition("Stopped").cloned();
        Ok(stopped.filter(|stopped| stopped.status == ConditionStatus::True))
    })
    .await
    .unwrap();
    let pods: Api<Pod> = world.api(&world.admin);
    let stands = async |name: &str| pods.get_opt(name).await.unwrap().is_some();
    assert_eq!((stands("web-0").await, stands("web-1").await), (false, false));
    assert!(stands("untouched").await);
    assert_eq!(in_short(&world.entered("fix").await).len(), 2, "the record stays");
}

/// The record is for whoever looks into it later, and nobody else writes it.
#[tokio::test]
async fn where_nothing_is_deleted_it_is_recorded_all_the_same() {
    let world = World::tracking("visited", json!({"startedWorkloads": "Keep"})).await;
    world.starts(&world.admin, "web-0").await.unwrap();
    world.granted("fix", json!({})).await;
    world.enters(&world.alice, &["exec", "web-0", "--", "id"]).await;
    // Her own namespace leaves the opt-in, and what she does there is recorded still.
    let namespaces: Api<Namespace> = Api::all(world.admin.client.clone());
    let out = json!({"metadata": {"labels": {"lapse.dev/track-workloads": null}}});
    namespaces.patch(&world.ns, &PatchParams::default(), &Patch::Merge(&out)).await.unwrap();
    world.starts(&world.admin, "web-1").await.unwrap();
    eventually("the entry to be recorded as one elsewhere", SOON, async || {
        world.enters(&world.alice, &["exec", "web-1", "--", "id"]).await;
        let entered = world.entered("fix").await;
        Ok(entered.iter().any(|e| e.pod == "web-1" && !e.tracked).then_some(()))
    })
    .await
    .unwrap();

    let name = world.grant("fix").await.metadata.name.unwrap();
    let writer = format!("{}-writes-status", world.ns);
    let rule =
        json!({"apiGroups": ["lapse.dev"], "resources": ["grants/status"], "verbs": ["patch"]});
    world.cluster_role(&writer, json!([rule])).await;
    world.bind_everywhere(&writer, &writer, &rbac::user(&world.mallory.name)).await;
    let nothing = Patch::Merge(json!({"status": {"entered": []}}));
    let grants: Api<lapse_crds::Grant> = Api::all(world.mallory.client.clone());
    let written = eventually("mallory to be let to the status", SOON, async || {
        let written = grants.patch_status(&name, &PatchParams::default(), &nothing).await;
        let is_known = !format!("{written:?}").contains("cannot patch resource");
        Ok(is_known.then_some(written))
    });
    refused(written.await.unwrap().map_err(Into::into), "written by Lapse alone");

    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    let status = world.grant("fix").await.status.unwrap();
    assert_eq!(status.entered.len(), 2);
    assert_eq!(status.conditions.condition("Stopped"), None);
    let pods: Api<Pod> = world.api(&world.admin);
    for pod in ["web-0", "web-1"] {
        assert_eq!(pods.get(pod).await.unwrap().metadata.deletion_timestamp, None);
    }
}

/// The webhook answers, and cannot write what it is to record.
#[tokio::test]
async fn what_cannot_be_recorded_keeps_people_out_only_where_that_was_asked_for() {
    let world = World::own("unrecorded", InstallOptions::default()).await;
    world.starts(&world.admin, "web").await.unwrap();
    world.policy(json!({})).await;
    world.granted("fix", json!({})).await;
    let roles: Api<ClusterRole> = Api::all(world.admin.client.clone());
    let mut role = roles.get("lapse-webhook").await.unwrap();
    let writes = |rule: &PolicyRule| rule.resources.iter().flatten().any(|r| r == "grants/status");
    role.rules.as_mut().unwrap().retain(|rule| !writes(rule));
    roles.replace("lapse-webhook", &PostParams::default(), &role).await.unwrap();
    let webhook = rbac::account("lapse-system", "lapse-webhook");
    let record = json!({
        "verb": "patch", "group": "lapse.dev", "resource": "grants", "subresource": "status",
    });
    world.authorized(&[webhook], &record, false).await;

    let enter = ["exec", "web", "--", "id"];
    let mut tracked = json!({"metadata": {"labels": {"lapse.dev/track-workloads": "true"}}});
    let namespaces: Api<Namespace> = Api::all(world.admin.client.clone());
    let label = async |label: &Value| {
        let label = Patch::Merge(label);
        namespaces.patch(&world.ns, &PatchParams::default(), &label).await.unwrap();
    };
    label(&tracked).await;
    eventually("nothing to be opened that is not recorded", SOON, async || {
        let said = world.enters(&world.alice, &enter).await;
        Ok(said.contains("recording in Grant").then_some(()))
    })
    .await
    .unwrap();
    tracked["metadata"]["labels"]["lapse.dev/track-workloads"] = Value::Null;
    label(&tracked).await;
    eventually("it to give way elsewhere", SOON, async || {
        let said = world.enters(&world.alice, &enter).await;
        Ok(said.contains("does not have a host assigned").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.entered("fix").await, []);
    let log = std::fs::read_to_string(world.lapse.plane().audit_log()).unwrap();
    assert!(log.contains("elsewhere.lapse.dev/unrecorded"));
}
