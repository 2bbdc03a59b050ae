//! What is run in a host from outside, as if somebody sat at it.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BOUNDING_SET, ENTER, Host, machine};
use crate::plane::{Answer, Process, SOON};

/// Enters all namespaces of a process; its number follows. Who enters has all capabilities.
const NAMESPACES: &str = "nsenter --mount --uts --ipc --net --pid --cgroup --root --wd --target";

impl Host {
    /// Runs a program as root to its end, for [`SOON`] at most. What it leaves running may go on.
    ///
    /// # Errors
    /// If it could not be run, or did not end in time.
    pub async fn run(&self, args: &[&str]) -> Result<Answer> {
        self.run_within(SOON, args).await
    }

    /// Runs a program as root to its end. It is killed at the limit.
    ///
    /// # Errors
    /// If it could not be run, or did not end in time.
    pub async fn run_within(&self, limit: Duration, args: &[&str]) -> Result<Answer> {
        let command = args.join(" ");
        let words = self.words(args)?;
        // Files, and not pipes, whose end comes only when the last that was left running has ended.
        let (stdout, for_stdout) = file()?;
        let (stderr, for_stderr) = file()?;
        let mut child = tokio::process::Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", machine::PATH)
            .stdin(Stdio::null())
            .stdout(for_stdout)
            .stderr(for_stderr)
            .spawn()
            .with_context(|| format!("starting `{command}` in {}", self.name))?;
        let mut tree = Tree(child.id());
        let status = tokio::time::timeout(limit, child.wait()).await.with_context(|| {
            format!("`{command}` in {} did not end within {limit:?}", self.name)
        })?;
        tree.0 = None;
        let status = status.with_context(|| format!("running `{command}` in {}", self.name))?;
        Ok(Answer {
            command,
            status: status.code().unwrap_or(-1),
            stdout: text(stdout)?,
            stderr: text(stderr)?,
        })
    }

    /// Runs a shell script as root, and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// If it failed, with what it said.
    pub async fn sh(&self, script: &str) -> Result<String> {
        self.run(&["bash", "-c", script]).await?.ok()
    }

    /// Runs a shell script as somebody who logs in for it, with a session and an environment of their own.
    ///
    /// # Errors
    /// If it could not be run, or did not end in time.
    pub async fn as_user(&self, user: &str, script: &str) -> Result<Answer> {
        self.run(&["su", "--login", user, "--command", script]).await
    }

    /// Starts a program as root that runs on.
    ///
    /// # Errors
    /// If the host is not running.
    pub fn spawn(&self, args: &[&str]) -> Result<Running> {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let name = format!("`{}` in {}", args.join(" "), self.name);
        let spec = self.spec(name, self.words(args)?, &format!("{number}.log"));
        Ok(Running { process: Process::spawn(spec)? })
    }

    /// What runs something there.
    fn words(&self, args: &[&str]) -> Result<Vec<String>> {
        let console = self.cgroup.console().display().to_string();
        let mut words = ["/bin/sh", "-c", ENTER, "enter", &console].map(String::from).to_vec();
        words.extend(NAMESPACES.split(' ').map(String::from));
        words.push(self.pid()?.to_string());
        words.extend(["--", "setpriv"].map(String::from));
        words.push(format!("--bounding-set={BOUNDING_SET}"));
        words.extend(["env", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C.UTF-8"].map(String::from));
        words.push(format!("PATH={}", machine::PATH));
        words.extend(args.iter().map(ToString::to_string));
        Ok(words)
    }
}

/// A program that runs on in a host. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    process: Process,
}

impl Running {
    /// What it has written so far, to its standard output and error.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn said(&self) -> Result<String> {
        let log = &self.process.spec().log;
        let said = fs::read(log).with_context(|| format!("reading {}", log.display()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<ExitStatus> {
        self.process.exit()
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// If that cannot be known.
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.process.wait().await
    }

    /// Kills it, with all that it started and that has not been left to others.
    pub fn kill(&self) {
        if self.exit().is_none() {
            drop(Tree(Some(self.process.pid())));
        }
        self.process.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process with its descendants. Dropping it kills them: killing only the one that entered a host would leave there
/// what it started.
struct Tree(Option<u32>);

impl Drop for Tree {
    fn drop(&mut self) {
        let mut next: Vec<u32> = self.0.into_iter().collect();
        while let Some(pid) = next.pop() {
            next.extend(children_of(pid));
            if let Ok(pid) = i32::try_from(pid) {
                // It may have ended just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let numbers = |list: String| list.split(' ').filter_map(|pid| pid.parse().ok()).collect();
    lists.flat_map(|list| -> Vec<u32> { numbers(list) }).collect()
}

/// A file for what a command writes, and its end of it.
fn file() -> Result<(File, Stdio)> {
    let file = tempfile::tempfile().context("making a file for what is said")?;
    let end = file.try_clone().context("sharing a file")?;
    Ok((file, end.into()))
}

/// All that was written to a file.
fn text(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).context("reading what was said")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
