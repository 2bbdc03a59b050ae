//! `kubectl jit`: just-in-time access from the command line.
//!
//! It holds no rule of its own: what people may ask for and decide is judged at admission, and shown here. Its
//! modules, from the leaves: [`fault`], [`countdown`] and [`interrupt`]; [`args`]; [`session`] (the client); [`output`]; [`offers`],
//! [`story`] and [`target`] (words and objects); [`follow`] and [`decide`] (what goes on); [`commands`].

mod args;
mod commands;
mod countdown;
mod decide;
mod fault;
mod follow;
mod interrupt;
mod offers;
mod output;
mod role;
mod session;
mod story;
mod target;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli).await {
        Ok(code) => code,
        Err(fault) => fault.tell(),
    }
}
