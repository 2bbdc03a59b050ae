//! What is judged without a cluster.

use std::path::PathBuf;

use clap::Args;

use super::ask::check_start;

pub(super) const EXAMPLES: &str = "\
Offline, for the review of a change in Git; the exit status is 0 if it would be granted or wait for approval, and 3 if not:
  kubectl get clusterrole edit -o yaml > edit.yaml
  kubectl jit explain --policy shop.yaml --with edit.yaml --as alice --as-group shop-developers request.yaml";

/// What is judged by, instead of the cluster.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Offline {
    /// Judge the request offline, by the policies in this file; may be given several times
    #[arg(long = "policy", value_name = "FILE", help_heading = "Offline")]
    pub(crate) policies: Vec<PathBuf>,
    /// Manifests of what else affects it: roles, namespaces, endpoints, and the settings of Lapse (lapse-settings)
    #[arg(long, value_name = "FILE", requires = "policies", help_heading = "Offline")]
    pub(crate) with: Vec<PathBuf>,
    /// As if it were made at this time, which schedules depend on. Default: now
    #[arg(
        long,
        value_name = "TIME",
        requires = "policies",
        value_parser = check_start,
        help_heading = "Offline"
    )]
    pub(crate) at: Option<String>,
}
