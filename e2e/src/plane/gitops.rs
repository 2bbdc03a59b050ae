//! What GitOps tools make of objects, by the libraries that they are made of.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lapse_tools::{Tool, Tools};
use serde_json::{Value, json};

use super::user::User;
use super::{Plane, command};

/// A question to one of them. Each is answered by a line for each object that ends with a word, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitOps {
    /// Flux applies a Kustomization: `created`, `configured` or `unchanged`.
    FluxApplies,
    /// Flux looks for drift of a `HelmRelease`: `none`, or `update` and the patch that would correct it.
    FluxLooksForDrift,
    /// Argo CD compares in its own process: `Synced`, or `OutOfSync` and the patch of a sync.
    ArgoCompares,
    /// Argo CD has the API server compare (`ServerSideDiff=true`): the same words.
    ArgoComparesOnTheServer,
}

impl GitOps {
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::FluxApplies => &["flux-apply"],
            Self::FluxLooksForDrift => &["flux-drift"],
            Self::ArgoCompares => &["argo-diff", "client-side"],
            Self::ArgoComparesOnTheServer => &["argo-diff", "server-side"],
        }
    }
}

impl Plane {
    /// What one of these tools says of objects as they stand in Git, with the rights of this person.
    ///
    /// # Errors
    /// If it cannot be built, or says that it failed.
    pub async fn gitops(&self, user: &User, what: GitOps, objects: &[Value]) -> Result<String> {
        let tools = Tools::gitops().await?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let env = [("KUBECONFIG", user.kubeconfig.as_path())];
        command::run(tools.path(Tool::Gitops), what.args(), &env, Some(&list)).await?.ok()
    }

    /// How Argo CD says that objects are, by these health checks in Lua (kind and script) and its own rules: a line with
    /// kind, name, status and message for each.
    ///
    /// # Errors
    /// If a script fails.
    pub async fn argo_health(
        &self,
        objects: &[Value],
        scripts: &[(String, String)],
    ) -> Result<String> {
        let tools = Tools::gitops().await?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let mut args = vec!["argo-health".to_owned()];
        for (kind, script) in scripts {
            let path: PathBuf = self.folder().join(format!("{kind}.lua"));
            fs::write(&path, script).with_context(|| format!("writing {}", path.display()))?;
            args.push(format!("{kind}={}", path.display()));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command::run(tools.path(Tool::Gitops), &args, &[], Some(&list)).await?.ok()
    }
}
