//! What each command does.

mod approve;
mod ask;
mod completion;
mod doctor;
mod explain;
mod found;
mod init;
mod list;
mod policies;
mod reference;
mod replay;
mod report;
mod run;
mod say;
mod status;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use lapse_cluster::clock::now;
use lapse_crds::{Timestamp, Verdict};

pub(crate) use self::completion::answered;
use crate::args::{Cli, Command, Format, Said, parse_start};
use crate::decide::Saying;
use crate::fault::Fault;
use crate::session::Session;

/// Runs a command. Most end with success or an error; `run` ends as its command does.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Fault> {
    let Cli { global, command } = cli;
    if global.output == Some(Format::Csv) && !matches!(command, Command::Report { .. }) {
        return Err(Fault::Usage("-o csv is of `kubectl jit report` alone".to_owned()));
    }
    // These need no cluster.
    match &command {
        Command::Completion { shell } => {
            completion::script(*shell)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
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
    let session = &session;
    let format = global.output;
    match command {
        Command::Policies => policies::run(session, format).await?,
        Command::CanI { ask } => ask::can_i(session, &ask).await?,
        Command::Request { ask, name, wait, dry_run } => {
            let made = ask::request(session, &ask, name.as_deref(), dry_run).await?;
            ask::tell(session, &made, format, wait, dry_run).await?;
        }
        Command::Status { name } => status::run(session, format, name.as_deref()).await?,
        Command::List { filter } => list::run(session, format, filter).await?,
        Command::Watch { filter } => watch::run(session, filter).await?,
        Command::Approve { several, duration, said } => {
            let saying = Saying { duration, ..saying(Verdict::Approve, &said) };
            approve::run(session, format, &several, &saying, said.dry_run).await?;
        }
        Command::Deny { several, said } => {
            approve::run(session, format, &several, &saying(Verdict::Deny, &said), said.dry_run)
                .await?;
        }
        Command::End { names, said } => {
            say::run(session, format, &names, &saying(Verdict::End, &said), said.dry_run).await?;
        }
        Command::Extend { name, duration, reason, ticket, wait } => {
            let made = ask::extend(session, &name, duration, reason, ticket).await?;
            ask::tell(session, &made, format, wait, crate::args::DryRun::None).await?;
        }
        Command::Review { names, outcome, said } => {
            let saying = Saying { outcome: Some(outcome), ..saying(Verdict::Review, &said) };
            say::run(session, format, &names, &saying, said.dry_run).await?;
        }
        Command::Explain { name, offline: _ } => explain::run(session, format, &name).await?,
        Command::Doctor { installation } => {
            doctor::run(session, format, installation.as_deref()).await?;
        }
        Command::Report { since, audit } => {
            let namespace = global.namespace.as_deref();
            report::run(session, format, (namespace, since), &audit, now()).await?;
        }
        Command::Replay { replayed } => {
            // Unlike what people do, a policy is of no namespace.
            replay::run(session, format, &replayed, global.namespace.is_none(), now()).await?;
        }
        Command::Run { ask, timeout, command } => {
            return run::run(session, &ask, timeout, &command).await;
        }
        Command::Completion { .. } | Command::Man | Command::Reference | Command::Init { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn saying(verdict: Verdict, said: &Said) -> Saying {
    Saying { comment: said.comment.clone(), ..Saying::only(verdict) }
}
