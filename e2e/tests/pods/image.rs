//! A new release whose image cannot be pulled: what is told, and what goes on meanwhile.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use lapse_crds::GrantPhase;
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{SOON, eventually, workspace};
use serde_json::Value;

use crate::town::Town;

impl Town {
    /// Upgrades to an image that is nowhere, with a setting that is another, too.
    async fn upgrade_to_nothing(&self, more: &[&str]) -> String {
        let chart = workspace::root().join("charts/lapse").display().to_string();
        let args = ["upgrade", "lapse", &chart, "--wait", "--set", "image.tag=0.0.0-nowhere"];
        let args = [&args[..], &["--set", "duration.max=12h"], more].concat();
        let answer = self.helm(&args).await;
        assert!(!answer.success(), "{answer:?}");
        answer.stderr
    }

    /// The versions of what an upgrade changes first.
    async fn versions(&self) -> String {
        let kinds = "crd,configmap/lapse-settings,deployments,cronjobs,validatingadmissionpolicies";
        let kinds = kinds.split(',').collect::<Vec<_>>();
        let mut said = String::new();
        for kind in kinds {
            let what = "jsonpath={.metadata.resourceVersion} {range .items[*]}{.metadata.name} {.metadata.generation}{\"\\n\"}{end}";
            let args = ["get", kind, "--namespace", NAMESPACE, "--output", what];
            said += &self.kubectl(&self.admin, &args).await.ok().unwrap();
        }
        said
    }

    /// The pods that are ready, with the image that they run.
    async fn ready(&self) -> BTreeMap<String, String> {
        let mut ready = BTreeMap::new();
        for component in ["controller", "webhook"] {
            for pod in self.pods(component).await {
                let name = pod.name_any();
                let status = pod.status.unwrap_or_default();
                for container in status.container_statuses.into_iter().flatten() {
                    if container.ready {
                        ready.insert(name.clone(), container.image);
                    }
                }
            }
        }
        ready
    }

    /// Waits until these pods are ready, and no others. One may answer late when it is asked, where much else runs.
    async fn are_ready(&self, expected: &BTreeMap<String, String>) {
        let mut last = BTreeMap::new();
        let are_ready = async || {
            last = self.ready().await;
            Ok((last == *expected).then_some(()))
        };
        let found = eventually("those that were ready to be so", SOON, are_ready).await;
        assert!(found.is_ok(), "{last:?} and not {expected:?}");
    }
}

#[tokio::test]
async fn what_runs_goes_on() {
    let town = Town::take().await;
    town.shop().await;
    let held = town.granted("held").await;
    let versions = town.versions().await;
    let all = async || Ok(Some(town.ready().await).filter(|ready| ready.len() == 4));
    let ready = eventually("all four to be ready", SOON, all).await.unwrap();

    // It is tried before anything is changed.
    let said = town.upgrade_to_nothing(&["--timeout=30s", "--set", "image.check=true"]).await;
    assert!(said.contains("pre-upgrade hooks failed"), "{said}");
    assert!(said.contains("lapse-image-check"), "{said}");
    assert_eq!(town.versions().await, versions);
    town.are_ready(&ready).await;
    let events = ["get", "events", "--namespace", NAMESPACE, "--field-selector=type=Warning"];
    eventually("it to be told", SOON, async || {
        let told = town.kubectl(&town.admin, &events).await.ok()?;
        let words = ["lapse-image-check", "0.0.0-nowhere"];
        Ok(words.iter().all(|word| told.contains(word)).then_some(()))
    })
    .await
    .unwrap();

    // Where it is not tried, the new pods are not ready and no old one goes.
    town.upgrade_to_nothing(&["--timeout=15s"]).await;
    town.are_ready(&ready).await;
    assert!(town.may_exec().await);
    town.end("held", &held).await;
    let asked = town.granted("meanwhile").await;

    // Back to the last revision that was deployed. The one before this is the one that was refused.
    let history = town.helm(&["history", "lapse", "--output=json"]).await.ok().unwrap();
    let history: Vec<Value> = serde_json::from_str(&history).unwrap();
    let deployed: Vec<_> = history.iter().filter(|one| one["status"] == "deployed").collect();
    let [deployed] = deployed.as_slice() else { panic!("{history:?}") };
    let revision = deployed["revision"].to_string();
    let back = ["rollback", "lapse", &revision, "--wait", "--timeout=3m"];
    town.helm(&back).await.ok().unwrap();
    town.are_ready(&ready).await;
    assert!(town.may_exec().await);
    assert_eq!(town.grant(&asked.name_any()).await.status.unwrap().phase, GrantPhase::Active);
    town.end("meanwhile", &asked).await;
}
