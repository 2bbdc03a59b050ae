//! Starts the program of a right, in a job object.

use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use lapse_windows::failure::Failure;
use lapse_windows::jobs::{Job, STANDING, go_on};

use super::application::{environment, job_name, verify};
use super::calls::Calls;
use super::here::SHARE_READ;
use crate::order::{Gives, OrderId, Program};
use crate::steps::Steps;

/// A program that was started. When this is dropped, and so when this process dies, all that runs of it ends.
#[derive(Debug)]
pub struct Started {
    child: Child,
    job: Job,
}

impl Started {
    /// Waits for its end, and ends what it has started.
    ///
    /// # Errors
    /// If nobody can tell how it ended.
    pub fn wait(mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait();
        // With the job goes what is left in it.
        let _ = self.job.end();
        status
    }
}

/// Starts the program of a right that is in force, once at a time, with these for its standard input, output and error. It runs as
/// this process does, in no session of a user, and without a window.
///
/// # Errors
/// If it is not what was approved, or the right is over; in words.
pub fn start(
    steps: &Steps<'_>,
    calls: &dyn Calls,
    id: &OrderId,
    (system, windows): (&str, &str),
    [input, output, error]: [Stdio; 3],
) -> Result<Started, String> {
    if let Some(found) = calls.imitation() {
        return Err(format!("nothing is started here: this is not Windows ({found})"));
    }
    let record = steps.ledger.read(id).map_err(|error| error.to_string())?;
    let record = record.ok_or("there is no such right here")?;
    let environment = environment(&record, windows)?;
    let Gives::Application(program) = &record.right.gives else {
        return Err("this right is not one to an application".to_owned());
    };
    let Program { path, args, env: _, sha256: _ } = program;
    let words = |error: std::io::Error| format!("starting {path}: {error}");
    // While it is open nobody exchanges it: what is looked at is what starts.
    let _held = OpenOptions::new().read(true).share_mode(SHARE_READ).open(path).map_err(words)?;
    verify(calls, program)?;
    let failed = |failure: Failure| format!("starting {path}: {failure}");
    let job = Job::create(&job_name(id)).map_err(failed)?;
    let job = job.ok_or_else(|| {
        format!("{path} runs already by this grant, or something stands in its place")
    })?;
    let mut command = Command::new(path);
    command.args(args).env_clear().envs(environment).current_dir(system);
    command.stdin(input).stdout(output).stderr(error).creation_flags(STANDING);
    let child = command.spawn().map_err(words)?;
    let mut started = Started { child, job };
    let taken = started.job.take(&started.child).map_err(failed);
    // What ends the right ends the job, or is seen here.
    let is_in_force = taken.is_ok() && steps.is_in_force(id);
    if !is_in_force {
        let _ = started.child.kill();
        taken?;
        return Err("your access to it has ended: request it again".to_owned());
    }
    go_on(&started.child).map_err(failed)?;
    Ok(started)
}
