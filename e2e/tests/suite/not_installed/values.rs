//! Values that contradict one another, and clusters that are too old: Helm needs none to see that.

use lapse_e2e::plane::{Answer, Plane};
use rstest::rstest;

use super::chart;

/// What Helm says to the chart with some values, without a cluster.
async fn rendered_with(more: &[&str]) -> Answer {
    let chart = chart();
    let args = [&["template", "lapse", &chart, "--namespace", "lapse-system"], more].concat();
    Plane::shared().await.unwrap().helm(&args).await.unwrap()
}

#[rstest]
#[case::bounds(&["duration.min=\"48h\""], "duration.min (48h) is longer than duration.max (24h)")]
#[case::too_long(&["duration.max=\"8761h\""], "a grant lasts at most one year")]
#[case::tag_twice(&["image.repository=\"here:5000/lapse:1.0\""], "Put the tag into image.tag")]
#[case::own_role(
    &[r#"controller.bindableRoles=[{"kind":"ClusterRole","name":"lapse-webhook"}]"#],
    "controller.bindableRoles[0] is ClusterRole \"lapse-webhook\""
)]
#[case::own_account(
    &[r#"guard.trustedReconcilers=["lapse-system:lapse-controller"]"#],
    "guard.trustedReconcilers[0]"
)]
#[case::port(&["webhook.url=\"https://hook.example:70000\""], "a port is a number from 1 to 65535")]
#[case::carried_by_nobody(
    &["gateway.requests.enabled=true"],
    "gateway.requests.enabled is true, and gateway.enabled is false: nobody would carry them"
)]
#[case::port_of_nodes(&["gateway.service.nodePort=30443"], "gateway.service.nodePort is 30443")]
#[case::traffic_from_nowhere(
    &["gateway.service.externalTrafficPolicy=\"Local\""],
    "gateway.service.externalTrafficPolicy is Local, and gateway.service.type is ClusterIP"
)]
#[case::no_load_balancer(
    &[
        "gateway.service.type=\"NodePort\"",
        r#"gateway.service.loadBalancerSourceRanges=["10.0.0.0/8"]"#,
    ],
    "gateway.service.type is NodePort: nothing would be limited"
)]
#[case::minute(&["sweep.schedule=\"60 * * * *\""], "its minute is \"60\"")]
#[case::month(&["sweep.schedule=\"* * * foo *\""], "its month is \"foo\"")]
#[case::nowhere(
    &[r#"controller.grantableRules=[{"nonResourceURLs":["/metrics"],"verbs":["get"]}]"#],
    "controller.allowClusterWide is false: nobody could be given it"
)]
#[case::of_nothing(
    &[r#"controller.grantableRules=[{"apiGroups":[""],"verbs":["get"]}]"#],
    "controller.grantableRules[0] names no resources"
)]
#[case::of_no_group(
    &[r#"controller.grantableRules=[{"resources":["pods"],"verbs":["get"]}]"#],
    "controller.grantableRules[0] names no apiGroups"
)]
#[case::limit(
    &[r#"webhook.resources={"requests":{"memory":"1Gi"},"limits":{"memory":"900Mi"}}"#],
    "webhook.resources: requests.memory (1Gi) is more than limits.memory (900Mi)"
)]
#[case::limit_of_a_number(
    &[r#"sweep.resources={"requests":{"cpu":1},"limits":{"cpu":"500m"}}"#],
    "sweep.resources: requests.cpu (1) is more than limits.cpu (500m)"
)]
#[case::own_annotation(
    &[r#"controller.podAnnotations={"checksum/settings":"x"}"#],
    "controller.podAnnotations has checksum/settings"
)]
#[case::toleration_of_a_value(
    &[r#"webhook.tolerations=[{"key":"a","operator":"Exists","value":"x"}]"#],
    "webhook.tolerations[0] has the operator Exists and a value"
)]
#[case::toleration_of_nothing(&[r#"webhook.tolerations=[{"value":"x"}]"#], "and no key")]
#[case::toleration_for_long(
    &[r#"webhook.tolerations=[{"operator":"Exists","tolerationSeconds":5}]"#],
    "which the effect NoExecute alone has"
)]
#[case::half_a_network(
    &["networkPolicy.enabled=false", "networkPolicy.egress.enabled=true"],
    "nothing would be limited"
)]
#[case::no_address(
    &[r#"networkPolicy.webhookFrom=["10.0.0.0/33"]"#],
    "networkPolicy.webhookFrom[0] is \"10.0.0.0/33\""
)]
#[case::two_peers(
    &[r#"networkPolicy.metricsFrom=[{"ipBlock":{"cidr":"10.0.0.0/8"},"podSelector":{}}]"#],
    "a peer is one or the other"
)]
#[case::two_peers_of_traces(
    &[r#"networkPolicy.egress.collectorTo=[{"ipBlock":{"cidr":"10.0.0.0/8"},"podSelector":{}}]"#],
    "networkPolicy.egress.collectorTo[0]"
)]
#[case::port_of_the_collector(
    &[r#"tracing.endpoint="http://otel:70000""#],
    "tracing.endpoint is \"http://otel:70000\": a port is a number"
)]
#[tokio::test]
async fn values_that_contradict_one_another(#[case] values: &[&str], #[case] words: &str) {
    let sets: Vec<&str> = values.iter().flat_map(|value| ["--set-json", *value]).collect();
    let answer = rendered_with(&sets).await;
    assert!(!answer.success(), "{values:?} were accepted");
    assert!(answer.stderr.contains("nothing was changed. "), "{}", answer.stderr);
    assert!(answer.stderr.contains(words), "{}", answer.stderr);
}

