//! The chart as the real Helm renders it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Probe, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::ResourceExt as _;
use lapse_e2e::plane::{Plane, workspace};
use lapse_engine::Settings;
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::typed;

/// What the chart renders with some values.
pub(crate) struct Rendered(Vec<Value>);

impl Rendered {
    pub(crate) async fn with(values: &[&str]) -> Self {
        Self::of(&helm(&["template"], values).await, values)
    }

    /// The same, where the cluster has the Prometheus Operator's definitions.
    pub(crate) async fn with_operator(values: &[&str]) -> Self {
        let command = ["template", "--api-versions=monitoring.coreos.com/v1"];
        Self::of(&helm(&command, values).await, values)
    }

    fn of(text: &str, values: &[&str]) -> Self {
        let blanks: Vec<&str> = text.lines().filter(|line| line.ends_with([' ', '\t'])).collect();
        assert_eq!(blanks, [""; 0], "trailing blanks, with {values:?}");
        let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
        Self(documents.filter(|document: &Value| !document.is_null()).collect())
    }

    /// All of it.
    pub(crate) fn objects(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn all<K: DeserializeOwned>(&self, kind: &str) -> Vec<K> {
        let documents = self.0.iter().filter(|document| document["kind"] == kind);
        documents.cloned().map(typed).collect()
    }

    /// The pods of the chart, by the component that they are.
    pub(crate) fn pods(&self) -> BTreeMap<String, PodTemplateSpec> {
        let deployments: Vec<Deployment> = self.all("Deployment");
        let deployments = deployments.into_iter().map(|of| of.spec.unwrap().template);
        let jobs: Vec<CronJob> = self.all("CronJob");
        let jobs = jobs.into_iter().map(|of| of.spec.unwrap().job_template.spec.unwrap().template);
        let hooks: Vec<Job> = self.all("Job");
        let jobs = jobs.chain(hooks.into_iter().map(|of| of.spec.unwrap().template));
        let component = |pod: PodTemplateSpec| {
            let labels = pod.metadata.as_ref().unwrap().labels.as_ref().unwrap();
            (labels["app.kubernetes.io/component"].clone(), pod)
        };
        deployments.chain(jobs).map(component).collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        serde_saphyr::from_str(&self.file("settings.yaml")).unwrap()
    }

    /// What the controller compares the cluster with.
    pub(crate) fn admission(&self) -> Vec<Value> {
        serde_json::from_str(&self.file("admission.json")).unwrap()
    }

    /// One of the files that the programs are given.
    fn file(&self, name: &str) -> String {
        let maps: Vec<ConfigMap> = self.all("ConfigMap");
        let map = maps.into_iter().find(|map| map.name_any() == "lapse-settings").unwrap();
        map.data.unwrap().remove(name).unwrap()
    }
}

/// What Helm says to a command about the chart with some values.
async fn helm(command: &[&str], values: &[&str]) -> String {
    let chart = workspace::root().join("charts/lapse");
    // No ordinary name, so that nothing can agree by being written down twice.
    let of_chart = ["lapse", chart.to_str().unwrap(), "--namespace", "elsewhere"];
    let mut args = [command, &of_chart].concat();
    args.extend(values.iter().flat_map(|value| ["--set-json", *value]));
    let plane = Plane::shared().await.unwrap();
    plane.helm(&args).await.unwrap().ok().unwrap()
}

/// What Helm says after an installation with some rules to hand out.
async fn notes(grantable_rules: &Value) -> String {
    let rules = format!("controller.grantableRules={grantable_rules}");
    let said = helm(&["install", "--dry-run=client"], &[&rules]).await;
    said.split_once("NOTES:").unwrap().1.to_owned()
}

/// Everything that may be left out is left out, and everything that may be said is said: rendering it looks for
/// trailing blanks.
#[rstest]
#[case::as_it_comes(&[])]
#[case::little(&[
    "controller.bindableRoles=[]", "protectedNamespaces=[]", "networkPolicy.metricsFrom=[]", "sweep.resources={}",
    "controller.resources={}", "webhook.resources={}", "flowControl.enabled=false", "uninstall.endRights=false",
    "crds.install=false", "metrics.service.enabled=false",
])]
#[case::no_network_policies(&["networkPolicy.enabled=false"])]
#[case::much(&[
    r#"controller.grantableRules=[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#,
    r#"controller.bindableRoles=[{"kind":"Role","name":"mend"}]"#,
    "controller.allowClusterWide=true", "controller.endWorkloads=true",
    r#"controller.priorityClassName="x""#, r#"controller.nodeSelector={"a":"b"}"#,
    r#"controller.tolerations=[{"operator":"Exists"}]"#, r#"webhook.affinity={"podAffinity":{}}"#,
    r#"controller.podLabels={"x":"y"}"#, r#"controller.podAnnotations={"x":"y"}"#,
    r#"image.pullSecrets=["registry"]"#, r#"guard.trustedReconcilers=["flux-system:apply"]"#,
    r#"webhook.url="https://hook.example""#, r#"networkPolicy.webhookFrom=["10.0.0.0/28"]"#,
    "networkPolicy.egress.enabled=true", r#"networkPolicy.egress.apiServerCIDRs=["10.96.0.1/32"]"#,
    r#"metrics.service.annotations={"x":"y"}"#, "metrics.dashboard.enabled=true",
    r#"metrics.dashboard.annotations={"folder":"Security"}"#,
    r#"tracing.endpoint="http://otel:4318""#, "networkPolicy.egress.collectorTo=[{\"podSelector\":{}}]",
])]
#[case::hosts(&[
    "gateway.enabled=true", r#"gateway.service.type="LoadBalancer""#, "gateway.service.nodePort=30443",
    r#"gateway.service.loadBalancerSourceRanges=["10.0.0.0/8"]"#,
])]
#[tokio::test]
async fn what_is_rendered_has_no_trailing_blanks(#[case] values: &[&str]) {
    let rendered = Rendered::with(values).await;
    let gateways = usize::from(values.contains(&"gateway.enabled=true"));
    assert_eq!(rendered.all::<Deployment>("Deployment").len(), 2 + gateways);
}

