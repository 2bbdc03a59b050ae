//! A random run of operations and faults: `cargo run -p lapse-e2e --bin chaos`

use std::process::ExitCode;

use clap::Parser;
use lapse_e2e::chaos::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match lapse_e2e::chaos::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
