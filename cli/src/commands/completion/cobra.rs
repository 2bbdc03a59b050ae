//! What Cobra prints where a shell completes, which kubectl takes from its plugins: a line for each candidate, with what it
//! is after a tab, and at last after a colon how the shell is to go on
//! (<https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective>).

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::Command;
use clap_complete::CompletionCandidate;
use clap_complete::engine::complete;

use crate::session::PROGRAM;

/// No space follows a candidate.
const NO_SPACE: u8 = 2;
/// Where there is no candidate, files are none either.
const NO_FILES: u8 = 4;

/// The answer. `words` follow the name of the program; the last is to be completed.
pub(super) fn answer(command: &mut Command, words: &[OsString]) -> String {
    let Some((last, before)) = words.split_last() else { return String::new() };
    let mut line = vec![OsString::from(PROGRAM)];
    line.extend(words.iter().cloned());
    let folder = std::env::current_dir().ok();
    let found = complete(command, line, words.len(), folder.as_deref()).unwrap_or_default();
    // What another command takes is not known here; files are more than nothing.
    let is_of_another = before.iter().any(|word| word == "--");
    written(&found, last, if is_of_another { 0 } else { NO_FILES })
}

fn written(found: &[CompletionCandidate], last: &OsStr, mut directive: u8) -> String {
    let last = last.to_string_lossy();
    // Of `--flag=value` Cobra completes the value alone.
    let flag = last.split_once('=').filter(|(flag, _)| flag.starts_with('-'));
    let flag = flag.map(|(flag, _)| format!("{flag}=")).unwrap_or_default();
    let mut told = String::new();
    let mut are_folders = !found.is_empty();
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        let value = value.strip_prefix(&flag).unwrap_or(&value);
        are_folders &= value.ends_with('/');
        let about = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let about = about.lines().next().map(|line| format!("\t{line}")).unwrap_or_default();
        let _ = writeln!(told, "{value}{about}");
    }
    if are_folders {
        directive |= NO_SPACE;
    }
    let _ = writeln!(told, ":{directive}");
    told
}