/// What a cluster wants of the placement of the pods comes beside what the chart wants, and not in its place. That the
/// scheduler does as it says is shown on real nodes (tests/pods/spread.rs).
#[tokio::test]
async fn affinity_of_ones_own_leaves_replicas_on_nodes_of_their_own() {
    let term = r#"{"weight":1,"podAffinityTerm":{"topologyKey":"rack","labelSelector":{}}}"#;
    let own = format!(
        r#"webhook.affinity={{"nodeAffinity":{{}},"podAntiAffinity":{{"preferredDuringSchedulingIgnoredDuringExecution":[{term}]}}}}"#
    );
    let pods = Rendered::with(&[&own]).await.pods();
    for (component, expected) in [
        ("controller", &["kubernetes.io/hostname"][..]),
        ("webhook", &["rack", "kubernetes.io/hostname"]),
    ] {
        let pod = pods[component].spec.as_ref().unwrap();
        let affinity = pod.affinity.as_ref().unwrap();
        assert_eq!(affinity.node_affinity.is_some(), component == "webhook");
        let apart = affinity.pod_anti_affinity.as_ref().unwrap();
        let terms = apart.preferred_during_scheduling_ignored_during_execution.as_ref().unwrap();
        let keys: Vec<_> =
            terms.iter().map(|term| term.pod_affinity_term.topology_key.as_str()).collect();
        assert_eq!(keys, expected, "{component}");
        let ours = &terms.last().unwrap().pod_affinity_term;
        // Else pods of the release before would push new ones together.
        assert_eq!(ours.match_label_keys, Some(vec!["pod-template-hash".to_owned()]));
        // Two soft constraints would switch one another off where nodes lack a label.
        let zones = pod.topology_spread_constraints.as_ref().unwrap();
        let zones: Vec<_> = zones.iter().map(|one| one.topology_key.as_str()).collect();
        assert_eq!(zones, ["topology.kubernetes.io/zone"], "{component}");
    }
}

/// A pod is ready a second after its program is, and one that waits for the API server is not restarted meanwhile.
#[tokio::test]
async fn the_start_of_a_program_is_looked_at_often_and_for_long() {
    let pods = Rendered::with(&[]).await.pods();
    for component in ["controller", "webhook"] {
        let container = &pods[component].spec.as_ref().unwrap().containers[0];
        let startup = container.startup_probe.as_ref().unwrap();
        let path = |probe: &Option<Probe>| {
            probe.as_ref().unwrap().http_get.as_ref().unwrap().path.clone().unwrap()
        };
        assert_eq!(startup.http_get, container.readiness_probe.as_ref().unwrap().http_get);
        assert_eq!(path(&container.readiness_probe), "/readyz", "{component}");
        assert_eq!(path(&container.liveness_probe), "/livez", "{component}");
        assert_eq!(startup.period_seconds, Some(1), "{component}");
        // A kubelet forgets restarts after twice the longest time that it puts one off, which is five minutes.
        assert!(startup.failure_threshold.unwrap() > 600, "{component}");
    }
}

