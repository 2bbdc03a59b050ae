//! Programs that come with the platform. They are called by their whole path and with a list of arguments, never by a shell;
//! what they say to people is in the language of the host, so only how they end counts, and what they write for programs.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long what it wrote is waited for once it has ended: a child of it may hold its output open.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it writes is read, in bytes.
const MOST: u64 = 1024 * 1024;

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub output: String,
}

impl Ended {
    /// Whether it succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// What runs programs of the platform.
pub trait Tools {
    /// Runs a program with these arguments and this standard input, for half a minute at the most.
    ///
    /// # Errors
    /// If it is not there, or does not end.
    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> io::Result<Ended>;
}

/// Runs a program that must succeed; what it wrote. `what` is what is done, as in "changing the group ops".
pub(crate) fn succeed(
    tools: &dyn Tools,
    what: &str,
    (program, arguments): (&Path, &[&str]),
    input: &str,
) -> Result<String, String> {
    let ended = tools.run(program, arguments, input).map_err(|error| format!("{what}: {error}"))?;
    if ended.is_ok() {
        return Ok(ended.output);
    }
    let program = program.display();
    Err(match ended.code {
        Some(code) => format!("{what}: {program} {} ended with {code}", arguments.join(" ")),
        None => format!("{what}: {program} {} was ended by a signal", arguments.join(" ")),
    })
}

/// The programs of the host that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostTools;

impl Tools for HostTools {
    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> io::Result<Ended> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.display()))
        };
        run(program, arguments, input).map_err(named)
    }
}

fn run(program: &Path, arguments: &[&str], input: &str) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::null()).stdout(Stdio::piped());
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    // On Windows the environment is that of the service, and programs do not start without parts of it.
    #[cfg(unix)]
    command.env_clear().envs([("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("LC_ALL", "C")]);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // Who does not read it says so by how it ends.
        thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
    }
    let (sender, written) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.by_ref().take(MOST).read_to_end(&mut bytes).map(|_| bytes);
            // Nobody may wait any more.
            let _ = sender.send(read);
            // Who writes more than is read must not be kept from ending.
            let _ = io::copy(&mut stdout, &mut io::sink());
        });
    }
    let code = wait(&mut child)?;
    let output = match written.recv_timeout(LINGER) {
        Ok(bytes) => String::from_utf8_lossy(&bytes?).into_owned(),
        Err(_) => return Err(io::Error::other("what it wrote does not end")),
    };
    Ok(Ended { code, output })
}

fn wait(child: &mut Child) -> io::Result<Option<i32>> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if began.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            let message = format!("it did not end within {} s", LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str) -> Result<String, String> {
        let call = (Path::new("/bin/sh"), &["-c", script][..]);
        succeed(&HostTools, "trying", call, input)
    }

    #[test]
    fn a_program_reads_its_input_and_says_how_it_ends() {
        assert_eq!(shell("cat; echo not read >&2", "a\nb"), Ok("a\nb".to_owned()));
        assert_eq!(shell("cat", ""), Ok(String::new()));
        assert_eq!(shell("exit 3", ""), Err("trying: /bin/sh -c exit 3 ended with 3".to_owned()));
        let killed = "trying: /bin/sh -c kill -9 $$ was ended by a signal";
        assert_eq!(shell("kill -9 $$", ""), Err(killed.to_owned()));
    }

    #[test]
    fn who_writes_more_than_is_read_ends_all_the_same() {
        let written = shell("head -c 2000000 /dev/zero", "").unwrap();
        assert_eq!(written.len(), 1024 * 1024);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let call = (Path::new("/no/such/program"), &[][..]);
        let said = succeed(&HostTools, "trying", call, "").unwrap_err();
        assert!(said.starts_with("trying: /no/such/program: "), "{said}");
    }
}
