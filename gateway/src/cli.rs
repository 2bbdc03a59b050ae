//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Lapse's gateway: what the agents on hosts talk to. It carries signed orders to them and signed receipts back; it can
/// give nothing, and holds no key that signs.
///
/// The cluster is the one that the process runs in, or that KUBECONFIG names. Logs go to standard
/// error: `LAPSE_LOG` selects them (`info` by default; the syntax of tracing's `EnvFilter`) and
/// `LAPSE_LOG_FORMAT` is `text` or `json`. Traces are sent to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names
/// (`http://HOST:PORT`, OTLP over HTTP), if it is set.
#[derive(Debug, Parser)]
#[command(name = "lapse-gateway", version, about, long_about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve agents until SIGTERM or SIGINT.
    ///
    /// Several replicas may run beside one another; an agent is connected to one of them, and finds another when that
    /// one stops.
    Run(Run),
}

/// How to serve agents.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The settings of the installation, as the chart mounts them.
    #[arg(
        long,
        value_name = "FILE",
        env = "LAPSE_SETTINGS",
        default_value = "/etc/lapse/settings.yaml"
    )]
    pub settings: PathBuf,

    /// Where to serve agents: HTTP/2 over TLS 1.3.
    #[arg(long, value_name = "ADDR:PORT", env = "LAPSE_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Where to serve `/metrics`, `/livez` and `/readyz`, over plain HTTP.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "LAPSE_METRICS_LISTEN",
        default_value = "0.0.0.0:9090"
    )]
    pub metrics_listen: SocketAddr,

    /// A folder with `tls.crt`, `tls.key` (what it shows to agents) and `ca.crt` (who signs their certificates), in PEM.
    /// Read again every ten seconds; no connection ends by that.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "LAPSE_TLS_DIR",
        default_value = "/etc/lapse/gateway-tls"
    )]
    pub tls_dir: PathBuf,

    /// How many connections there may be at once. Further ones are closed at once, and agents try another replica.
    #[arg(long, value_name = "NUMBER", env = "LAPSE_MAX_CONNECTIONS", default_value_t = 12_000)]
    pub max_connections: usize,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
