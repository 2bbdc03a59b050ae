//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Lapse's agent on a host: carries out signed orders, and ends what they granted on time.
///
/// Logs go to standard error: `LAPSE_LOG` selects them (`info` by default; the syntax of tracing's `EnvFilter`).
#[derive(Debug, Parser)]
#[command(name = "lapse-agent", version, about, long_about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Become the agent of an Endpoint, with a token for one enrolment.
    Enrol(Enrol),
    /// Carry out orders until SIGTERM or SIGINT. What is in force then goes on, and ends on time by itself.
    Run,
    /// Show whether this host is connected, what is in force on it, and until when.
    Status,
    /// Find out what this host can do, and what it lacks.
    Probe,
    /// End what is over, without the agent and without a network. Called by systemd.
    Expire(Expire),
    /// Put a process of sudo where it ends with the access. Called by PAM.
    #[command(hide = true)]
    Session(Session),
    /// Run the program of an application in its unit. Called by the agent.
    #[command(hide = true)]
    Application(Application),
    /// Deal with a clock that was set back.
    #[command(subcommand)]
    Clock(Clock),
    /// Deal with what people with access changed that would outlast it.
    #[command(subcommand)]
    Drift(Drift),
    /// End everything that is in force, tell the cluster so, and forget who this host is.
    Remove,
}

/// How to enrol.
#[derive(Clone, Debug, Args)]
pub struct Enrol {
    /// Where the gateway is.
    #[arg(long, value_name = "https://HOST:PORT")]
    pub gateway: String,
    /// The name of the Endpoint.
    #[arg(long, value_name = "NAME")]
    pub endpoint: String,
    /// What this installation is known by: the field `pin` of the config map `lapse-endpoint-trust` in its namespace.
    #[arg(long, value_name = "sha256:HEX")]
    pub pin: String,
    /// A file with the token; `-` reads it from standard input. Not on the command line, which everybody can read.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub token_file: PathBuf,
    /// Enrol although this host has enrolled before. Nothing may be in force.
    #[arg(long)]
    pub again: bool,
}

/// What to end.
#[derive(Clone, Debug, Args)]
pub struct Expire {
    /// The grant, as the units of systemd name it. Without it: all that have ended.
    pub id: Option<String>,
}

/// Whose process.
#[derive(Clone, Debug, Args)]
pub struct Session {
    /// The process of sudo.
    pub process: u32,
}

/// Which application.
#[derive(Clone, Debug, Args)]
pub struct Application {
    /// The grant, as the units of systemd name it.
    pub id: String,
}

/// What to do about the clock.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Clock {
    /// Accept what the clock shows now, although it showed more before. Until then nothing is granted.
    Accept,
}

/// What to do about what would outlast access.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Drift {
    /// Show it.
    Show,
    /// Accept all of it: the Endpoint says no more of it. Nothing on the host is changed by that.
    Accept,
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _};

    use super::*;

    /// Every command and flag that is for people stands in the document.
    #[test]
    fn the_document_has_every_command() {
        let document = include_str!("../../docs/endpoints.md");
        let command = Cli::command();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let mut below = command.get_subcommands().map(clap::Command::get_name).peekable();
            if below.peek().is_none() {
                assert!(document.contains(&format!("| `lapse-agent {name}` |")), "{name}");
            }
            for below in below {
                assert!(document.contains(&format!("`lapse-agent {name} {below}`")), "{name}");
            }
            for flag in command.get_arguments().filter_map(Arg::get_long) {
                assert!(document.contains(&format!("`--{flag}`")), "{name} --{flag}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
