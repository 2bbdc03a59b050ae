//! The chart with its default values: all that it runs becomes ready, under restricted pod security, and does its work.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{EnvVar, HostAlias, Namespace, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
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
    let said = town.done("sweep-now").await;
    assert!(said.contains("swept"), "{said}");
}

impl Town {
    /// Waits until a job of Lapse's is complete, and removes it. Returns what it logged.
    async fn done(&self, job: &str) -> String {
        let job = format!("job/{job}");
        let run = async |args: &[&str]| {
            let args = [args, &["--namespace", NAMESPACE]].concat();
            self.kubectl(&self.admin, &args).await.ok().unwrap()
        };
        run(&["wait", &job, "--for=condition=Complete", "--timeout=2m"]).await;
        let said = run(&["logs", &job]).await;
        run(&["delete", &job]).await;
        said
    }
}

/// Some clusters name their API server to pods where others give its address. The programs are static, and the C library
/// of other static programs looks for a part of it that is not in the image.
#[tokio::test]
async fn programs_find_an_api_server_by_its_name() {
    let town = Town::take().await;
    let name = "kubernetes.default.svc";
    let services: Api<Service> = Api::namespaced(town.admin.client.clone(), "default");
    let address = services.get("kubernetes").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    let sweeps: Api<CronJob> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    let mut spec =
        sweeps.get("lapse-sweep").await.unwrap().spec.unwrap().job_template.spec.unwrap();
    let pod = spec.template.spec.as_mut().unwrap();
    pod.host_aliases =
        Some(vec![HostAlias { ip: address, hostnames: Some(vec![name.to_owned()]) }]);
    let host = EnvVar {
        name: "KUBERNETES_SERVICE_HOST".to_owned(),
        value: Some(name.to_owned()),
        value_from: None,
    };
    pod.containers[0].env.get_or_insert_default().push(host);
    let metadata = ObjectMeta { name: Some("sweep-by-name".to_owned()), ..ObjectMeta::default() };
    let job = Job { metadata, spec: Some(spec), status: None };
    let jobs: Api<Job> = Api::namespaced(town.admin.client.clone(), NAMESPACE);
    jobs.create(&PostParams::default(), &job).await.unwrap();
    let said = town.done("sweep-by-name").await;
    // What it cannot list it says, and goes on.
    assert!(said.contains("swept") && !said.contains("WARN"), "{said}");
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
    // What was given stays given. That a program is ready is known to the network a moment later.
    town.still_let_in().await;
    let kept = town.grant(&grant.name_any()).await;
    assert_eq!(kept.uid(), grant.uid());
    town.end("kill", &grant).await;
}
