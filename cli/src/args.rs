//! The command line, in the habits of kubectl.

mod ask;
mod first;
mod offline;
mod period;
mod replayed;
mod select;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lapse_crds::{GrantDuration, ReviewOutcome};

pub(crate) use self::ask::{Ask, AskFor, parse_start};
pub(crate) use self::first::{First, parse_subject};
pub(crate) use self::offline::Offline;
pub(crate) use self::period::Period;
pub(crate) use self::replayed::Replayed;
pub(crate) use self::select::{ByNameOrBatch, Ended, Filter, Several};
use crate::fault::{EXIT_STATUS, Fault};

/// Requests access, decides about it and ends it.
///
/// Access is requested with a reason and for a time; a policy and people decide; and when its time is over, it is revoked.
/// What you may request: `kubectl jit policies`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-jit",
    bin_name = "kubectl jit",
    version,
    max_term_width = 100,
    after_long_help = format!("Exit status:\n{EXIT_STATUS}"),
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The namespace of the requests. Default: that of the kubeconfig's context
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig file. Default: the files that $KUBECONFIG lists, or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// The cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) cluster: Option<String>,
    /// The user of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) user: Option<String>,
    /// Impersonate this user; a policy may refuse decisions that are made so
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Cluster")]
    pub(crate) as_user: Option<String>,
    /// Impersonate this group; may be given several times
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "as_user",
        help_heading = "Cluster"
    )]
    pub(crate) as_groups: Vec<String>,
    /// How long one call to the API server may take, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        help_heading = "Cluster"
    )]
    pub(crate) request_timeout: u64,
    /// What to print: a table with more columns, whole objects, or names alone
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// What is printed instead of a table or of sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table with more columns
    Wide,
    /// Whole objects, as JSON
    Json,
    /// Whole objects, as YAML
    Yaml,
    /// One name a line, as kubectl takes it
    Name,
    /// Comma-separated values; of a report
    Csv,
}

/// Whether something is really done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// It is done
    #[default]
    None,
    /// The object is printed, and not sent
    Client,
    /// The API server and Lapse judge it, and nothing is stored
    Server,
}

impl Format {
    /// The format of whole objects, if that was asked for: a wide table is a table.
    pub(crate) fn of_objects(asked: Option<Self>) -> Option<Self> {
        asked.filter(|format| *format != Self::Wide)
    }

    /// The format of what is no object of the cluster, and so has no name.
    pub(crate) fn of_values(asked: Option<Self>) -> Result<Option<Self>, Fault> {
        match Self::of_objects(asked) {
            Some(Self::Name) => {
                Err(Fault::Usage("this has no names; write -o json or -o yaml".to_owned()))
            }
            other => Ok(other),
        }
    }
}

