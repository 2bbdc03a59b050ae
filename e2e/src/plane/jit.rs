//! This workspace's own `kubectl jit`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use lapse_tools::programs;

use super::Plane;
use super::command::{self, Answer};
use super::user::User;

/// The package, and its program.
const JIT: &str = "kubectl-jit";

/// The program, built once.
///
/// # Errors
/// If it cannot be built.
pub async fn jit_program() -> Result<PathBuf> {
    programs::build(&[JIT]).await?.remove(JIT).context("it was not built")
}

impl Plane {
    /// Runs it as this user.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub async fn jit(&self, user: &User, args: &[&str]) -> Result<Answer> {
        let program = jit_program().await?;
        command::run(&program, args, &[("KUBECONFIG", user.kubeconfig.as_path())], None).await
    }
}
