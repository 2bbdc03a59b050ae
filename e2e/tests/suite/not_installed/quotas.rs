//! What a namespace asks of the pods in it.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::Bare;
use crate::rendered::Rendered;
use crate::world::typed;

/// The pods that the API server would not take, with what it says.
async fn pods_refused(bare: &Bare, namespace: &str, sets: &[&str]) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(bare.admin.client.clone(), namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut refused = Vec::new();
    for (component, template) in Rendered::with(sets).await.pods() {
        let mut metadata = template.metadata.unwrap();
        metadata.name = Some(component);
        let mut spec = template.spec.unwrap();
        // It is no part of a quota, and not known here.
        spec.service_account_name = None;
        let pod = Pod { metadata, spec: Some(spec), status: None };
        refused.extend(api.create(&dry_run, &pod).await.err().map(|error| error.to_string()));
    }
    refused
}

/// What the chart says of quotas is what the API server would say of its pods.
#[tokio::test]
async fn a_namespace_with_quotas() {
    let bare = Bare::start().await;
    let namespace = "lapse-system";
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let of_restricted: Namespace =
        typed(json!({"metadata": {"name": namespace, "labels": restricted}}));
    let namespaces: Api<Namespace> = Api::all(bare.admin.client.clone());
    namespaces.create(&PostParams::default(), &of_restricted).await.unwrap();
    // Nobody counts here, so what is used is said by hand.
    let quota = async |hard: Value| {
        let mut used = hard.clone();
        used.as_object_mut().unwrap().values_mut().for_each(|value| *value = json!("0"));
        let spec = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "of-the-team", "namespace": namespace}, "spec": {"hard": hard},
        });
        bare.apply(&spec.to_string()).await;
        let status = json!({"status": {"hard": spec["spec"]["hard"], "used": used}}).to_string();
        let patch =
            ["patch", "resourcequota", "of-the-team", "--subresource=status", "--type=merge"];
        let patch = [&patch[..], &["--namespace", namespace, "--patch", &status]].concat();
        bare.kubectl(&patch).await.unwrap();
    };
    let range = async |limits: Value| {
        let range = json!({
            "apiVersion": "v1", "kind": "LimitRange",
            "metadata": {"name": "of-the-team", "namespace": namespace}, "spec": {"limits": [limits]},
        });
        bare.apply(&range.to_string()).await;
    };
    // What the chart sets by itself is enough for a quota on these.
    quota(json!({"pods": "20", "requests.cpu": "2", "requests.memory": "4Gi", "limits.memory": "4Gi"}))
        .await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await, [""; 0]);
    bare.install("lapse", namespace, &[]).await.unwrap();

    // One that counts other pods is nobody's business.
    let scoped = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "of-jobs", "namespace": namespace},
        "spec": {"hard": {"limits.cpu": "1"}, "scopes": ["Terminating"]},
    });
    bare.apply(&scoped.to_string()).await;
    bare.install("lapse", namespace, &[]).await.unwrap();
    bare.kubectl(&["delete", "resourcequota", "of-jobs", "--namespace", namespace]).await.unwrap();

    // It sets no limit of the processor, since one that is reached would delay the end of rights.
    quota(json!({"limits.cpu": "4"})).await;
    let refused_by_it = pods_refused(&bare, namespace, &[]).await;
    assert!(refused_by_it.iter().all(|said| said.contains("limits.cpu")), "{refused_by_it:?}");
    assert_eq!(refused_by_it.len(), Rendered::with(&[]).await.pods().len());
    let words = ["controller", "webhook", "sweep"].map(|component| {
        format!("counts limits.cpu, so that it refuses pods without it, and {component}.resources.limits.cpu")
    });
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    bare.refuses("lapse", namespace, &[], &words).await;
    let set = ["controller", "webhook", "sweep"].map(|of| format!("{of}.resources.limits.cpu=1"));
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    assert_eq!(pods_refused(&bare, namespace, &set).await, [""; 0]);
    bare.install("lapse", namespace, &set).await.unwrap();

    // A default of the namespace does as well.
    range(json!({"type": "Container", "default": {"cpu": "500m"}})).await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await, [""; 0]);
    bare.install("lapse", namespace, &[]).await.unwrap();

    // Its bounds count, too.
    range(json!({"type": "Container", "max": {"memory": "200Mi"}, "default": {"cpu": "500m"}}))
        .await;
    assert_eq!(pods_refused(&bare, namespace, &[]).await.len(), 2);
    let words = ["200Mi of memory at the most, and webhook.resources.limits.memory is 256Mi"];
    let said = bare.refuses("lapse", namespace, &[], &words).await;
    assert!(said.contains("for 2 reasons"), "{said}");
    range(json!({"type": "Container", "min": {"memory": "40Mi"}, "default": {"cpu": "500m"}}))
        .await;
    assert!(!pods_refused(&bare, namespace, &[]).await.is_empty());
    let words = ["40Mi of memory at the least, and sweep.resources.requests.memory is 32Mi"];
    bare.refuses("lapse", namespace, &[], &words).await;
    bare.plane.stop().await.unwrap();
}
