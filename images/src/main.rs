//! `cargo image`

use std::process::ExitCode;

use clap::Parser;
use lapse_images::{Options, exit, run};

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}
