//! The chart's pods and what they may be reached by: verified by what Helm renders and what the API server takes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec, ServiceAccount};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use lapse_e2e::plane::{InstallOptions, Lapse, Plane, PlaneOptions, eventually};
use serde_json::json;

use crate::rendered::Rendered;
use crate::world::{SOON, refused, typed};

/// Every pod of the chart, with everything set that people may set on pods.
async fn all_pods() -> BTreeMap<String, PodTemplateSpec> {
    let rendered = Rendered::with(&[
        r#"controller.podLabels={"x":"y"}"#,
        r#"webhook.podAnnotations={"x":"y"}"#,
        r#"image.pullSecrets=["registry"]"#,
        "image.check=true",
    ])
    .await;
    let pods = rendered.pods();
    assert_eq!(
        pods.keys().collect::<Vec<_>>(),
        ["controller", "drain", "image-check", "sweep", "webhook"]
    );
    pods
}

/// The strictest of Kubernetes' own standards, enforced by its own admission.
#[tokio::test]
async fn the_pods_run_where_only_restricted_ones_may() {
    let admin = Plane::shared().await.unwrap().admin().await.unwrap();
    let name = "hardened-restricted";
    let enforce = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace: Namespace = typed(json!({"metadata": {"name": name, "labels": enforce}}));
    let namespaces: Api<Namespace> = Api::all(admin.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let api: Api<Pod> = Api::namespaced(admin.client.clone(), name);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    for (component, template) in all_pods().await {
        let mut metadata = template.metadata.unwrap();
        metadata.name = Some(component.clone());
        let mut pod = Pod { metadata, spec: template.spec, status: None };
        api.create(&dry_run, &pod).await.unwrap_or_else(|error| panic!("{component}: {error}"));
        // Else it would prove nothing: the standard is enforced here.
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        container.security_context.as_mut().unwrap().allow_privilege_escalation = Some(true);
        refused(api.create(&dry_run, &pod).await.map_err(Into::into), "restricted");
    }
}

/// What the standard does not ask for.
#[tokio::test]
async fn the_pods_hold_nothing_that_they_do_not_need() {
    let rendered = Rendered::with(&[]).await;
    for account in rendered.all::<ServiceAccount>("ServiceAccount") {
        assert_eq!(account.automount_service_account_token, Some(false), "{}", account.name_any());
    }
    for (component, template) in all_pods().await {
        let pod = template.spec.unwrap();
        // All of them talk to the API server, but for the one that runs before anything is installed.
        let talks = component != "image-check";
        assert_eq!(pod.automount_service_account_token, Some(talks), "{component}");
        assert_eq!(pod.service_account_name.is_some(), talks, "{component}");
        assert_eq!(pod.enable_service_links, Some(false), "{component}");
        assert_eq!(pod.init_containers, None, "{component}");
        let of_host = [pod.host_network, pod.host_pid, pod.host_ipc, pod.share_process_namespace];
        assert_eq!(of_host, [None; 4], "{component}");
        let of_pod = pod.security_context.unwrap();
        assert_eq!((of_pod.run_as_user, of_pod.run_as_non_root), (Some(65532), Some(true)));
        for volume in pod.volumes.into_iter().flatten() {
            assert_eq!(volume.config_map.unwrap().name, "lapse-settings", "{component}");
        }
        let [container] = pod.containers.as_slice() else { panic!("{component}: one container") };
        assert!(
            container.volume_mounts.iter().flatten().all(|mount| mount.read_only == Some(true))
        );
        assert!(container.resources.as_ref().unwrap().limits.is_some(), "{component}");
        let security = container.security_context.clone().unwrap();
        assert_eq!(security.read_only_root_filesystem, Some(true), "{component}");
        assert_eq!(security.privileged, None, "{component}");
        let capabilities = security.capabilities.unwrap();
        assert_eq!((capabilities.drop, capabilities.add), (Some(vec!["ALL".to_owned()]), None));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault", "{component}");
    }
}

/// The policy of each component, which must select its pods.
async fn policies(values: &[&str]) -> BTreeMap<String, NetworkPolicy> {
    let rendered = Rendered::with(values).await;
    let pods = rendered.pods();
    let mut policies = BTreeMap::new();
    for policy in rendered.all::<NetworkPolicy>("NetworkPolicy") {
        let selector = policy.spec.as_ref().unwrap().pod_selector.clone().unwrap();
        let wanted = selector.match_labels.unwrap();
        let selects = |pod: &PodTemplateSpec| {
            let labels = pod.metadata.as_ref().unwrap().labels.as_ref().unwrap();
            wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let selected: Vec<_> = pods.iter().filter(|(_, pod)| selects(pod)).collect();
        let [(component, _)] = selected.as_slice() else { panic!("{}", policy.name_any()) };
        policies.insert((*component).clone(), policy);
    }
    policies
}

fn numbers(ports: Option<&Vec<NetworkPolicyPort>>) -> Vec<i32> {
    let ports = ports.into_iter().flatten().filter_map(|port| port.port.clone());
    ports.map(|port| if let IntOrString::Int(port) = port { port } else { panic!() }).collect()
}

/// The ports that are open, and whether to everybody.
fn open(policy: &NetworkPolicy) -> Vec<(Vec<i32>, bool)> {
    let rules = policy.spec.as_ref().unwrap().ingress.iter().flatten();
    let is_empty = |from: Option<&Vec<_>>| from.is_none_or(Vec::is_empty);
    rules.map(|rule| (numbers(rule.ports.as_ref()), is_empty(rule.from.as_ref()))).collect()
}

/// Neither is its pod reached nor does it reach anybody, whatever the values.
fn reaches_nobody(policy: &NetworkPolicy) {
    let spec = policy.spec.as_ref().unwrap();
    let both = vec!["Ingress".to_owned(), "Egress".to_owned()];
    assert_eq!(spec.policy_types.as_ref(), Some(&both));
    assert_eq!((spec.ingress.iter().flatten().count(), &spec.egress), (0, &Some(Vec::new())));
}

#[tokio::test]
async fn only_what_must_be_reached_is_open() {
    let mut all = policies(&["image.check=true"]).await;
    reaches_nobody(&all.remove("image-check").unwrap());
    assert_eq!(all.len(), 4);
    for (component, policy) in &all {
        let spec = policy.spec.as_ref().unwrap();
        assert_eq!(spec.policy_types, Some(vec!["Ingress".to_owned()]), "{component}");
        assert_eq!(spec.egress, None, "{component}");
    }
    assert_eq!(open(&all["controller"]), [(vec![9090], false)]);
    assert_eq!(open(&all["webhook"]), [(vec![9443], true), (vec![9090], false)]);
    assert_eq!(open(&all["sweep"]), []);
    assert_eq!(open(&all["drain"]), []);
    // An empty list of peers would mean everybody.
    let none = ["networkPolicy.metricsFrom=[]", r#"networkPolicy.webhookFrom=["10.0.0.0/28"]"#];
    let closed = policies(&none).await;
    assert_eq!(open(&closed["controller"]), []);
    assert_eq!(open(&closed["webhook"]), [(vec![9443], false)]);
    assert!(policies(&["networkPolicy.enabled=false"]).await.is_empty());
    // What is open is what the pods listen on.
    let pods = all_pods().await;
    for (component, expected) in [("controller", vec![9090]), ("webhook", vec![9443, 9090])] {
        let container = &pods[component].spec.as_ref().unwrap().containers[0];
        let listens = container.ports.iter().flatten().map(|port| port.container_port);
        assert_eq!(listens.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn what_is_reached_is_limited_to_names_and_the_api_server() {
    let values = [
        "image.check=true",
        "networkPolicy.egress.enabled=true",
        "networkPolicy.egress.apiServerPorts=[6443]",
        r#"networkPolicy.egress.apiServerCIDRs=["10.96.0.1/32","fd00::1/128"]"#,
    ];
    let mut all = policies(&values).await;
    reaches_nobody(&all.remove("image-check").unwrap());
    assert_eq!(all.len(), 4);
    for (component, policy) in all {
        let spec = policy.spec.unwrap();
        assert!(spec.policy_types.unwrap().contains(&"Egress".to_owned()), "{component}");
        let egress = spec.egress.unwrap();
        let [names, server] = egress.as_slice() else { panic!("{component}: {egress:?}") };
        assert_eq!((numbers(names.ports.as_ref()), &names.to), (vec![53, 53], &None));
        assert_eq!(numbers(server.ports.as_ref()), [6443]);
        let to = server.to.iter().flatten().map(|peer| peer.ip_block.clone().unwrap().cidr);
        assert_eq!(to.collect::<Vec<_>>(), ["10.96.0.1/32", "fd00::1/128"]);
    }
}

/// The collector of traces is reached, too, where there is one: by the port of its endpoint unless others are named.
#[tokio::test]
async fn the_collector_of_traces_is_reached() {
    let limited = "networkPolicy.egress.enabled=true";
    for (endpoint, more, ports, is_open) in [
        ("http://otel.observability:4318", &[][..], vec![4318], true),
        ("http://otel.observability", &[], vec![80], true),
        ("http://[fd00::1]:4318/prefix", &[], vec![4318], true),
        (
            "http://otel.observability",
            &[
                "networkPolicy.egress.collectorPorts=[4318,4319]",
                r#"networkPolicy.egress.collectorTo=[{"namespaceSelector":{}}]"#,
            ],
            vec![4318, 4319],
            false,
        ),
    ] {
        let endpoint = format!("tracing.endpoint={endpoint:?}");
        let values = [&[limited, &endpoint], more].concat();
        for (component, policy) in policies(&values).await {
            let egress = policy.spec.unwrap().egress.unwrap();
            let [_, _, collector] = egress.as_slice() else { panic!("{component}: {egress:?}") };
            assert_eq!(numbers(collector.ports.as_ref()), ports, "{component}");
            assert_eq!(collector.to.is_none(), is_open, "{component}");
        }
    }
}

/// A controller that is cut off ends nothing: Helm sees where the API server listens, and refuses.
#[tokio::test]
async fn a_policy_that_would_cut_the_controller_off_is_refused() {
    let options = InstallOptions { controllers: 0, webhooks: 0, ..InstallOptions::default() };
    let lapse = Lapse::start(PlaneOptions::default(), options).await.unwrap();
    let admin = lapse.plane().admin().await.unwrap();
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"name": "https", "port": 16443, "protocol": "TCP"}],
    })
    .to_string();
    let create = ["create", "-f", "-"];
    let created = lapse.plane().kubectl_with_input(&admin, &create, Some(&endpoints));
    created.await.unwrap().ok().unwrap();
    let limited = "networkPolicy.egress.enabled=true";
    refused(lapse.upgrade(&[limited]).await, "but the API server listens on 16443");
    lapse.upgrade(&[]).await.unwrap();
    let ports = "networkPolicy.egress.apiServerPorts={443,16443}";
    lapse.upgrade(&[limited, ports]).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.client.clone(), "lapse-system");
    eventually("the policies to be there", SOON, async || {
        let spec = policies.get("lapse-controller").await?.spec;
        Ok(spec.and_then(|spec| spec.egress))
    })
    .await
    .unwrap();
}