/// A gateway sees the hosts' addresses where that cuts nobody off, and takes as many connections as are said.
#[rstest]
#[case::inside("\"ClusterIP\"", "\"\"", None)]
#[case::load_balancer("\"LoadBalancer\"", "\"\"", Some("Local"))]
#[case::node_port("\"NodePort\"", "\"\"", Some("Cluster"))]
#[case::as_said("\"NodePort\"", "\"Local\"", Some("Local"))]
#[tokio::test]
async fn a_gateway_sees_the_addresses_of_hosts(
    #[case] service: &str,
    #[case] said: &str,
    #[case] expected: Option<&str>,
) {
    let service = format!("gateway.service.type={service}");
    let said = format!("gateway.service.externalTrafficPolicy={said}");
    let values = ["gateway.enabled=true", "gateway.maxConnections=700", &service, &said];
    let rendered = Rendered::with(&values).await;
    let services = rendered.all::<Service>("Service");
    let gateway = services.iter().find(|service| service.name_any() == "lapse-gateway").unwrap();
    let policy = gateway.spec.as_ref().unwrap().external_traffic_policy.as_deref();
    assert_eq!(policy, expected);
    let args = rendered.pods()["gateway"].spec.as_ref().unwrap().containers[0].args.clone();
    assert!(args.unwrap().contains(&"--max-connections=700".to_owned()));
}

/// Who sets up hosts can read by what these know the installation, and no more of its namespace.
#[tokio::test]
async fn who_sets_up_hosts_reads_the_pin() {
    let rendered = Rendered::with(&["gateway.enabled=true"]).await;
    let roles = rendered.all::<Role>("Role");
    let reader = roles.iter().find(|role| role.name_any() == "lapse-endpoint-admin").unwrap();
    let [rule] = &reader.rules.as_ref().unwrap()[..] else { panic!("one rule") };
    assert_eq!(rule.resource_names, Some(vec!["lapse-endpoint-trust".to_owned()]));
    assert_eq!(rule.verbs, ["get"]);
}

