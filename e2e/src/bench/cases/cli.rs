//! How long people wait for the first line of a list, by `kubectl jit` and by kubectl.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::super::figure::{Figure, Part, Reach};
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{NAMESPACE, Town, names};
use crate::plane::{Tool, jit_program};

/// How many requests are listed.
const LISTED: usize = 20;
/// The program, in a folder of another build.
const JIT: &str = "kubectl-jit";

/// From the start of the program to its first output. Each round runs all of them, so that they find the machine in the
/// same state, and begins with another one: what runs first finds less in the caches of the machine than what runs last. All of
/// them know the cluster from before, as kubectl keeps what it has discovered on disk.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    town.ask_all(&names("listed", LISTED), "1h").await?;
    let given = setting.programs.as_ref().map(|folder| folder.join(JIT));
    let jit = match given.filter(|program| program.is_file()) {
        Some(program) => program,
        None => jit_program().await?,
    };
    let kubectl = town.lapse.plane().tools().path(Tool::Kubectl);
    let folder = jit.parent().context("the program is in no folder")?;
    let calls: [(&Path, &[&str]); 3] = [
        (jit.as_path(), &["list"]),
        (kubectl, &["jit", "list"]),
        (kubectl, &["get", "accessrequests"]),
    ];
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=setting.size.of(100) {
        for place in 0..calls.len() {
            let which = (round + place) % calls.len();
            let (program, args) = calls[which];
            let first = first_output(&town, folder, program, args).await?;
            // The first round fills the caches of all.
            if round > 0 {
                took[which].push(first);
            }
        }
    }
    let [own, plugin, get] = took;
    let beside = "kubectl get accessrequests, start → first output";
    Ok(vec![
        Figure::new("kubectl-jit list, start → first output", "ms", own)
            .beside(beside, get.clone())
            .reach(Part::P50, Reach::Times(1.0)),
        Figure::new("the same as kubectl jit list", "ms", plugin)
            .beside(beside, get)
            .note("kubectl starts first, and finds its plugin"),
    ])
}

/// How long a program takes to say anything, in milliseconds.
async fn first_output(town: &Town, folder: &Path, program: &Path, args: &[&str]) -> Result<f64> {
    let cache = town.lapse.plane().folder().join("cache");
    let mut command = Command::new(program);
    command
        .args(args)
        .args(["--namespace", NAMESPACE])
        .env_clear()
        .env("KUBECONFIG", &town.boss.kubeconfig)
        .env("KUBECACHEDIR", &cache)
        .env("HOME", &cache)
        .env("PATH", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let started = Moment::now();
    let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let mut stdout = child.stdout.take().context("it has no output")?;
    let count = stdout.read(&mut [0; 1]).await?;
    let took = Moment::now().ms_after(started);
    // What follows is not to be waited for by the next.
    stdout.read_to_end(&mut Vec::new()).await?;
    let ended = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success() && count == 1, "{} {args:?}: {said}", program.display());
    Ok(took)
}
