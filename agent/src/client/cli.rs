//! The command line of the client.

use clap::{Parser, Subcommand};

use super::end::End;
use super::mode::Mode;
use super::request::Request;
use super::run::Run;
use super::status::Status;

/// The exit status of who waits no longer: that of `kubectl jit`.
pub(super) const TIMED_OUT: u8 = 4;
const EXIT_STATUS: &str = "\
Exit status:
0    done; with --wait, you hold it
1    the agent or Lapse refused, or could not be reached; with --wait, the request gets no access
2    the command line is wrong
4    --timeout passed first; the request stays
run exits as its program does, and mode as its shell does.";

/// What you hold on this host by Lapse: request it, see it, use it, and end it early.
#[derive(Debug, Parser)]
#[command(name = "lapse", version, about, long_about, after_long_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Request access on this host. You need no credentials of the cluster: the agent states who you are here.
    Request(Request),
    /// Show what you hold on this host, for how long, and what runs with it; and what you have requested here, and who must
    /// approve it. root sees everybody's.
    Status(Status),
    /// End your access on this host now, also without a network, or withdraw what you have requested here. root may end
    /// anybody's access.
    End(End),
    /// Run an application that you hold: one program as root, exactly as it was approved. It ends with your access.
    Run(Run),
    /// Enter a shell of your own for as long as you use sudo; leaving it ends the access.
    Mode(Mode),
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;
    use clap::{Arg, CommandFactory as _, Parser as _};
    use rstest::rstest;

    use super::*;

    /// Every command and flag that is for people stands in the document.
    #[test]
    fn the_document_has_every_command() {
        let document = include_str!("../../../docs/endpoints.md");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(document.contains(&format!("| `lapse {name}")), "{name}");
            let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
            for flag in shown.filter_map(Arg::get_long) {
                assert!(document.contains(&format!("--{flag}")), "{name} --{flag}");
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case::nothing("request --reason x", ErrorKind::MissingRequiredArgument)]
    #[case::two_at_once("request --admin --application dump", ErrorKind::ArgumentConflict)]
    #[case::no_action("request --account delete", ErrorKind::InvalidValue)]
    #[case::no_duration("request --admin --for soon", ErrorKind::ValueValidation)]
    #[case::without_a_reason("run dump --for 10m", ErrorKind::MissingRequiredArgument)]
    #[case::nothing_to_request("mode --command /bin/true", ErrorKind::MissingRequiredArgument)]
    #[case::what_is_held_already("mode g --reason x", ErrorKind::ArgumentConflict)]
    #[case::a_limit_without_a_wait(
        "request --admin --timeout 5m",
        ErrorKind::MissingRequiredArgument
    )]
    #[case::a_limit_of_nothing("run dump --timeout 5m", ErrorKind::MissingRequiredArgument)]
    #[case::no_limit("mode --reason x --timeout soon", ErrorKind::ValueValidation)]
    #[case::what_is_listed("run --list --reason x", ErrorKind::ArgumentConflict)]
    fn what_cannot_be_meant_is_refused(#[case] line: &str, #[case] expected: ErrorKind) {
        let words = std::iter::once("lapse").chain(line.split(' '));
        assert_eq!(Cli::try_parse_from(words).unwrap_err().kind(), expected);
    }
}
