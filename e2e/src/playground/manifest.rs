//! `playground.json`: where everything is, for scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::plane::component::Component;
use crate::plane::install::NAMESPACE;
use crate::plane::{Lapse, Process};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    server: String,
    ca: PathBuf,
    ca_key: PathBuf,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    bin: PathBuf,
    namespace: &'static str,
    processes: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    pid: u32,
    log: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    /// With the program first, so that a script can start it again.
    args: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Writes the file in one step, so that whoever sees it can read all of it.
pub(super) fn write(lapse: &Lapse) -> Result<()> {
    let plane = lapse.plane();
    let folder = plane.folder();
    let servers = [plane.apiserver(), plane.etcd(), plane.controller_manager()];
    let components = lapse.controllers.iter().chain(&lapse.webhooks).map(component);
    let manifest = Manifest {
        server: plane.server().to_owned(),
        ca: plane.ca_file(),
        ca_key: plane.ca_key_file(),
        kubeconfig: folder.join("kubeconfig"),
        audit_log: plane.audit_log(),
        bin: plane.bin(),
        namespace: NAMESPACE,
        processes: components.chain(servers.map(|process| entry(process, None))).collect(),
    };
    let text = serde_json::to_string_pretty(&manifest).context("writing playground.json")?;
    let (partial, path) = (folder.join(".playground.json"), folder.join("playground.json"));
    fs::write(&partial, text + "\n").with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, &path).with_context(|| format!("writing {}", path.display()))
}

fn component(component: &Component) -> Entry {
    entry(&component.process, Some(component.metrics_url()))
}

fn entry(process: &Process, metrics: Option<String>) -> Entry {
    let spec = process.spec();
    let program = spec.program.display().to_string();
    Entry {
        name: spec.name.clone(),
        pid: process.pid(),
        log: spec.log.clone(),
        metrics,
        args: std::iter::once(program).chain(spec.args.iter().cloned()).collect(),
        env: spec.env.clone(),
    }
}
