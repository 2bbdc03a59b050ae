//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Lapse's admission webhook: stamps who requests and who decides, signs it, and refuses what is not allowed.
///
/// The cluster is the one that the process runs in, or that KUBECONFIG names. Logs go to standard
/// error: `LAPSE_LOG` selects them (`info` by default; the syntax of tracing's `EnvFilter`) and
/// `LAPSE_LOG_FORMAT` is `text` or `json`. Traces are sent to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names
/// (`http://HOST:PORT`, OTLP over HTTP), if it is set.
#[derive(Debug, Parser)]
#[command(name = "lapse-webhook", version, about, long_about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve admission until SIGTERM or SIGINT.
    ///
    /// Makes, shares and renews its keys and certificates in the Secret `lapse-webhook-keys`, and
    /// writes its path and certificate authority into the webhook configurations named `lapse`.
    /// Emptying the Secret (`kubectl -n lapse-system patch secret lapse-webhook-keys --type=json
    /// -p '[{"op":"remove","path":"/data"}]'`) replaces all of them at once, and distrusts what the
    /// old key signs from then on.
    Run(Run),
}

/// How to serve admission.
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

    /// Where to serve admission, over TLS.
    #[arg(long, value_name = "ADDR:PORT", env = "LAPSE_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,

    /// Where to serve `/metrics`, `/livez` and `/readyz`, over plain HTTP.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "LAPSE_METRICS_LISTEN",
        default_value = "0.0.0.0:9090"
    )]
    pub metrics_listen: SocketAddr,

    /// A DNS name or an IP address by which the API server calls; repeat it for several (in the
    /// variable: separated by commas). The serving certificate is for these.
    #[arg(
        long = "san",
        value_name = "NAME",
        env = "LAPSE_SAN",
        required = true,
        value_delimiter = ','
    )]
    pub sans: Vec<String>,

    /// A DNS name or an IP address by which the agents of hosts call the gateway; repeat it for several (in the
    /// variable: separated by commas). Its certificate is for these. Without any, there is no gateway.
    #[arg(
        long = "gateway-name",
        value_name = "NAME",
        env = "LAPSE_GATEWAY_NAMES",
        value_delimiter = ','
    )]
    pub gateway_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_arguments_of_the_chart_are_understood() {
        let args = [
            "lapse-webhook",
            "run",
            "--settings=/etc/lapse/settings.yaml",
            "--listen=0.0.0.0:9443",
            "--metrics-listen=0.0.0.0:9090",
            "--san=lapse-webhook.lapse-system.svc",
            "--san",
            "127.0.0.1",
        ];
        let Command::Run(run) = Cli::parse_from(args).command;
        assert_eq!(run.sans, ["lapse-webhook.lapse-system.svc", "127.0.0.1"]);
    }
}
