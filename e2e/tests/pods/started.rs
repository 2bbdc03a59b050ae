//! What alice starts under her right ends with it: soon, whatever it asks for, and without Lapse, too.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{ConditionStatus, Conditions as _};
use lapse_e2e::node::SHELL;
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{SOON, eventually, policy_reported};
use serde_json::{Value, json};

use crate::streams::Stream;
use crate::town::{SHOP, Town};

/// It does not listen when it is to stop, and asks for this many seconds.
fn deaf(grace_s: u32) -> Value {
    let script = "trap '' TERM; while :; do sleep 1; done";
    let container = json!({"name": "deaf", "image": SHELL, "command": ["sh", "-c", script]});
    json!({"terminationGracePeriodSeconds": grace_s, "containers": [container]})
}

impl Town {
    /// The shop, where this happens at the end of a right.
    pub(crate) async fn tracking(&self, on_end: &Value) {
        let set = ["controller.endWorkloads=true", "duration.min=10s"];
        self.cluster.install(&set).await.unwrap();
        self.shop().await;
        let label = ["label", "--overwrite", "namespace", SHOP, "lapse.dev/track-workloads=true"];
        self.kubectl(&self.admin, &label).await.ok().unwrap();
        let session = json!({"session": {"onEnd": on_end}});
        self.repair_with("10m", &session).await.unwrap();
        policy_reported(&self.admin.client, "shop-repair").await.unwrap();
    }

    async fn starts(&self, name: &str, spec: &Value) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SHOP}, "spec": spec});
        self.apply(&self.alice, &pod).await.unwrap();
        let ready = ["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=2m"];
        self.kubectl(&self.admin, &ready).await.ok().unwrap();
    }

    async fn deaf_pods(&self) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.admin.client.clone(), SHOP);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        let is_deaf = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].name == "deaf";
        pods.into_iter().filter(is_deaf).collect()
    }
}

/// What was started is.
fn deleted() -> Value {
    json!({"startedWorkloads": "Delete", "maxGracePeriod": "5s"})
}

#[tokio::test]
async fn what_was_started_is_gone_soon_after_the_right() {
    let town = Town::take().await;
    town.tracking(&deleted()).await;
    let grant = town.granted("start").await;
    town.starts("quick", &deaf(1)).await;
    town.starts("slow", &deaf(3600)).await;
    let made = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "made", "namespace": SHOP},
        "spec": {
            "selector": {"matchLabels": {"app": "made"}},
            "template": {"metadata": {"labels": {"app": "made"}}, "spec": deaf(3600)},
        },
    });
    town.apply(&town.alice, &made).await.unwrap();
    let ready = ["wait", "deployment/made", "--for=condition=Available", "--timeout=2m"];
    town.kubectl(&town.admin, &ready).await.ok().unwrap();
    // What another test has left goes, too.
    let three = async || Ok((town.deaf_pods().await.len() == 3).then_some(()));
    eventually("three to run", SOON, three).await.unwrap();
    // The kubelet heeds the first time to stop that a pod is given, and no shorter one later.
    let late = ["delete", "pod", "slow", "--grace-period=3600", "--wait=false"];
    let late = town.kubectl(&town.alice, &late).await;
    assert!(late.stderr.contains("has 5 s to stop at the most"), "{late:?}");
    let mut inside = Stream::open(&town, &["exec", "--stdin", "slow", "--", "sh"]);
    assert_eq!(inside.run("echo before").await, "before");

    town.end("start", &grant).await;
    let since = Instant::now();

    // First one that asked for a second, then those that asked for an hour.
    eventually("the quick one to be gone", SOON, async || {
        Ok(town.deaf_pods().await.iter().all(|pod| pod.name_any() != "quick").then_some(()))
    })
    .await
    .unwrap();
    eventually("all to be gone", Duration::from_mins(2), async || {
        Ok(town.deaf_pods().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    assert!(since.elapsed() < Duration::from_mins(2), "{:?}", since.elapsed());
    tokio::time::timeout(SOON, inside.wait()).await.unwrap();
    let name = grant.name_any();
    eventually("the Grant to say so", SOON, async || {
        let status = town.grant(&name).await.status.unwrap();
        let stopped = status.conditions.condition("Stopped").cloned();
        Ok(stopped.filter(|stopped| stopped.status == ConditionStatus::True))
    })
    .await
    .unwrap();
    let kept = ["get", "deployment/checkout"];
    town.kubectl(&town.admin, &kept).await.ok().unwrap();
}

/// Neither program runs when the right ends.
#[tokio::test]
async fn a_pod_ends_with_its_right_without_lapse() {
    let town = Town::take().await;
    town.tracking(&deleted()).await;
    // The pod is to run, and both programs are to have stopped, before the end.
    let grant = town.granted_for("alone", "2m").await;
    town.starts("alone", &deaf(3600)).await;
    let scale = async |replicas: &str| {
        let all = ["deployment/lapse-controller", "deployment/lapse-webhook"];
        let scale = [&["scale", replicas, "--namespace", NAMESPACE], &all[..]].concat();
        town.kubectl(&town.admin, &scale).await.ok().unwrap();
    };
    scale("--replicas=0").await;
    let programs = "--selector=app.kubernetes.io/component in (controller,webhook)";
    let programs = ["get", "pods", programs, "--output=name", "--namespace", NAMESPACE];
    let stopped = eventually("neither program to run", SOON, async || {
        let left = town.kubectl(&town.admin, &programs).await.ok()?;
        Ok(left.is_empty().then(lapse_cluster::clock::now))
    })
    .await;
    let pods: Api<Pod> = Api::namespaced(town.admin.client.clone(), SHOP);
    let over = eventually("the pod to be over", Duration::from_mins(5), async || {
        let status = pods.get("alone").await?.status.unwrap();
        Ok((status.phase.as_deref() == Some("Failed")).then_some(status))
    })
    .await;
    scale("--replicas=2").await;
    assert!(stopped.unwrap() < grant.spec.expires_at.time(), "the programs stopped too late");
    assert_eq!(over.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    let now = lapse_cluster::clock::now();
    assert!(now >= grant.spec.expires_at.time() - chrono::TimeDelta::seconds(2), "not before");
    town.ended(&grant).await;
}
