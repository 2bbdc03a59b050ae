//! `cargo demo` and `cargo playground`: builds the program of this name with all that it will start, and becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use lapse_tools::launch::{Launched, launched};
use tokio::signal::unix::{SignalKind, signal};

/// Only a failure returns.
async fn launch() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let program = args.next().context("which program? `launch demo`, for example")?;
    let program = program.to_str().context("the program's name is not UTF-8")?;
    let args: Vec<OsString> = args.collect();
    // Ended by default, it would leave compilers behind that go on for minutes.
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let launched = tokio::select! {
        _ = terminate.recv() => return Ok(()),
        launched = launched(program, &args) => launched?,
    };
    let path = match launched {
        Launched::Ready(path) => path,
        Launched::Usage(told) => {
            println!("{told}");
            return Ok(());
        }
    };
    Err(Command::new(&path).args(args).exec())
        .with_context(|| format!("starting {}", path.display()))
}

#[tokio::main]
async fn main() -> ExitCode {
    lapse_images::exit(launch().await)
}
