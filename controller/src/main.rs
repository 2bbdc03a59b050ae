//! The controller of Lapse: observes requests and grants, asks the engine, applies what it says, and
//! takes every right back in time.

mod bindings;
mod config;
mod context;
mod deadlines;
mod drain;
mod echoes;
mod elevate;
mod endpoint;
mod error;
#[cfg(test)]
mod fake;
mod finalizers;
mod gateways;
mod grant;
mod in_hand;
mod lease;
mod metrics;
mod moment;
mod notify;
mod poison;
mod policy;
mod pulses;
mod queue;
mod request;
mod retention;
mod revoke;
mod run;
mod standing;
mod touched;
mod watch;

use clap::Parser as _;
use config::{Arguments, Command};
use lapse_cluster::process::start_telemetry;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Two threads do: the work is waiting for the API server.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let traces = start_telemetry("lapse-controller", runtime.handle());
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Run(options) => run::run(options).await,
            Command::Sweep(options) => revoke::sweep_once(options).await,
            Command::Drain(options) => drain::drain(options).await,
        }
    });
    traces.finish();
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    outcome
}
