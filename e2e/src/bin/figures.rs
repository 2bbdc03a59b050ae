//! Measures lifecycles: `cargo run --release -p lapse-e2e --bin figures`

use std::process::ExitCode;

use clap::Parser;

/// Measures whole lifecycles on a real control plane: approval to binding, end to binding gone, writes
/// and memory of the controller. Run it with nothing else running.
#[derive(Debug, Parser)]
struct Options {
    /// How many lifecycles, one after the other
    #[arg(long, default_value_t = 30)]
    lifecycles: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match lapse_e2e::figures::run(Options::parse().lifecycles).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
