//! What each command does.

mod allows;
mod approve;
mod ask;
mod batch;
mod completion;
mod doctor;
mod explain;
mod found;
mod init;
mod list;
mod manual;
mod namespace;
mod policies;
mod reference;
mod replay;
mod report;
mod run;
mod say;
mod served;
mod status;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use lapse_cluster::clock::now;
use lapse_crds::{Timestamp, Verdict};

pub(crate) use self::completion::answered;
use crate::args::{Cli, Command, Format, Global, Said, parse_start};
use crate::decide::Saying;
use crate::fault::Fault;
use crate::session::Session;

/// Runs a command. Most end with success or an error; `run` ends as its command does.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Fault> {
    let Cli { global, command } = cli;
    if let Some(why) = global.output.and_then(|format| refused(format, &command)) {
        return Err(Fault::Usage(why.to_owned()));
    }
    // These need no cluster.
    match &command {
        Command::Completion { shell } => {
            completion::script(*shell)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man => {
            write!(std::io::stdout(), "{}", manual::page()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Reference => {
            write!(std::io::stdout(), "{}", reference::page())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Init { first } => {
            init::run(first)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Explain { name, offline } if !offline.policies.is_empty() => {
            let at = offline.at.as_deref().map(|at| parse_start(at, now())).transpose();
            let at = at.map_err(Fault::Usage)?.map_or_else(now, Timestamp::time);
            explain::offline::run(&global, name, offline, at)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let session = Session::open(&global).await?;
    match Box::pin(in_cluster(&session, &global, command)).await {
        Err(fault) => {
            let fault = served::explained(&session, fault).await;
            Err(namespace::explained(&session, fault).await)
        }
        done => done,
    }
}

async fn in_cluster(
    session: &Session,
    global: &Global,
    command: Command,
) -> Result<ExitCode, Fault> {
    let format = global.output;
    match command {
        Command::Policies => policies::run(session, format).await?,
        Command::CanI { ask } => ask::can_i(session, &ask).await?,
        Command::Request { ask, name, batch, wait, dry_run }
            if ask.what.is_for_several() || batch.is_some() =>
        {
            let names = batch::Names { name: name.as_deref(), batch: batch.as_deref() };
            batch::request(session, &ask, names, format, (wait, dry_run)).await?;
        }
        Command::Request { ask, name, batch: _, wait, dry_run } => {
            let made = ask::request(session, &ask, name.as_deref(), dry_run).await?;
            ask::tell(session, &made, format, wait, dry_run).await?;
        }
        Command::Status { name } => status::run(session, format, name.as_deref()).await?,
        Command::List { filter } => list::run(session, format, filter).await?,
        Command::Watch { filter } => watch::run(session, format, filter).await?,
        Command::Approve { several, duration, said } => {
            let saying = Saying { duration, ..saying(Verdict::Approve, &said) };
            approve::run(session, format, &several, &saying, said.dry_run).await?;
        }
        Command::Deny { several, said } => {
            approve::run(session, format, &several, &saying(Verdict::Deny, &said), said.dry_run)
                .await?;
        }
        Command::End { ended, said } => {
            let saying = saying(Verdict::End, &said);
            match batch::selector(&ended.which) {
                Some(selector) => {
                    let how = (said.dry_run, ended.timeout);
                    batch::end(session, format, &selector, &saying, how).await?;
                }
                None => {
                    say::run(session, format, &ended.which.names, &saying, said.dry_run).await?;
                }
            }
        }
        Command::Extend { name, duration, reason, ticket, from_host, wait, dry_run } => {
            let more = ask::More { duration, reason, ticket, from_host };
            let made = ask::extend(session, &name, more, dry_run).await?;
            ask::tell(session, &made, format, wait, dry_run).await?;
        }
        Command::Review { names, outcome, said } => {
            let saying = Saying { outcome: Some(outcome), ..saying(Verdict::Review, &said) };
            say::run(session, format, &names, &saying, said.dry_run).await?;
        }
        Command::Explain { name, offline: _ } => explain::run(session, format, &name).await?,
        Command::Doctor { installation } => {
            doctor::run(session, format, installation.as_deref()).await?;
        }
        Command::Report { since, audit, records } => {
            let of = (global.namespace.as_deref(), since);
            report::run(session, format, of, (&audit, &records), now()).await?;
        }
        Command::Replay { replayed } => {
            // Unlike what people do, a policy is of no namespace.
            replay::run(session, format, &replayed, global.namespace.is_none(), now()).await?;
        }
        Command::Run { ask, timeout, command } => {
            return Box::pin(run::run(session, &ask, timeout, &command)).await;
        }
        Command::Completion { .. } | Command::Man | Command::Reference | Command::Init { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a format is not one of a command, if it is not: one that did nothing would mislead.
fn refused(format: Format, command: &Command) -> Option<&'static str> {
    let is_report = matches!(command, Command::Report { .. });
    match (format, command) {
        (Format::Csv, _) if !is_report => Some("-o csv is of `kubectl jit report` alone"),
        (
            _,
            Command::CanI { .. }
            | Command::Run { .. }
            | Command::Init { .. }
            | Command::Completion { .. }
            | Command::Man
            | Command::Reference,
        ) => Some("-o changes nothing of what this command prints; leave it out"),
        (Format::Json | Format::Yaml | Format::Name, Command::Watch { .. }) => Some(
            "watch prints a table: write -o wide, or none; `kubectl get accessrequests --watch -o json` prints whole objects",
        ),
        _ => None,
    }
}

fn saying(verdict: Verdict, said: &Said) -> Saying {
    Saying { comment: said.comment.clone(), ..Saying::only(verdict) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_a_report("report -o csv", None)]
    #[case::of_a_list("list -o csv", Some("-o csv is of `kubectl jit report` alone"))]
    #[case::of_lists("list -o name", None)]
    #[case::of_a_table("watch -o wide", None)]
    #[case::of_what_goes_on(
        "watch -A -o json",
        Some(
            "watch prints a table: write -o wide, or none; `kubectl get accessrequests --watch -o json` prints whole objects"
        )
    )]
    #[case::of_an_answer(
        "can-i edit -o yaml",
        Some("-o changes nothing of what this command prints; leave it out")
    )]
    #[case::of_another("run edit -- kubectl get pods -o json", None)]
    fn a_format_that_would_do_nothing_is_refused(#[case] line: &str, #[case] why: Option<&str>) {
        let Cli { global, command } =
            Cli::parse_from(["kubectl-jit"].into_iter().chain(line.split(' ')));
        assert_eq!(global.output.and_then(|format| refused(format, &command)), why);
    }
}
