//! Lapse's own programs, built from this workspace.
//!
//! Cargo cannot yet say that a test needs another package's program, so the library asks it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::progress::line;
use super::workspace;

/// After this long without an end a person wants to know what takes so long.
const SLOW: Duration = Duration::from_secs(2);

/// What this process has built.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::const_new(BTreeMap::new());

/// Builds these packages with the profile of this library, once in a process; returns each one's program.
pub(super) async fn build(packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut built = BUILT.lock().await;
    let missing: Vec<&str> =
        packages.iter().copied().filter(|package| !built.contains_key(*package)).collect();
    if !missing.is_empty() {
        built.extend(build_now(&missing).await?);
    }
    let asked = |(package, _): &(&String, &PathBuf)| packages.contains(&package.as_str());
    Ok(built.iter().filter(asked).map(|(name, path)| (name.clone(), path.clone())).collect())
}

/// The programs of these packages that lie in a folder.
pub(super) fn found(folder: &Path, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let folder = std::path::absolute(folder).context("finding the folder of the programs")?;
    let found = |package: &&str| {
        let program = folder.join(package);
        ensure!(program.is_file(), "{} has no program {package}", folder.display());
        Ok(((*package).to_owned(), program))
    };
    packages.iter().map(found).collect()
}

async fn build_now(packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = lapse_images::cargo::command(workspace::root());
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics"]);
    lapse_images::cargo::of_workspace(&mut cargo, packages);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let child = tokio::process::Command::from(cargo)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting cargo")?;
    let names = packages.join(" and ");
    let mut output = std::pin::pin!(child.wait_with_output());
    let output = if let Ok(output) = tokio::time::timeout(SLOW, &mut output).await {
        output
    } else {
        line(&format!("building {names}"));
        output.await
    };
    let output = output.context("running cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "building {names} failed:\n{}", said.trim());
    let built = executables(&String::from_utf8_lossy(&output.stdout));
    for package in packages {
        ensure!(built.contains_key(*package), "package {package} has no program of its name");
    }
    Ok(built)
}

/// A line of cargo's report, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn executables(report: &str) -> BTreeMap<String, PathBuf> {
    let messages = report.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.filter_map(|message| Some((message.target?.name, message.executable?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_another_build_are_all_there_or_it_is_said_which_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lapse-webhook"), "").unwrap();
        let programs = found(folder.path(), &["lapse-webhook"]).unwrap();
        assert_eq!(programs["lapse-webhook"], folder.path().join("lapse-webhook"));
        let error = found(folder.path(), &["lapse-webhook", "lapse-controller"]).unwrap_err();
        assert!(error.to_string().ends_with("has no program lapse-controller"), "{error}");
    }

    #[test]
    fn programs_are_found_in_the_report() {
        let report = r#"{"reason":"compiler-artifact","target":{"name":"kube"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"lapse-webhook"},"executable":"/t/lapse-webhook"}
{"reason":"build-finished","success":true}"#;
        let found = executables(report);
        assert_eq!(found.len(), 1);
        assert_eq!(found["lapse-webhook"], PathBuf::from("/t/lapse-webhook"));
    }
}
