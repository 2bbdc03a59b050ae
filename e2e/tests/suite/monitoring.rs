//! What the chart installs for monitoring, by Prometheus' own tool and by what the programs really serve.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt as _;
use lapse_e2e::plane::{InstallOptions, Plane, eventually, promtool, workspace};
use rstest::rstest;
use serde_json::Value;

use crate::rendered::Rendered;
use crate::world::{SOON, World};

const ALL: [&str; 4] = [
    "metrics.podMonitor.enabled=true",
    "metrics.prometheusRule.enabled=true",
    "metrics.dashboard.enabled=true",
    "gateway.enabled=true",
];

/// The one object of a kind.
fn one(rendered: &Rendered, kind: &str) -> Value {
    let all: Vec<Value> = rendered.all(kind);
    let [one] = all.as_slice() else { panic!("{} of kind {kind}", all.len()) };
    one.clone()
}

async fn alerts() -> Vec<Value> {
    let rule = one(&Rendered::with_operator(&ALL).await, "PrometheusRule");
    let groups = rule["spec"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

async fn dashboard() -> Value {
    let maps: Vec<ConfigMap> = Rendered::with_operator(&ALL).await.all("ConfigMap");
    let map = maps.into_iter().find(|map| map.name_any() == "lapse-dashboard").unwrap();
    assert_eq!(map.labels()["grafana_dashboard"], "1");
    serde_json::from_str(&map.data.unwrap()["lapse.json"]).unwrap()
}

/// Each names a runbook that exists, and says what it has to say.
#[tokio::test]
async fn every_alert_is_complete() {
    let runbooks = std::fs::read_to_string(workspace::root().join("docs/runbooks.md")).unwrap();
    let headings = runbooks.lines().filter_map(|line| line.strip_prefix("### "));
    let mut headings: BTreeSet<String> = headings.map(str::to_lowercase).collect();
    for alert in alerts().await {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for annotation in ["summary", "description"] {
            let said = alert["annotations"][annotation].as_str().unwrap();
            assert!(said.ends_with('.'), "{name}: {annotation}: {said}");
        }
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        let anchor = url.strip_prefix("docs/runbooks.md#").unwrap();
        assert!(headings.remove(anchor), "{name}: {anchor} is no heading, or of two alerts");
    }
    assert!(headings.is_empty(), "runbooks of no alert: {headings:?}");
    let elsewhere = r#"metrics.prometheusRule.runbooks="https://wiki.example/lapse""#;
    let rule = one(&Rendered::with_operator(&[ALL[1], elsewhere]).await, "PrometheusRule");
    let url = &rule["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"];
    assert_eq!(url, "https://wiki.example/lapse#lapserevocationoverdue");
    // Without a gateway none is missed.
    assert!(!rule.to_string().contains("LapseGateway"));
}

/// Links within the documents lead somewhere.
#[test]
fn runbooks_refer_to_what_exists() {
    let docs = workspace::root().join("docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    let runbooks = read("runbooks.md");
    let mut links = 0;
    for link in runbooks.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
        let (file, anchor) = link.0.split_once('#').unwrap_or((link.0, ""));
        let text = if file.is_empty() { runbooks.clone() } else { read(file) };
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let mut anchors = headings
            .map(|line| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-"));
        assert!(anchor.is_empty() || anchors.any(|known| known == anchor), "{}", link.0);
        links += 1;
    }
    assert!(links > 10, "{links}");
}

/// The names of metrics of Lapse in an expression.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split(move |c| !is_part(c)).filter(|word| word.starts_with("lapse_"))
}

/// What no program serves never fires, and shows nothing.
#[tokio::test]
async fn alerts_and_dashboard_name_only_what_is_served() {
    let options = InstallOptions { gateways: 1, ..InstallOptions::default() };
    let world = World::own("monitoring-names", options).await;
    // The webhook has answered something.
    world.granted("asked", serde_json::json!({})).await;
    let is_leading = &world.lapse.controllers[0];
    eventually("standing privileges to be counted, and a sweep", SOON, async || {
        let text = is_leading.metrics_text().await?;
        let both = ["lapse_subjects_standing{", "lapse_policies{"];
        Ok(both.iter().all(|name| text.contains(name)).then_some(()))
    })
    .await
    .unwrap();
    let mut served = BTreeSet::new();
    for component in world.lapse.components() {
        let text = component.metrics_text().await.unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        served.extend(samples.filter_map(|line| line.split(['{', ' ']).next()).map(String::from));
    }
    let mut expressions: Vec<String> = Vec::new();
    for alert in alerts().await {
        expressions.push(alert["expr"].as_str().unwrap().to_owned());
    }
    let rules = expressions.len();
    let dashboard = dashboard().await;
    let panels = dashboard["panels"].as_array().unwrap();
    let panels: Vec<&Value> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    for panel in &panels {
        let targets = panel["targets"].as_array().unwrap();
        expressions.extend(targets.iter().map(|of| of["expr"].as_str().unwrap().to_owned()));
    }
    assert!(rules > 20 && panels.len() > 20, "{rules} rules, {} panels", panels.len());
    let mut of_these = BTreeSet::new();
    for expression in &expressions {
        let names: Vec<&str> = named(expression).collect();
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(served.contains(name), "{expression}: nobody serves {name}");
            of_these.insert(name.to_owned());
        }
    }
    // Panels are where nobody overlaps another, and each has a number of its own.
    let numbers: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(numbers.len(), panels.len());
}

/// Each alert fires when it ought to, and not before: the cases are in `alerts.yaml`.
#[tokio::test]
async fn alerts_fire_and_do_not_fire() {
    let rule = one(&Rendered::with_operator(&ALL).await, "PrometheusRule");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let rules = write("rules.yaml", &rule["spec"].to_string());
    let cases = workspace::root().join("e2e/tests/suite/monitoring/alerts.yaml");
    let cases = std::fs::read_to_string(cases).unwrap();
    let tests = write("tests.yaml", &cases);
    let checked = promtool(&["check", "rules", "--lint=all", "--lint-fatal", &rules], None).await;
    checked.unwrap().ok().unwrap();
    promtool(&["test", "rules", &tests], None).await.unwrap().ok().unwrap();
    // No alert is without a case in which it fires.
    for alert in alerts().await {
        let name = format!("{{alertname={},alertstate=\"firing\"}}", alert["alert"]);
        let fires = |line: &str| line.contains(&name) && line.contains("value: 1");
        assert!(cases.lines().any(fires), "no case in which {name} fires");
    }
    assert!(Path::new(&rules).is_file());
}

/// A Service for each program, whose port is the one that its pods serve metrics at.
#[tokio::test]
async fn each_program_has_a_service_for_its_metrics() {
    let rendered = Rendered::with(&[]).await;
    let services: Vec<Service> = rendered.all("Service");
    let pods = rendered.pods();
    for component in ["controller", "webhook"] {
        let name = format!("lapse-{component}-metrics");
        let service = services.iter().find(|service| service.name_any() == name).unwrap();
        let spec = service.spec.as_ref().unwrap();
        assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
        assert_eq!(spec.publish_not_ready_addresses, Some(true));
        let labels = pods[component].metadata.as_ref().unwrap().labels.as_ref().unwrap();
        let selector = spec.selector.as_ref().unwrap();
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        let container = &pods[component].spec.as_ref().unwrap().containers[0];
        let mut ports = container.ports.iter().flatten();
        assert!(ports.any(|port| port.name.as_deref() == Some("metrics")));
    }
    let without = Rendered::with(&["metrics.service.enabled=false"]).await;
    let services: Vec<Service> = without.all("Service");
    assert!(services.iter().all(|service| !service.name_any().ends_with("-metrics")));
}

/// Either finds the pods of both programs, and nothing else.
#[rstest]
#[case("podMonitor", "PodMonitor", "podMetricsEndpoints")]
#[case("serviceMonitor", "ServiceMonitor", "endpoints")]
#[tokio::test]
async fn monitors_select_both_programs(
    #[case] value: &str,
    #[case] kind: &str,
    #[case] endpoints: &str,
) {
    let values = [
        format!("metrics.{value}.enabled=true"),
        format!(r#"metrics.{value}.labels={{"release":"prometheus"}}"#),
    ];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let monitor = one(&Rendered::with_operator(&values).await, kind);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let spec = &monitor["spec"];
    assert_eq!(spec[endpoints][0]["port"], "metrics");
    assert_eq!(spec["selector"]["matchLabels"]["app.kubernetes.io/instance"], "lapse");
    let components = &spec["selector"]["matchExpressions"][0]["values"];
    assert_eq!(components, &serde_json::json!(["controller", "webhook", "gateway"]));
}

/// What cannot work is refused before anything is installed, and says what to do.
#[rstest]
#[case::no_operator(&["metrics.podMonitor.enabled=true"], false, "--api-versions")]
#[case::no_operator_for_rules(&["metrics.prometheusRule.enabled=true"], false, "--api-versions")]
#[case::twice(
    &["metrics.podMonitor.enabled=true", "metrics.serviceMonitor.enabled=true"], true, "twice"
)]
#[case::without_services(
    &["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"], true,
    "metrics.service.enabled"
)]
#[case::interval(&[r#"metrics.podMonitor.interval="often""#], true, "/metrics/podMonitor/interval")]
#[tokio::test]
async fn monitoring_that_cannot_work_is_refused(
    #[case] values: &[&str],
    #[case] with_operator: bool,
    #[case] words: &str,
) {
    let chart = workspace::root().join("charts/lapse");
    let mut args = vec!["template", "lapse", chart.to_str().unwrap(), "--namespace", "elsewhere"];
    if with_operator {
        args.extend(["--api-versions", "monitoring.coreos.com/v1"]);
    }
    args.extend(values.iter().flat_map(|value| ["--set-json", *value]));
    let answer = Plane::shared().await.unwrap().helm(&args).await.unwrap();
    assert!(!answer.success(), "{values:?} was accepted");
    assert!(answer.stderr.contains(words), "{values:?}: {}", answer.stderr);
}
