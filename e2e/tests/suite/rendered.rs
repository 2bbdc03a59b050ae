//! The chart as the real Helm renders it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use kube::ResourceExt as _;
use lapse_e2e::plane::{Plane, workspace};
use lapse_engine::Settings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::typed;

/// What the chart renders with some values.
pub(crate) struct Rendered(Vec<Value>);

impl Rendered {
    pub(crate) async fn with(values: &[&str]) -> Self {
        let text = helm(&["template"], values).await;
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
        let component = |pod: PodTemplateSpec| {
            let labels = pod.metadata.as_ref().unwrap().labels.as_ref().unwrap();
            (labels["app.kubernetes.io/component"].clone(), pod)
        };
        deployments.chain(jobs).map(component).collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        let maps: Vec<ConfigMap> = self.all("ConfigMap");
        let map = maps.iter().find(|map| map.name_any() == "lapse-settings").unwrap();
        serde_saphyr::from_str(&map.data.as_ref().unwrap()["settings.yaml"]).unwrap()
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
