//! Lapse's agent, as a program; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use lapse_agent::cli::{Cli, Clock, Command, Drift};
use lapse_agent::{client, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if client::is_called(std::env::args_os().next().as_deref()) {
        return client::main();
    }
    let command = Cli::parse().command;
    if let Command::Session(options) = &command {
        return ExitCode::from(run::session(options));
    }
    if let Command::Application(options) = &command {
        return ExitCode::from(run::application(options));
    }
    let filter = EnvFilter::try_from_env("LAPSE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // systemd adds the time.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let outcome = match command {
        Command::Enrol(options) => block_on(run::enrol_host(options)),
        Command::Run => block_on(run::serve()),
        Command::Expire(options) => run::expire(&options),
        Command::Status => run::status(),
        Command::Probe => run::show_probe(),
        Command::Clock(Clock::Accept) => run::accept_clock(),
        Command::Drift(Drift::Show) => run::show_drift(),
        Command::Drift(Drift::Accept) => run::accept_drift(),
        Command::Remove => block_on(run::remove()),
        Command::Session(_) | Command::Application(_) => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("lapse-agent: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
