//! This workspace's own `kubectl jit`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lapse_tools::{link, programs, workspace};

use super::Plane;
use super::command::{self, Answer};
use super::user::User;

/// The package, and its program.
const JIT: &str = "kubectl-jit";

/// What completes it for kubectl, within the workspace.
const COMPLETION: &str = "cli/kubectl_complete-jit";

/// The program, built once.
///
/// # Errors
/// If it cannot be built.
pub async fn jit_program() -> Result<PathBuf> {
    programs::build(&[JIT]).await?.remove(JIT).context("it was not built")
}

impl Plane {
    /// Puts the program beside kubectl, with what completes it.
    pub(crate) fn add_jit(&self, program: &Path) -> Result<()> {
        for file in [program, &workspace::root().join(COMPLETION)] {
            let name = file.file_name().context("a program without a name")?;
            link(file, &self.bin().join(name))?;
        }
        Ok(())
    }

    /// Runs it as this user.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub async fn jit(&self, user: &User, args: &[&str]) -> Result<Answer> {
        let program = jit_program().await?;
        command::run(&program, args, &[("KUBECONFIG", user.kubeconfig.as_path())], None).await
    }
}
