//! Lapse's own programs, built from this workspace.
//!
//! Cargo cannot yet say that a test needs another package's program, so the library asks it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::sync::Mutex;

use crate::progress::Jobs;
use crate::tail::Tail;
use crate::workspace;

/// The job's name.
const JOB: &str = "Rust";

/// How much of what cargo says an error shows.
const TAIL_LINES: usize = 100;

/// What this process has built.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::const_new(BTreeMap::new());

/// Builds the programs of these names with the profile of this library, once in a process; returns where each lies.
///
/// # Errors
/// If the build fails.
pub async fn build(programs: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let jobs = Jobs::default();
    jobs.show(build_beside(&jobs, programs)).await
}

/// The same, beside other jobs, which are shown with it.
pub(crate) async fn build_beside(
    jobs: &Jobs,
    programs: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let mut built = BUILT.lock().await;
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| !built.contains_key(*program)).collect();
    if !missing.is_empty() {
        jobs.say(JOB, missing.join(", "));
        let now = build_now(&missing, jobs).await;
        jobs.done(JOB);
        built.extend(now?);
    }
    let asked = |(program, _): &(&String, &PathBuf)| programs.contains(&program.as_str());
    Ok(built.iter().filter(asked).map(|(name, path)| (name.clone(), path.clone())).collect())
}

/// The programs of these packages that lie in a folder.
///
/// # Errors
/// If one is not there.
pub fn found(folder: &Path, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let folder = std::path::absolute(folder).context("finding the folder of the programs")?;
    let found = |package: &&str| {
        let program = folder.join(package);
        ensure!(program.is_file(), "{} has no program {package}", folder.display());
        Ok(((*package).to_owned(), program))
    };
    packages.iter().map(found).collect()
}

async fn build_now(programs: &[&str], jobs: &Jobs) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = lapse_images::cargo::command(workspace::root());
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    lapse_images::cargo::of_workspace(&mut cargo, programs);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // Where there is no terminal it says what remains only if it is told how wide the line may be.
    cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "80");
    cargo.env("CARGO_TERM_COLOR", "never");
    let mut child = tokio::process::Command::from(cargo)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting cargo")?;
    let mut stdout = child.stdout.take().context("reading cargo's report")?;
    let stderr = child.stderr.take().context("reading what cargo says")?;
    let mut report = String::new();
    let read = async { stdout.read_to_string(&mut report).await.context("reading cargo's report") };
    let (_, said) = tokio::try_join!(read, listen(stderr, jobs))?;
    let status = child.wait().await.context("waiting for cargo")?;
    ensure!(status.success(), "building {} failed:\n{said}", programs.join(" and "));
    let built = executables(&report);
    for program in programs {
        ensure!(built.contains_key(*program), "no package has a program {program}");
    }
    Ok(built)
}

/// Reads what cargo says to its end, and says how far it is; the last of what is not progress.
async fn listen(stderr: impl AsyncRead + Unpin, jobs: &Jobs) -> Result<String> {
    let (mut stderr, mut said, mut tail) =
        (BufReader::new(stderr), Vec::new(), Tail::new(TAIL_LINES));
    // Progress ends with a carriage return, so that the next overwrites it.
    while stderr.read_until(b'\r', &mut said).await.context("reading what cargo says")? > 0 {
        // What clears the rest of a line.
        let text = String::from_utf8_lossy(&said).replace("\x1b[K", "");
        said.clear();
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            if let Some((done, total)) = progress(line) {
                jobs.say(JOB, format!("{done} of {total} crates"));
            } else if !line.trim().is_empty() && !is_step(line) {
                tail.push(line.to_owned());
            }
        }
    }
    Ok(tail.text())
}

/// How far a build is, by cargo's line with a bar: `Building [==>   ] 12/345: serde`.
fn progress(line: &str) -> Option<(u32, u32)> {
    let (_, rest) = line.split_once("Building [")?;
    let (_, rest) = rest.split_once("] ")?;
    let (done, total) = rest.split_once('/')?;
    let digits = total.find(|c: char| !c.is_ascii_digit()).unwrap_or(total.len());
    Some((done.trim().parse().ok()?, total[..digits].parse().ok()?))
}

/// Whether cargo only says what it does.
fn is_step(line: &str) -> bool {
    let step = line.trim_start().split(' ').next();
    step.is_some_and(|step| {
        ["Blocking", "Compiling", "Downloaded", "Downloading", "Finished", "Locking", "Updating"]
            .contains(&step)
    })
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

    #[tokio::test]
    async fn what_remains_is_read_from_cargos_bar_and_its_errors_from_the_rest() {
        let said = "   Compiling serde v1.0.0\r\x1b[K\n    Building [=>   ] 12/345: serde, syn(build)\r\
                    \x1b[Kerror: could not compile\n  --> src/lib.rs\n    Building [==> ] 13/345\r";
        let jobs = Jobs::default();
        let tail = listen(said.as_bytes(), &jobs).await.unwrap();
        assert_eq!(tail, "error: could not compile\n  --> src/lib.rs");
        assert_eq!(progress("    Building [==> ] 13/345: serde, syn(build)"), Some((13, 345)));
        assert_eq!(progress("   Compiling building v1.0.0"), None);
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
