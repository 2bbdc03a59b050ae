//! Lapse's admission webhook, as a program; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use lapse_cluster::process::start_telemetry;
use lapse_webhook::cli::{Cli, Command};
use tracing::error;

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    // Admission waits for the API server far more than it computes.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let telemetry = start_telemetry("lapse-webhook", runtime.handle());
        let outcome = runtime.block_on(lapse_webhook::run(options));
        if let Err(problem) = &outcome {
            error!("{problem:#}");
        }
        telemetry.finish();
        // A name that is still being looked up is not waited for.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
