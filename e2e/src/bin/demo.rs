//! `cargo demo`

use std::process::ExitCode;

use clap::Parser;
use lapse_e2e::plane::Origin;

/// Starts a real Kubernetes control plane with Lapse on it, tells on the terminal how alice gets a
/// right and loses it, and cleans up. Exits with 0 only if each step really happened as told.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Options {}

#[tokio::main]
async fn main() -> ExitCode {
    let Options {} = Options::parse();
    match lapse_e2e::demo::run(Origin::Published).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
