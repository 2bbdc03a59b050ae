//! A playground as a reader starts one, and a shell at the root of the repository.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lapse_e2e::plane::{eventually, jit_program, workspace};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

/// It may have to build the programs first.
const START: Duration = Duration::from_mins(15);

/// How long the commands of one block may take.
const BLOCK: Duration = Duration::from_mins(2);

/// What the commands of the documents find.
const BEFORE: &str = include_str!("before.sh");

/// Stands in for cargo, which would build what is built already.
const CARGO: &str = "#!/bin/sh\n[ \"$*\" = 'install --locked --path cli' ]\n";

/// Stands in for man, which not every machine has.
const MAN: &str = "#!/bin/sh\n[ \"$*\" = '-l -' ] && grep -q '^.TH'\n";

pub(super) struct Playground {
    folder: TempDir,
    manifest: Value,
    // It ends with this.
    _process: Child,
}

impl Playground {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        for name in ["charts", "cli", "examples"] {
            symlink(workspace::root().join(name), here.join(name)).unwrap();
        }
        // Where `cargo install` puts what it builds.
        fs::create_dir_all(here.join("home/.cargo/bin")).unwrap();
        let stubs = here.join("stubs");
        fs::create_dir(&stubs).unwrap();
        write_script(&stubs.join("cargo"), CARGO);
        write_script(&stubs.join("man"), MAN);
        symlink(jit_program().await.unwrap(), stubs.join("kubectl-jit")).unwrap();
        let log = File::create(here.join("playground.log")).unwrap();
        let mut playground = tokio::process::Command::new(env!("CARGO_BIN_EXE_playground"));
        let mut process = playground
            .arg("--dir")
            .arg(here.join("playground"))
            .env("LAPSE_ENVTEST", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let written = here.join("playground/playground.json");
        let text = eventually("the playground to be up", START, async || {
            let ended = process.try_wait()?;
            let log = || fs::read_to_string(here.join("playground.log")).unwrap_or_default();
            assert!(ended.is_none(), "the playground ended: {}", log());
            Ok(fs::read_to_string(&written).ok())
        })
        .await
        .unwrap();
        let manifest = serde_json::from_str(&text).unwrap();
        let playground = Self { folder, manifest, _process: process };
        // Of which some documents speak, beside the shop.
        playground.run("kubectl create namespace ci").await.unwrap();
        playground
    }

    /// The folder that commands run in.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs commands as the administrator to their end, or to the first that fails; what they said then.
    pub(super) async fn run(&self, commands: &str) -> Result<(), String> {
        let here = self.folder();
        let of = |field: &str| self.manifest[field].as_str().unwrap();
        // A context that one block chose is not that of the next.
        let kubeconfig = here.join("kubeconfig");
        fs::copy(of("kubeconfig"), &kubeconfig).unwrap();
        fs::write(here.join("script"), format!("{BEFORE}\n{commands}")).unwrap();
        let said = File::create(here.join("said")).unwrap();
        let mut bash = Command::new("bash");
        bash.arg("script")
            .current_dir(here)
            .env_clear()
            .env("PATH", format!("{}:{}:/usr/bin:/bin", here.join("stubs").display(), of("bin")))
            .env("HOME", here.join("home"))
            .env("KUBECONFIG", &kubeconfig)
            .env("AUDIT_LOG", of("auditLog"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .process_group(0);
        let mut bash = tokio::process::Command::from(bash).kill_on_drop(true).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(bash.id().unwrap()).unwrap());
        let ended = tokio::time::timeout(BLOCK, bash.wait()).await;
        // What goes on in the background.
        let _ = killpg(group, Signal::SIGKILL);
        let said = fs::read_to_string(here.join("said")).unwrap_or_default();
        match ended {
            Ok(status) if status.as_ref().unwrap().success() => Ok(()),
            Ok(status) => Err(format!("{}:\n{said}", status.unwrap())),
            Err(_) => Err(format!("not over after {BLOCK:?}:\n{said}")),
        }
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
