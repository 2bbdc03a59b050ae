//! `cargo deb-agent`

use std::process::ExitCode;

use clap::Parser;
use lapse_images::deb::{Options, run};
use lapse_images::exit;

fn main() -> ExitCode {
    exit(run(&Options::parse()))
}
