//! Measures the whole product: `cargo run --release --bin bench`

use std::process::ExitCode;

use clap::Parser;
use lapse_e2e::bench::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match lapse_e2e::bench::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
