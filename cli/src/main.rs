//! `kubectl jit`: just-in-time access from the command line.
//!
//! It holds no rule of its own: what people may ask for and decide is judged at admission, and shown here. Its
//! modules, from the leaves: [`fault`], [`countdown`] and [`interrupt`]; [`args`]; [`manifests`] (files), [`assumed`] and [`trial`]
//! (what is judged without the cluster); [`session`] (the client); [`pages`], [`installation`]
//! and [`output`]; [`offers`],
//! [`story`] and [`target`] (words and objects); [`follow`] and [`decide`] (what goes on); [`commands`].

mod args;
mod assumed;
mod commands;
mod countdown;
mod decide;
mod fault;
mod follow;
mod installation;
mod interrupt;
mod manifests;
mod offers;
mod output;
mod pages;
mod role;
mod session;
mod story;
mod target;
mod trial;

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
