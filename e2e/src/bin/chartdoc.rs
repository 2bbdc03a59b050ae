//! Writes the table of values in the chart's README.

use std::process::ExitCode;

use clap::Parser;

/// Writes the table of values in charts/lapse/README.md from the comments in values.yaml.
#[derive(Debug, Parser)]
struct Options {
    /// Only compare, and fail when the table differs
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match lapse_e2e::chart_docs::run(Options::parse().check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
