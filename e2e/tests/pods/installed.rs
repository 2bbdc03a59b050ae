//! The chart with its default values: all that it runs becomes ready, under restricted pod security, and does its work.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{SOON, eventually};

use crate::town::Town;

#[tokio::test]
async fn both_programs_and_the_sweep_run_as_the_chart_has_them() {
    let town = Town::take().await;
    let namespaces: Api<Namespace> = Api::all(town.admin.client.clone());
    let namespace = namespaces.get(NAMESPACE).await.unwrap();
    assert_eq!(namespace.labels()["pod-security.kubernetes.io/enforce"], "restricted");
    for component in ["controller", "webhook"] {
        let pods = town.pods(component).await;
        assert_eq!(pods.len(), 2, "{component}");
        for pod in pods {
            let status = pod.status.clone().unwrap();
            let ready = status.conditions.unwrap().into_iter().find(|one| one.type_ == "Ready");
            assert_eq!(ready.unwrap().status, "True", "{}", pod.name_any());
            let container = &status.container_statuses.unwrap()[0];
            assert_eq!(container.image, "docker.io/library/lapse:0.1.0");
        }
    }
    let namespace = ["--namespace", NAMESPACE];
    let sweep = ["create", "job", "sweep-now", "--from=cronjob/lapse-sweep"];
    town.kubectl(&town.admin, &[&sweep, &namespace[..]].concat()).await.ok().unwrap();
    let wait = ["wait", "job/sweep-now", "--for=condition=Complete", "--timeout=2m"];
    town.kubectl(&town.admin, &[&wait, &namespace[..]].concat()).await.ok().unwrap();
    let logs = ["logs", "job/sweep-now"];
    let said = town.kubectl(&town.admin, &[&logs, &namespace[..]].concat()).await.ok().unwrap();
    assert!(said.contains("swept"), "{said}");
    let delete = ["delete", "job/sweep-now"];
    town.kubectl(&town.admin, &[&delete, &namespace[..]].concat()).await.ok().unwrap();
}

#[tokio::test]
async fn a_right_is_given_and_ends() {
    let town = Town::take().await;
    town.shop().await;
    assert!(!town.may_exec().await);
    let grant = town.granted("give").await;
    town.end("give", &grant).await;
}

/// Of everything that runs, as a node that runs out of memory would.
#[tokio::test]
async fn killed_programs_come_back_and_know_what_they_gave() {
    let town = Town::take().await;
    town.shop().await;
    let grant = town.granted("kill").await;
    let mut before = Vec::new();
    for component in ["controller", "webhook"] {
        for pod in town.pods(component).await {
            let container = pod.status.clone().unwrap().container_statuses.unwrap().remove(0);
            let node = pod.spec.clone().unwrap().node_name.unwrap();
            let node = town.cluster.nodes().iter().find(|one| one.name() == node).unwrap();
            node.kill(container.container_id.as_deref().unwrap()).await.unwrap();
            before.push((component, pod.name_any(), container.restart_count));
        }
    }
    for (component, name, restarts) in before {
        eventually(&format!("{name} to run again"), SOON, async || {
            let pods = town.pods(component).await;
            let pod = pods.into_iter().find(|pod| pod.name_any() == name);
            let container = pod.and_then(|pod| pod.status?.container_statuses?.pop());
            let is_back = |one: &_| {
                let one: &k8s_openapi::api::core::v1::ContainerStatus = one;
                one.ready && one.restart_count > restarts
            };
            Ok(container.filter(is_back).map(|_| ()))
        })
        .await
        .unwrap();
    }
    assert!(town.may_exec().await, "what was given stays given");
    let kept = town.grant(&grant.name_any()).await;
    assert_eq!(kept.uid(), grant.uid());
    town.end("kill", &grant).await;
}
