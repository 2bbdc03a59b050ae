//! The shell of the mode: somebody's own, as themselves.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpgrp, getuid, tcsetpgrp};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::accounts;
use crate::places::Places;
use crate::system::exit_code;

/// How often it is looked whether the access is over.
const PACE: Duration = Duration::from_secs(1);
/// The shell of who has none.
const PLAIN: &str = "/bin/sh";
/// What bash does before each prompt: it asks how long the access lasts, and begins the prompt with that.
const BEFORE_PROMPT: &str = "LAPSE_PROMPT=$(lapse mode --prompt 2>/dev/null); \
                             case $PS1 in '${LAPSE_PROMPT}'*) ;; *) PS1='${LAPSE_PROMPT}'$PS1 ;; esac";

/// The shell, which knows by a variable that it is in the mode.
pub(super) fn command(
    places: &Places,
    chosen: Option<PathBuf>,
    (key, value): (&str, &str),
) -> Command {
    let own = || std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).map(PathBuf::from);
    let listed = || accounts::shell_of(places, getuid().as_raw()).ok().flatten();
    let shell = chosen.or_else(own).or_else(listed).unwrap_or_else(|| PathBuf::from(PLAIN));
    let mut command = Command::new(&shell);
    command.env(key, value);
    if is_bash(&shell) {
        let before = before_prompt(std::env::var_os("PROMPT_COMMAND"));
        command.env("PROMPT_COMMAND", before);
    }
    command
}

fn is_bash(shell: &Path) -> bool {
    shell.file_name().is_some_and(|name| name == "bash")
}

/// What somebody's own shell does before a prompt goes on being done.
fn before_prompt(own: Option<OsString>) -> OsString {
    let mut before = own.filter(|own| !own.is_empty()).unwrap_or_default();
    if !before.is_empty() {
        before.push("; ");
    }
    before.push(BEFORE_PROMPT);
    before
}

/// Runs it to its end; what it ends with, as a shell says it. What `over` says is shown once, when the access is over.
///
/// # Errors
/// If it cannot be run.
pub(super) fn run(
    mut command: Command,
    mut over: impl FnMut() -> Option<String>,
) -> io::Result<u8> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async move {
        // They are meant for the shell; whoever dies of them does not end the access.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut child = command.spawn()?;
        let process = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        let mut waiting = tokio::task::spawn_blocking(move || child.wait());
        let mut look = interval(PACE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_said = false;
        loop {
            tokio::select! {
                ended = &mut waiting => return ended.map_err(io::Error::other)?,
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
                _ = hang_up.recv() => end(process),
                _ = terminate.recv() => end(process),
                _ = look.tick(), if !is_said => if let Some(said) = over() {
                    // The shell may be in the middle of a line.
                    eprint!("\r\n{said}\r\n");
                    is_said = true;
                },
            }
        }
    })?;
    regain_terminal();
    Ok(exit_code(status))
}

fn end(shell: Pid) {
    // One that has ended is what is wanted.
    let _ = kill(shell, Signal::SIGHUP);
}

/// A shell that was killed has left the terminal to its own processes.
fn regain_terminal() {
    let stdin = io::stdin();
    let mut stops = SigSet::empty();
    stops.add(Signal::SIGTTOU);
    if stdin.is_terminal() && stops.thread_block().is_ok() {
        let _ = tcsetpgrp(&stdin, getpgrp());
        let _ = stops.thread_unblock();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        (folder, places)
    }

    #[rstest]
    #[case::what_it_says("exit 3", 3)]
    #[case::a_signal("kill -9 $$", 137)]
    #[case::the_grant("test \"$LAPSE_GRANT\" = g && exit 7", 7)]
    fn it_ends_as_its_shell_does(#[case] script: &str, #[case] expected: u8) {
        let (_folder, places) = places();
        let mut command = command(&places, Some("/bin/sh".into()), ("LAPSE_GRANT", "g"));
        command.args(["-c", script]);
        assert_eq!(run(command, || None).unwrap(), expected);
    }

    #[test]
    fn that_the_access_is_over_is_said_once_and_ends_no_shell() {
        let (_folder, places) = places();
        let mut command = command(&places, Some("/bin/sh".into()), ("LAPSE_GRANT", "g"));
        command.args(["-c", "sleep 2.5; exit 4"]);
        let mut asked = 0;
        let over = || {
            asked += 1;
            (asked == 2).then(|| "over".to_owned())
        };
        assert_eq!(run(command, over).unwrap(), 4);
        assert_eq!(asked, 2);
    }

    #[test]
    fn what_bash_did_before_it_still_does() {
        assert_eq!(before_prompt(None), BEFORE_PROMPT);
        let both = before_prompt(Some("history -a".into())).into_string().unwrap();
        assert!(both.starts_with("history -a; LAPSE_PROMPT="), "{both}");
        assert!(is_bash(Path::new("/usr/bin/bash")) && !is_bash(Path::new("/usr/bin/dash")));
    }

    #[test]
    fn bash_begins_its_prompt_with_what_is_left() {
        let script = format!(
            "lapse() {{ printf '(lapse 5m) '; }}; PS1='$ '; {BEFORE_PROMPT}; {BEFORE_PROMPT}; printf %s \"${{PS1@P}}\""
        );
        let ran = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), "(lapse 5m) $ ");
    }
}
