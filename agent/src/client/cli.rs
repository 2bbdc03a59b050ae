//! The command line of the client.

use clap::{Parser, Subcommand};

use super::end::End;
use super::mode::Mode;
use super::run::Run;
use super::status::Status;

/// What you hold on this host by Lapse: see it, use it, and end it early.
#[derive(Debug, Parser)]
#[command(name = "lapse", version, about, long_about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what you hold on this host, for how long, and what runs with it. root sees what everybody holds.
    Status(Status),
    /// End your access on this host now, also without a network. root may end anybody's.
    End(End),
    /// Run an application that you hold: one program as root, exactly as it was approved. It ends with your access.
    Run(Run),
    /// Enter a shell of your own for as long as you use sudo; leaving it ends the access.
    Mode(Mode),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
