//! Running cargo from a program that cargo runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Whether cargo set this variable for the program that it runs. Handed on, it would make some dependencies build anew.
fn is_of_this_run(variable: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    variable == "CARGO" || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// The cargo that runs this program, for a workspace.
#[must_use]
pub fn command(workspace: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    for (key, _) in std::env::vars_os() {
        if is_of_this_run(&key.to_string_lossy()) {
            command.env_remove(key);
        }
    }
    command.current_dir(workspace);
    command
}

/// An example that does nothing.
const EXAMPLE: &str = "everything";

/// Makes a build one of these programs, with the dependencies as `cargo test` builds them for all of the workspace. A
/// package that is built by itself asks for fewer features of them, and so does a workspace of which no test and no example
/// is built: what tests alone depend on is left out then
/// (<https://doc.rust-lang.org/cargo/reference/features.html#feature-resolver-version-2>). All of it would be built once more.
pub fn of_workspace(build: &mut Command, programs: &[&str]) {
    build.args(["--workspace", "--example", EXAMPLE]);
    for program in programs {
        build.args(["--bin", program]);
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// If it cannot be started or fails, with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let name = format!("{} {}", command.get_program().display(), words(command));
    let output = command.output().with_context(|| format!("starting `{name}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{name}` failed: {}", said.trim());
    String::from_utf8(output.stdout).with_context(|| format!("`{name}` wrote no UTF-8"))
}

fn words(command: &Command) -> String {
    command.get_args().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
