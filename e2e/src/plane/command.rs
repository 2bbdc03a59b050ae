//! Running kubectl and Helm, and what they answered.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The command, for people.
    pub command: String,
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// Whether the command succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// The standard output of a command that succeeded.
    ///
    /// # Errors
    /// If it did not, with what it said.
    pub fn ok(self) -> Result<String> {
        if self.success() {
            return Ok(self.stdout);
        }
        let said = [self.stderr.trim(), self.stdout.trim()].join("\n");
        bail!("`{}` failed ({}): {}", self.command, self.status, said.trim())
    }
}

/// Runs a command to its end. It sees nothing of this process's environment but what is given.
pub(crate) async fn run(
    program: &Path,
    args: &[&str],
    env: &[(&str, &Path)],
    input: Option<&str>,
) -> Result<Answer> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let command = format!("{name} {}", args.join(" "));
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting `{command}`"))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that fails early closes its input, and says why in its answer.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.with_context(|| format!("running `{command}`"))?;
    Ok(Answer {
        command,
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn input_output_and_status_are_passed_on() {
        let sh = Path::new("/bin/sh");
        let script = ["-c", "cat; echo sorry >&2; exit 4"];
        let answer = run(sh, &script, &[], Some("hello")).await.unwrap();
        assert_eq!((answer.status, answer.stdout.as_str()), (4, "hello"));
        let error = answer.ok().unwrap_err().to_string();
        assert!(error.contains("sorry") && error.contains("sh -c"), "{error}");
    }
}
