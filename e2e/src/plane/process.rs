//! A child process that is supervised: it has a log, can be killed, paused and started again, and
//! ends with this process.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::watchdog;

/// How much of a log an error shows.
const TAIL_LINES: usize = 20;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// A name for people, unique within its control plane.
    pub name: String,
    /// The program's file, or a name to look up in `PATH`.
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Whether it sees this process's environment too.
    pub inherit_env: bool,
    /// Its working folder; this process's own if absent.
    pub folder: Option<PathBuf>,
    /// The file that its standard output and error are appended to.
    pub log: PathBuf,
}

/// A supervised child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pid: u32,
    exit: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the process in a process group of its own.
    pub fn spawn(spec: Spec) -> Result<Self> {
        let state = Mutex::new(launch(&spec)?);
        Ok(Self { spec, state })
    }

    /// Starts it once more, with the same arguments, after it has ended.
    pub fn start(&self) -> Result<()> {
        let mut state = self.state();
        ensure!(state.exit.borrow().is_some(), "{} is running already", self.spec.name);
        *state = launch(&self.spec)?;
        Ok(())
    }

    /// What it was started with.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The process's number; the last one if it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state().pid
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<ExitStatus> {
        *self.state().exit.borrow()
    }

    /// Waits for the process to end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut exit = self.state().exit.clone();
        let status = exit.wait_for(Option::is_some).await.map(|status| *status);
        status.ok().flatten().with_context(|| format!("waiting for {} to end", self.spec.name))
    }

    /// Kills it (SIGKILL, with all that it started) and waits until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        let reaper = self.state().reaper.take();
        if let Some(reaper) = reaper {
            // A reaper that panicked has nothing left to wait for.
            let _ = reaper.join();
        }
    }

    /// Asks it to stop (SIGTERM) and waits; kills it after the grace period.
    ///
    /// # Errors
    /// If it had to be killed.
    pub async fn terminate(&self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // A paused process would not see the signal.
        self.signal(Signal::SIGCONT);
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            return status;
        }
        self.kill();
        anyhow::bail!("{} did not stop within {grace:?} of SIGTERM{}", self.name(), self.tail());
    }

    /// Stops it in its tracks (SIGSTOP), as a node that hangs would.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Process::pause`].
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Fails, showing the end of the log, if the process has ended.
    pub fn ensure_running(&self) -> Result<()> {
        if let Some(status) = self.exit() {
            anyhow::bail!("{} has ended ({status}){}", self.name(), self.tail());
        }
        Ok(())
    }

    /// The end of the log, as the end of an error message.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.spec.log.display();
        match read_tail(&self.spec.log) {
            Ok(tail) if tail.is_empty() => format!("; its log {log} is empty"),
            Ok(tail) => format!("; the end of its log {log}:\n{tail}"),
            Err(error) => format!("; its log {log} cannot be read: {error}"),
        }
    }

    fn signal(&self, signal: Signal) {
        let state = self.state();
        if state.exit.borrow().is_none()
            && let Ok(pid) = i32::try_from(state.pid)
        {
            // It may have ended just now, which is not worth an error.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(spec: &Spec) -> Result<State> {
    let log = open_log(spec)?;
    let mut command = Command::new(&spec.program);
    if !spec.inherit_env {
        command.env_clear();
    }
    if let Some(folder) = &spec.folder {
        command.current_dir(folder);
    }
    let mut child = command
        .args(&spec.args)
        .envs(&spec.env)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}: {}", spec.name, spec.program.display()))?;
    let pid = child.id();
    if let Err(error) = watchdog::guard_group(pid) {
        // Better no process than one that may be left behind.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    let (ended, exit) = watch::channel(None);
    // A thread, and not a task, because the process outlives the runtime of the test that began it;
    // and at once, because a dead process that nobody reaps looks alive.
    let reaper = std::thread::Builder::new()
        .name(format!("reap {}", spec.name))
        .spawn(move || {
            if let Ok(status) = child.wait() {
                watchdog::release_group(pid);
                let _ = ended.send(Some(status));
            }
        })
        .context("starting a thread")?;
    Ok(State { pid, exit, reaper: Some(reaper) })
}

fn open_log(spec: &Spec) -> Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(&spec.log);
    open.with_context(|| format!("opening the log {}", spec.log.display()))
}

fn read_tail(log: &PathBuf) -> std::io::Result<String> {
    const ENOUGH_BYTES: u64 = 16 * 1024;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::eventually;

    fn shell(folder: &tempfile::TempDir, script: &str) -> Process {
        Process::spawn(Spec {
            name: "shell".into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::new(),
            inherit_env: true,
            folder: None,
            log: folder.path().join("shell.log"),
        })
        .unwrap()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn an_end_is_seen_with_its_log() {
        let folder = folder();
        let process = shell(&folder, "echo first; echo out of luck >&2; exit 3");
        assert_eq!(process.wait().await.unwrap().code(), Some(3));
        let error = process.ensure_running().unwrap_err().to_string();
        assert!(error.contains("out of luck") && error.contains("first"), "{error}");
    }

    #[tokio::test]
    async fn a_killed_process_can_be_started_again() {
        let folder = folder();
        let process = shell(&folder, "sleep 600");
        let first = process.pid();
        assert!(process.start().is_err());
        process.kill();
        assert!(process.exit().is_some());
        process.start().unwrap();
        assert_ne!(process.pid(), first);
        assert!(process.exit().is_none());
    }

    #[tokio::test]
    async fn a_paused_process_still_stops_when_asked() {
        let folder = folder();
        let process = shell(&folder, "exec sleep 600");
        process.pause();
        process.terminate(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_will_not_stop_is_killed_with_its_children() {
        let folder = folder();
        let script = "trap '' TERM; sleep 600 & echo child=$!=; while :; do wait; done";
        let process = shell(&folder, script);
        while !process.tail().contains("child=") {
            tokio::task::yield_now().await;
        }
        let child = process.tail().split('=').nth(1).unwrap().to_owned();
        let error = process.terminate(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("did not stop"), "{error}");
        eventually("the child to end", Duration::from_secs(10), async || {
            let state = Command::new("ps").args(["-o", "stat=", "-p", &child]).output()?.stdout;
            // Whether init reaps it is not our business.
            Ok((state.is_empty() || state.starts_with(b"Z")).then_some(()))
        })
        .await
        .unwrap();
    }
}