impl DryRun {
    /// What follows a sentence about what was done, as kubectl writes it.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows what you may request: each policy that is for you, with what it offers, for how long, and who approves
    Policies,
    /// Says whether a request would be accepted, and what it would wait for; stores nothing
    CanI {
        #[command(flatten)]
        ask: Ask,
    },
    /// Requests access
    #[command(after_long_help = ask::EXAMPLES)]
    Request {
        #[command(flatten)]
        ask: Ask,
        /// Its name. Default: one that is made up of what is requested
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The batch that it is part of, by which all of it is ended together. Default, for several hosts: its name, or one that
        /// is made up
        #[arg(long, value_name = "NAME")]
        batch: Option<String>,
        #[command(flatten)]
        wait: Wait,
        /// Whether to really request
        #[arg(long, value_name = "MODE", default_value = "none")]
        dry_run: DryRun,
    },
    /// Shows where a request stands: what is missing and from whom, or how much time is left
    Status {
        /// The request. Default: all of yours that are open or active
        name: Option<String>,
    },
    /// Lists requests
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// Shows requests as they change, with a countdown on a terminal
    Watch {
        #[command(flatten)]
        filter: Filter,
    },
    /// Approves requests, as they are shown: what changed since is not approved
    Approve {
        #[command(flatten)]
        several: Several,
        /// How long, within the policy. Default: what was requested
        #[arg(long = "for", value_name = "DURATION")]
        duration: Option<GrantDuration>,
        #[command(flatten)]
        said: Said,
    },
    /// Denies requests; access that is already held is revoked
    Deny {
        #[command(flatten)]
        several: Several,
        #[command(flatten)]
        said: Said,
    },
    /// Ends your own access before its time, or withdraws a request
    End {
        #[command(flatten)]
        ended: Ended,
        #[command(flatten)]
        said: Said,
    },
    /// Requests more time for access that you hold
    Extend {
        /// The request whose access you hold
        name: String,
        /// How much more time, from the approval on. Default: the policy's
        #[arg(long = "for", value_name = "DURATION")]
        duration: Option<GrantDuration>,
        /// Why. Default: the reason of the request that is extended
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The ticket. Default: that of the request that is extended
        #[arg(long, value_name = "TICKET")]
        ticket: Option<String>,
        /// Have the agent of this host prove that you request here, which policies with workstations require
        #[arg(long)]
        from_host: bool,
        #[command(flatten)]
        wait: Wait,
        /// Whether to really request
        #[arg(long, value_name = "MODE", default_value = "none")]
        dry_run: DryRun,
    },
    /// Reviews emergencies afterwards
    Review {
        /// The requests
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// What the review came to
        #[arg(long, value_name = "OUTCOME", value_parser = outcome(), ignore_case = true)]
        outcome: ReviewOutcome,
        #[command(flatten)]
        said: Said,
    },
    /// Explains a request: each check, which policy decided and why others did not, and its history
    #[command(after_long_help = offline::EXAMPLES)]
    Explain {
        /// The request; with --policy, a file with one
        #[arg(value_name = "NAME|FILE")]
        name: String,
        #[command(flatten)]
        offline: Offline,
    },
    /// Requests access, waits for it, runs a command, and ends the access, whatever the command did
    #[command(after_long_help = ask::RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        ask: Ask,
        /// Give up after this long without access, and withdraw the request. Default: never
        #[arg(long, value_name = "DURATION")]
        timeout: Option<GrantDuration>,
        /// The command with its arguments, after `--`
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Reports who had what, when and why, approved by whom, and how it ended; with logs, what of it was used and done
    Report {
        /// How far back: 30d or 12h, or since a time
        #[arg(long, value_name = "PERIOD", default_value = "30d")]
        since: Period,
        /// An audit log of the API server, a line of JSON for each event; - is standard input; may be given several times
        #[arg(long, value_name = "FILE")]
        audit: Vec<PathBuf>,
        /// The record of what was done on hosts, as the gateway writes it to standard output; may be given several times
        #[arg(long, value_name = "FILE")]
        records: Vec<PathBuf>,
    },
    /// Says which past requests would be decided differently under changed policies; changes nothing
    Replay {
        #[command(flatten)]
        replayed: Replayed,
    },
    /// Writes a first policy, and the bindings of its requesters and approvers, as YAML to commit; needs no cluster
    #[command(after_long_help = first::EXAMPLES)]
    Init {
        #[command(flatten)]
        first: First,
    },
    /// Checks the installation from outside: what is wrong with it, and what to do; changes nothing
    Doctor {
        /// The namespace that Lapse is installed in. Default: what Helm says, or lapse-system
        #[arg(long, value_name = "NAMESPACE")]
        installation: Option<String>,
    },
    /// Prints what a shell needs to complete `kubectl jit`
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page, of all commands
    #[command(hide = true)]
    Man,
    /// Prints the reference of the command line, as Markdown
    #[command(hide = true)]
    Reference,
}

/// Whether to wait for the access.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Wait until you have access, and say what is missing until then
    #[arg(long)]
    pub(crate) wait: bool,
    /// Stop waiting after this long; the request stays. Default: never
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(crate) timeout: Option<GrantDuration>,
}

/// What goes with each decision.
#[derive(Args, Clone, Debug)]
pub(crate) struct Said {
    /// What to say with it; it stays with the request
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Whether to really decide
    #[arg(long, value_name = "MODE", default_value = "none")]
    pub(crate) dry_run: DryRun,
}

/// The outcomes, as people write them.
fn outcome() -> impl TypedValueParser<Value = ReviewOutcome> {
    PossibleValuesParser::new(["justified", "unjustified"]).map(|text| {
        if text.eq_ignore_ascii_case("justified") {
            ReviewOutcome::Justified
        } else {
            ReviewOutcome::Unjustified
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        let told = |line: &str| {
            let words = format!("kubectl-jit {line}");
            Cli::try_parse_from(words.split(' ')).unwrap_err().to_string()
        };
        let lines = [
            "request edit --for 1d",
            "request edit --cluster-wide --target-namespace shop",
            "request edit --rules get:pods",
            "request --rules get",
            "request --admin",
            "request edit --at tomorrow",
            "request edit --timeout 5m",
            "approve",
            "approve fix --all",
            "review fix",
            "review fix --outcome fine",
            "run edit --for 5m",
            "list --as-group admins",
            "report --since yesterday",
            "replay",
            "init --requesters user/",
            "init --requesters serviceaccount/ci",
            "init --emergency 1h",
            "init --approvers bob --no-approval",
            "explain fix --with roles.yaml",
            "explain fix --policy shop.yaml --at tomorrow",
        ];
        let told: Vec<String> =
            lines.iter().map(|line| format!("$ kubectl jit {line}\n{}", told(line))).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
