//! Commands of the documents, as a reader runs them: by bash, in a folder.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A script.
pub(crate) struct Script<'a> {
    pub(crate) text: &'a str,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// What ends whatever it leaves in the background.
    pub(crate) signal: Signal,
}

/// How a script ended; `None`: its time was over. And what it wrote.
pub(crate) struct Ended {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) said: String,
}

impl Script<'_> {
    /// Runs it in a folder; `set` says in what surroundings.
    pub(crate) async fn run(&self, here: &Path, set: impl FnOnce(&mut Command)) -> Ended {
        fs::write(here.join("script"), self.text).unwrap();
        let said = File::create(here.join("said")).unwrap();
        let mut bash = Command::new("bash");
        bash.arg("script").current_dir(here);
        set(&mut bash);
        bash.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).process_group(0);
        let mut bash = tokio::process::Command::from(bash).kill_on_drop(true).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(bash.id().unwrap()).unwrap());
        let ended = tokio::time::timeout(self.limit, bash.wait()).await;
        let _ = killpg(group, self.signal);
        let said = fs::read_to_string(here.join("said")).unwrap_or_default();
        Ended { status: ended.ok().map(|status| status.unwrap()), said }
    }
}

/// Writes a program that scripts find.
pub(crate) fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
