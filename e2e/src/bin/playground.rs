//! `cargo playground`

use clap::Parser;
use lapse_e2e::playground::{Options, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(Options::parse()).await
}