/// Who finds hosts by their labels reads Endpoints, in the whole cluster, and therefore nothing else.
#[tokio::test]
async fn who_finds_hosts_by_labels_reads_endpoints_alone() {
    let rendered = Rendered::with(&[]).await;
    let roles = rendered.all::<ClusterRole>("ClusterRole");
    let viewer = roles.iter().find(|role| role.name_any() == "lapse-endpoint-viewer").unwrap();
    assert_eq!(viewer.aggregation_rule, None);
    let [rule] = &viewer.rules.as_ref().unwrap()[..] else { panic!("one rule") };
    let list = |values: &[&str]| Some(values.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(rule.api_groups, list(&["lapse.dev"]));
    assert_eq!((&rule.resources, &rule.resource_names), (&list(&["endpoints"]), &None));
    assert_eq!(rule.verbs, ["get", "list"]);
}

/// Runs of the sweep that failed can be read for a day, and do not pile up.
#[tokio::test]
async fn a_sweep_that_failed_can_be_read() {
    let rendered = Rendered::with(&[]).await;
    let [sweep] = &rendered.all::<CronJob>("CronJob")[..] else { panic!("one sweep") };
    let spec = sweep.spec.as_ref().unwrap();
    assert_eq!(spec.failed_jobs_history_limit, Some(3));
    assert_eq!(spec.job_template.spec.as_ref().unwrap().ttl_seconds_after_finished, Some(86400));
}

/// Helm runs it before it deletes anything, waits for it, and leaves it only if it failed. It needs what the release
/// has made, and nothing of its own.
#[tokio::test]
async fn a_hook_ends_every_right_before_the_release_goes() {
    let rendered = Rendered::with(&[]).await;
    let jobs = rendered.all::<Job>("Job");
    let drain = jobs.iter().find(|job| job.name_any() == "lapse-drain").unwrap();
    let annotation = |key: &str| drain.annotations().get(key).map(String::as_str);
    assert_eq!(annotation("helm.sh/hook"), Some("pre-delete"));
    assert_eq!(annotation("helm.sh/hook-weight"), Some("0"));
    let policy = annotation("helm.sh/hook-delete-policy");
    assert_eq!(policy, Some("before-hook-creation,hook-succeeded"));
    let spec = drain.spec.as_ref().unwrap();
    // Helm waits for 300 s by default, and is told in time.
    assert!(spec.active_deadline_seconds.unwrap() < 300);
    let pod = spec.template.spec.as_ref().unwrap();
    assert_eq!(pod.service_account_name.as_deref(), Some("lapse-controller"));
    let container = &pod.containers[0];
    let args = ["drain", "--settings=/etc/lapse/settings.yaml"].map(String::from);
    assert_eq!(container.args.as_deref(), Some(&args[..]));
    // Its pod is that of the sweep, but for the command.
    let pods = rendered.pods();
    let mut sweep = pods["sweep"].spec.clone().unwrap();
    sweep.containers[0].name = "drain".to_owned();
    sweep.containers[0].args = container.args.clone();
    assert_eq!(&sweep, pod);
    let hooks = |kind: &str| {
        let all = rendered.0.iter().filter(|document| document["kind"] == kind);
        let is_hook =
            |document: &&Value| !document["metadata"]["annotations"]["helm.sh/hook"].is_null();
        all.filter(is_hook).count()
    };
    for kind in
        ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap"]
    {
        assert_eq!(hooks(kind), 0, "a hook of kind {kind} would be gone when it is needed");
    }
    let without = Rendered::with(&["uninstall.endRights=false"]).await;
    assert!(without.all::<Job>("Job").iter().all(|job| job.name_any() != "lapse-drain"));
}

/// Before anything else, and with nothing that the release makes: at the first installation there is nothing yet.
#[tokio::test]
async fn a_hook_runs_the_image_before_anything_is_changed() {
    let rendered = Rendered::with(&["uninstall.endRights=false", "image.check=true"]).await;
    let [check] = &rendered.all::<Job>("Job")[..] else { panic!("one hook") };
    let annotation = |key: &str| check.annotations().get(key).map(String::as_str);
    assert_eq!(annotation("helm.sh/hook"), Some("pre-install,pre-upgrade"));
    let spec = check.spec.as_ref().unwrap();
    // Helm waits for 300 s by default, and is told in time.
    assert!(spec.active_deadline_seconds.unwrap() < 300);
    let pod = spec.template.spec.as_ref().unwrap();
    assert_eq!((&pod.service_account_name, &pod.volumes), (&None, &None));
    let container = &pod.containers[0];
    assert_eq!(container.args.as_deref(), Some(&["--version".to_owned()][..]));
    for pod in rendered.pods().into_values() {
        assert_eq!(pod.spec.unwrap().containers[0].image, container.image);
    }
    let without = Rendered::with(&["uninstall.endRights=false"]).await;
    assert_eq!(without.all::<Job>("Job"), []);
}

#[tokio::test]
async fn whoever_hands_out_reading_secrets_is_warned() {
    let rule = |resource: &str, verb: &str| json!([{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]);
    let warning = "the controller itself can read";
    for (resource, verb) in [("secrets", "list"), ("*", "get"), ("secrets", "*")] {
        let said = notes(&rule(resource, verb)).await;
        assert!(said.contains(warning), "{resource} {verb}: {said}");
    }
    for (resource, verb) in [("secrets", "create"), ("pods", "get")] {
        let said = notes(&rule(resource, verb)).await;
        assert!(!said.contains(warning), "{resource} {verb}: {said}");
    }
    let mut named = rule("secrets", "get");
    named[0]["resourceNames"] = json!(["of-the-shop"]);
    assert!(!notes(&named).await.contains(warning));
    assert!(!notes(&json!([])).await.contains(warning));
}

/// The API server evaluates each of several conditions, whatever the others say. What looks at all markers is part of the
/// only one, behind what is cheap.
#[tokio::test]
async fn whether_somebody_holds_a_right_is_asked_only_where_it_matters() {
    let rendered = Rendered::with(&["gateway.enabled=true", "controller.endWorkloads=true"]).await;
    let mut asking = 0;
    for object in rendered.objects() {
        let webhooks = object["webhooks"].as_array().into_iter().flatten();
        for entry in webhooks.chain([&object["spec"]]) {
            let conditions = entry["matchConditions"].as_array().into_iter().flatten();
            let all: Vec<&str> =
                conditions.map(|condition| condition["expression"].as_str().unwrap()).collect();
            if all.iter().any(|expression| expression.contains("authorizer.")) {
                assert_eq!(all.len(), 1, "{} {}", object["metadata"]["name"], entry["name"]);
                asking += 1;
            }
        }
    }
    assert!(asking >= 6, "{asking}");
}
