//! What changes a host, in one place: so that a test can stop it between any two changes.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bus::{self, Scope};
use crate::durable;
use crate::unfollowed::{self, Mend};

/// How long a program of the host may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of what it says is read, in bytes.
const MOST: u64 = 64 * 1024;
/// Where programs are looked for, whatever the environment says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program of the host said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ran {
    /// Whether it succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// What it said, on one line.
    #[must_use]
    pub fn said(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = line.chars().take(300).collect();
        match self.code {
            Some(code) if short.is_empty() => format!("it ended with {code}"),
            Some(_) => short,
            None => "it was ended by a signal".to_owned(),
        }
    }
}

/// What changes a host.
pub trait System {
    /// Runs a program with these arguments, for ten seconds at the most, in an environment of its own.
    ///
    /// # Errors
    /// If it is not there, or does not end.
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran>;

    /// As [`durable::replace`].
    ///
    /// # Errors
    /// As there.
    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        durable::replace(path, content, mode)
    }

    /// As [`durable::remove`].
    ///
    /// # Errors
    /// As there.
    fn remove(&self, path: &Path) -> io::Result<()> {
        durable::remove(path)
    }

    /// As [`unfollowed::mend`].
    ///
    /// # Errors
    /// As there.
    fn mend(&self, path: &Path, how: Mend<'_>) -> io::Result<()> {
        unfollowed::mend(path, how)
    }

    /// Makes a symbolic link, if none is there yet.
    ///
    /// # Errors
    /// If it cannot be made.
    fn link(&self, target: &str, path: &Path) -> io::Result<()> {
        match symlink(target, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Tells the kernel something, by a file of its own.
    ///
    /// # Errors
    /// If it does not take it.
    fn tell_kernel(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
    }

    /// As [`bus::start_scope`].
    ///
    /// # Errors
    /// As there.
    fn start_scope(&self, bus: &Path, scope: &Scope<'_>) -> io::Result<()> {
        bus::start_scope(bus, scope)
    }

    /// Kills a process.
    fn kill(&self, process: i32) {
        // One that is gone already is what is wanted.
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
}

/// The host that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostSystem;

/// Starts a program of the host with these arguments, in an environment of its own, that has these for its standard input,
/// output and error. They are closed here.
///
/// # Errors
/// If it is not there.
pub fn start(
    program: &str,
    arguments: &[String],
    [input, output, error]: [OwnedFd; 3],
) -> io::Result<Child> {
    let mut command = command(program);
    command.args(arguments).stdin(input).stdout(output).stderr(error);
    command.spawn().map_err(|why| io::Error::new(why.kind(), format!("{program}: {why}")))
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs([("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")]);
    command.current_dir("/");
    command
}

/// How a program ended, as a shell says it: one that a signal ended has 128 and its number.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

impl System for HostSystem {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{program}: {error}"));
        let mut child = command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(named)?;
        let code = wait(&mut child).map_err(named)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Ok(Ran { code, stdout: written(stdout)?, stderr: written(stderr)? })
    }
}

fn wait(child: &mut Child) -> io::Result<Option<i32>> {
    let (began, mut pause) = (Instant::now(), Duration::from_micros(200));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if began.elapsed() > LIMIT {
            child.kill()?;
            let message = format!("it did not end within {} s", LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// What lies in a pipe: a child of the program that holds it open is not waited for.
fn written<T: io::Read + std::os::fd::AsFd>(pipe: Option<T>) -> io::Result<String> {
    let Some(pipe) = pipe else { return Ok(String::new()) };
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut bytes = Vec::new();
    match pipe.take(MOST).read_to_end(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        read => {
            read?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_it_says_and_how_it_ended() {
        let ran = HostSystem.run("sh", &["-c", "echo out; echo \"$HOME\" >&2; exit 3"]).unwrap();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "out\n"));
        assert_eq!(ran.said(), "/root");
        let killed = HostSystem.run("sh", &["-c", "kill -9 $$"]).unwrap();
        assert_eq!((killed.code, killed.said().as_str()), (None, "it was ended by a signal"));
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let began = Instant::now();
        let ran = HostSystem.run("sh", &["-c", "sleep 30 & echo here"]).unwrap();
        assert_eq!(ran.stdout, "here\n");
        assert!(began.elapsed() < Duration::from_secs(25));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = HostSystem.run("lapse-no-such-program", &[]).unwrap_err();
        assert!(error.to_string().starts_with("lapse-no-such-program: "), "{error}");
    }
}
