//! The chart as the real Helm renders it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use lapse_e2e::plane::{Plane, workspace};
use lapse_engine::Settings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::world::typed;

/// What the chart renders with some values.
pub(crate) struct Rendered(Vec<Value>);

impl Rendered {
    pub(crate) async fn with(values: &[&str]) -> Self {
        let chart = workspace::root().join("charts/lapse");
        let mut args = vec!["template", "lapse", chart.to_str().unwrap()];
        // No ordinary name, so that nothing can agree by being written down twice.
        args.extend(["--namespace", "elsewhere"]);
        args.extend(values.iter().flat_map(|value| ["--set-json", *value]));
        let plane = Plane::shared().await.unwrap();
        let text = plane.helm(&args).await.unwrap().ok().unwrap();
        let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
        Self(documents.filter(|document: &Value| !document.is_null()).collect())
    }

    pub(crate) fn all<K: DeserializeOwned>(&self, kind: &str) -> Vec<K> {
        let documents = self.0.iter().filter(|document| document["kind"] == kind);
        documents.cloned().map(typed).collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        let maps: Vec<ConfigMap> = self.all("ConfigMap");
        let map = maps.iter().find(|map| map.name_any() == "lapse-settings").unwrap();
        serde_saphyr::from_str(&map.data.as_ref().unwrap()["settings.yaml"]).unwrap()
    }
}
