//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lapse_crds::GrantDuration;

/// Grants the access that policies and approvers allow, and revokes it on time.
///
/// Needs access to a cluster, by a pod's service account or KUBECONFIG. The variable `LAPSE_LOG`
/// selects what is logged (default: info), `LAPSE_LOG_FORMAT` how (text or json). Traces are sent to the collector that
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names (`http://HOST:PORT`, OTLP over HTTP), if it is set.
#[derive(Debug, Parser)]
#[command(name = "lapse-controller", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the controller until SIGTERM or SIGINT.
    Run(RunOptions),
    /// Removes, once, every binding of Lapse that has expired or has no active Grant, and exits with 0
    /// when none is left. It needs neither a running controller nor the lease.
    Sweep(OnceOptions),
    /// Ends all access, before Lapse is uninstalled, and exits with 0 when the API server confirms that none is
    /// left. Nothing is granted meanwhile, nor within ten minutes after it, with controllers running or not. Grants stay
    /// as records, without the finalizer, but for emergencies that await review.
    Drain(OnceOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The settings of the installation, as the chart writes them.
    #[arg(long, env = "LAPSE_SETTINGS", value_name = "FILE")]
    pub(crate) settings: PathBuf,
    /// The admission objects of the installation, as the chart writes them, to notice when one is gone or changed.
    #[arg(long, env = "LAPSE_ADMISSION", value_name = "FILE")]
    pub(crate) admission: PathBuf,
    /// Where to serve /livez, /readyz and /metrics.
    #[arg(long, env = "LAPSE_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9090")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) standing: StandingOptions,
    /// The name of this process in the lease; a random suffix makes it unique.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "lapse-controller")]
    pub(crate) identity: String,
}

/// However short the period that is asked for.
const SHORTEST: Duration = Duration::from_mins(1);

/// What is counted of privileges that do not lapse.
#[derive(Clone, Debug, Args)]
pub(crate) struct StandingOptions {
    /// How often the holder of the lease counts who is bound to privileged cluster roles by others than Lapse, such as
    /// 10m; it lists all bindings for that. Not given: never.
    #[arg(long = "count-standing", value_name = "DURATION")]
    every: Option<GrantDuration>,
    /// A cluster role that counts as privileged, beside those that allow everything; may be given more than once.
    #[arg(long = "privileged-role", value_name = "NAME")]
    pub(crate) privileged_roles: Vec<String>,
}

impl StandingOptions {
    /// How often to count; `None`: never.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.every.map(|every| every.delta().to_std().unwrap_or_default().max(SHORTEST))
    }
}

#[derive(Debug, Args)]
pub(crate) struct OnceOptions {
    /// The settings of the installation, as the chart writes them.
    #[arg(long, env = "LAPSE_SETTINGS", value_name = "FILE")]
    pub(crate) settings: PathBuf,
}
