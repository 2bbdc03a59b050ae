//! Lapse's gateway, as a program; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use lapse_cluster::process::start_telemetry;
use lapse_gateway::cli::{Cli, Command};
use tracing::error;

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let telemetry = start_telemetry("lapse-gateway", runtime.handle());
        let outcome = runtime.block_on(lapse_gateway::run(options));
        if let Err(problem) = &outcome {
            error!("{problem:#}");
        }
        telemetry.finish();
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
