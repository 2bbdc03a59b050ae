//! `cargo plugin`

use std::process::ExitCode;

use clap::Parser;
use lapse_images::exit;
use lapse_images::plugin::{Options, run};

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}
