//! `kubectl jit`: just-in-time access from the command line.
//!
//! It holds no rule of its own: what people may ask for and decide is judged at admission, and shown here. Its
//! modules, from the leaves: [`stderr`], [`fault`], [`countdown`] and [`interrupt`]; [`args`]; [`manifests`] (files), [`assumed`] and
//! [`trial`] (what is judged without the cluster); [`name`] and [`host`] (the agent of this host); [`role`] and [`rules`];
//! [`kubeconfig`] and [`session`] (the client); [`installation`] and [`output`]; [`offers`], [`story`] and [`target`]
//! (words and objects); [`foreign`] and [`pages`] (what is stored); [`follow`] and [`decide`] (what goes on); [`commands`].

mod args;
mod assumed;
mod commands;
mod countdown;
mod decide;
mod fault;
mod follow;
mod foreign;
mod host;
mod installation;
mod interrupt;
mod kubeconfig;
mod manifests;
mod name;
mod offers;
mod output;
mod pages;
mod role;
mod rules;
mod session;
mod stderr;
mod story;
mod target;
#[cfg(test)]
mod testing;
mod trial;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;

fn main() -> ExitCode {
    // Who completes asks with words that are no command line yet.
    if commands::answered() {
        return ExitCode::SUCCESS;
    }
    run(Cli::parse())
}

#[tokio::main(flavor = "current_thread")]
async fn run(cli: Cli) -> ExitCode {
    match commands::run(cli).await {
        Ok(code) => code,
        Err(fault) => fault.tell(),
    }
}
