//! `lapse`, the client of people on the host. It decides nothing: the agent knows who asks by what the kernel says.
//!
//! It is the agent's own program under another name, so that both are of one release. [`cli`]: the command line.
//! [`ask`]: the conversation. [`request`], [`status`], [`watch`], [`end`], [`run`], [`mode`]: a command each. [`wait`]: what is
//! requested at the moment of use, until it is held.

pub mod ask;
pub mod cli;
pub mod end;
pub mod mode;
pub mod request;
pub mod run;
pub mod status;
pub mod wait;
pub mod watch;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command, TIMED_OUT};
use self::wait::WaitError;
use crate::places::Places;

/// The name under which the program is the client.
pub const NAME: &str = "lapse";

/// Whether the program was called by that name.
#[must_use]
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.and_then(|program| Path::new(program).file_name()) == Some(OsStr::new(NAME))
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let places = Places::default();
    let done = match Cli::parse().command {
        Command::Request(options) => request::request(&places, &options),
        Command::Status(options) => status::status(&places, &options),
        Command::End(options) => end::end(&places, &options),
        Command::Run(options) => run::run(&places, &options),
        Command::Mode(options) => mode::mode(&places, &options),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("{NAME}: {problem:#}");
            ExitCode::from(code(&problem))
        }
    }
}

/// What scripts go by.
fn code(problem: &anyhow::Error) -> u8 {
    match problem.downcast_ref::<WaitError>() {
        Some(WaitError::TimedOut { .. }) => TIMED_OUT,
        Some(WaitError::Over { .. }) | None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_known_by_its_name() {
        let is_client = |program: &str| is_called(Some(OsStr::new(program)));
        assert!(is_client("lapse") && is_client("/usr/bin/lapse"));
        assert!(!is_client("/usr/bin/lapse-agent") && !is_client("") && !is_called(None));
    }

    #[test]
    fn who_waits_no_longer_is_told_apart_from_who_gets_nothing() {
        let name = || "web-1-al-0".to_owned();
        let late = WaitError::TimedOut { name: name(), missing: "it waits".to_owned() };
        let denied = WaitError::Over { name: name(), why: "it is denied".to_owned() };
        let all = [anyhow::anyhow!("no"), denied.into(), late.into()];
        assert_eq!(all.map(|problem| code(&problem)), [1, 1, 4]);
    }
}
