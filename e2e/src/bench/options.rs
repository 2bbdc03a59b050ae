//! The command line.

use std::path::PathBuf;

use clap::Parser;

use super::cases::Case;
use super::setting::Size;

/// Measures the whole product on a real control plane, each case beside a bare client that makes only
/// the same writes. Run it with nothing else running.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// What to measure; may be given several times; everything if not given
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<Case>,
    /// Say what can be measured, and stop
    #[arg(long)]
    pub list: bool,
    /// Write the figures to this file, too, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// A folder with lapse-controller and lapse-webhook of another build, to measure instead of our own
    #[arg(long, value_name = "DIR", conflicts_with = "before")]
    pub programs: Option<PathBuf>,
    /// A folder with programs of an earlier build, to measure before our own in the same run
    #[arg(long, value_name = "DIR")]
    pub before: Option<PathBuf>,
    /// How much to do: small is to see that it works, about a twentieth
    #[arg(long, value_name = "SIZE", default_value = "full")]
    pub size: Size,
    /// How many agents the case gateway connects, instead of what the size says
    #[arg(long, value_name = "NUMBER")]
    pub agents: Option<usize>,
    /// Where the files of the control planes go, and stay: the audit log tells what took how long
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
