//! Measures lifecycles: `cargo run --release -p lapse-e2e --bin figures`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures whole lifecycles on a real control plane: approval to binding, end to binding gone, writes
/// and memory of the controller. Run it with nothing else running.
#[derive(Debug, Parser)]
struct Options {
    /// How many lifecycles, one after the other
    #[arg(long, default_value_t = 30)]
    lifecycles: usize,
    /// Where the files of the control plane go, and stay: its audit log tells what took how long
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match lapse_e2e::figures::run(options.lifecycles, options.folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