/// The schema says it.
#[rstest]
#[case("tracing.endpoint=\"otel.observability:4317\"")]
#[case("tracing.endpoint=\"https://otel.observability:4318\"")]
#[case("tracing.samplingRatio=1.5")]
#[case("tracing.samplingRatio=\"1.5\"")]
#[tokio::test]
async fn a_collector_that_cannot_be_called(#[case] value: &str) {
    let answer = rendered_with(&["--set-json", value]).await;
    let (path, _) = value.split_once('=').unwrap();
    let place = format!("/{}", path.replace('.', "/"));
    assert!(!answer.success() && answer.stderr.contains(&place), "{}", answer.stderr);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let sets = ["--set", "duration.min=48h", "--set", "sweep.schedule=60 * * * 7"];
    let said = rendered_with(&sets).await.stderr;
    for words in
        ["for 3 reasons:", "\n- duration.min", "its minute", "its day of the week is \"7\""]
    {
        assert!(said.contains(words), "{said}");
    }
}

/// What is taken for wrong by mistake is an installation that fails for no reason.
#[rstest]
#[case("sweep.schedule=\"@hourly\"")]
#[case("sweep.schedule=\"0-30/5,45 */2 1,15 JAN-mar mon-fri\"")]
#[case("image.repository=\"here:5000/team/lapse\"")]
#[case(
    r#"networkPolicy.webhookFrom=["10.0.0.0/8","2001:db8::/32","::1/128","::ffff:10.0.0.1/128"]"#
)]
#[case(r#"controller.resources={"requests":{"cpu":0.5,"memory":"1Gi"},"limits":{"cpu":"1","memory":"1024Mi"}}"#)]
#[case(r#"controller.resources={"limits":{"memory":1000000000},"requests":{"memory":"900M"}}"#)]
#[case(r#"controller.tolerations=[{"operator":"Exists"},{"key":"a","value":"b","effect":"NoExecute","tolerationSeconds":5}]"#)]
#[case(r#"webhook.url="https://[fd00::1]:9443""#)]
#[case(r#"tracing={"endpoint":"http://[fd00::1]:4318/prefix","samplingRatio":0.05}"#)]
#[tokio::test]
async fn values_that_make_sense_are_taken(#[case] value: &str) {
    rendered_with(&["--set-json", value]).await.ok().unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_too_old() {
    let said = rendered_with(&["--kube-version", "1.31.9"]).await;
    assert!(!said.success());
    let words =
        "chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.31.9";
    assert!(said.stderr.contains(words), "{}", said.stderr);
    // Tools that render without a cluster say what it serves.
    let said = rendered_with(&["--api-versions", "apps/v1/Deployment"]).await.stderr;
    for words in [
        "does not serve ValidatingAdmissionPolicy, ",
        "FlowSchema of flowcontrol.apiserver.k8s.io/v1",
    ] {
        assert!(said.contains(words), "{said}");
    }
}
