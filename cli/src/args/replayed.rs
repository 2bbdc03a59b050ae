//! What past requests are judged by.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::Period;

/// What past requests are judged by.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("change").args(["files", "without"]).required(true).multiple(true))]
pub(crate) struct Replayed {
    /// Files with policies, which stand for those of their names in the cluster, or beside them
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// A policy of the cluster that is to be gone; may be given several times
    #[arg(long, value_name = "POLICY")]
    pub(crate) without: Vec<String>,
    /// How far back: 30d or 12h, or since a time
    #[arg(long, value_name = "PERIOD", default_value = "30d")]
    pub(crate) since: Period,
    /// The namespace that Lapse is installed in, for its settings. Default: lapse-system
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) installation: Option<String>,
}
