//! A playground as a reader starts one, and a shell at the root of the repository.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lapse_e2e::plane::{eventually, jit_program, workspace};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Child;

use crate::shell::{Ended, Script, write_program};

/// It may have to build the programs first.
const START: Duration = Duration::from_mins(15);

/// How long the commands of one block may take.
const BLOCK: Duration = Duration::from_mins(5);

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
        write_program(&stubs.join("cargo"), CARGO);
        write_program(&stubs.join("man"), MAN);
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
        let text = format!("{BEFORE}\n{commands}");
        let script = Script { text: &text, limit: BLOCK, signal: Signal::SIGKILL };
        let Ended { status, said } = script
            .run(here, |bash| {
                let stubs = here.join("stubs");
                bash.env_clear()
                    .env("PATH", format!("{}:{}:/usr/bin:/bin", stubs.display(), of("bin")))
                    .env("HOME", here.join("home"))
                    .env("KUBECONFIG", &kubeconfig)
                    .env("AUDIT_LOG", of("auditLog"));
            })
            .await;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{status}:\n{said}")),
            None => Err(format!("not over after {BLOCK:?}:\n{said}")),
        }
    }
}
