//! Lapse on a cluster: the chart as it comes, with its own deployments.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Cluster;
use crate::plane::install::{NAMESPACE, chart};

/// How long Helm waits. Long: the machine may be building at the same time.
const PATIENCE: &str = "--timeout=5m";

impl Cluster {
    /// Installs or upgrades the chart, with values for Helm's `--set`, and waits until Helm says that it is done. The
    /// namespace lets nothing run that is not restricted.
    pub async fn install(&self, set: &[&str]) -> Result<()> {
        self.install_with(&[], set).await
    }

    /// The same, with files for Helm's `--values` before those.
    pub async fn install_with(&self, values: &[PathBuf], set: &[&str]) -> Result<()> {
        let admin = self.plane().admin().await?;
        let namespaces: Api<Namespace> = Api::all(admin.client);
        let enforce = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": enforce},
        });
        let by = PatchParams::apply("lapse-nodes");
        namespaces.patch(NAMESPACE, &by, &Patch::Apply(&namespace)).await?;
        let chart = chart().display().to_string();
        let mut args = vec!["upgrade", "--install", "lapse", &chart, "--wait", PATIENCE];
        args.extend(["--namespace", NAMESPACE]);
        let values: Vec<_> = values.iter().map(|file| file.display().to_string()).collect();
        for file in &values {
            args.extend(["--values", file]);
        }
        for pair in set {
            ensure!(pair.contains('='), "`{pair}` is not KEY=VALUE, as Helm's --set wants it");
            args.extend(["--set", pair]);
        }
        let installed = self.plane().helm(&args).await?.ok();
        if let Err(error) = installed {
            return Err(error.context(self.state().await));
        }
        Ok(())
    }

    /// What people look at when something does not run: nodes, pods and what was said of them.
    async fn state(&self) -> String {
        let conditions = "jsonpath={range .items[*].status.conditions[*]}{.type}={.status} {.message}{\"\\n\"}{end}";
        let looks: [&[&str]; 3] = [
            &["get", "nodes", "--output", conditions],
            &["get", "pods", "--all-namespaces", "--output", "wide"],
            &["get", "events", "--all-namespaces", "--field-selector", "type!=Normal"],
        ];
        let mut said = "the state of the cluster:".to_owned();
        for look in looks {
            let seen = async {
                let admin = self.plane().admin().await?;
                self.plane().kubectl(&admin, look).await?.ok()
            };
            let seen = seen.await.unwrap_or_else(|error| format!("{error:#}"));
            let _ = write!(said, "\n{}", seen.trim_end());
        }
        said
    }
}
