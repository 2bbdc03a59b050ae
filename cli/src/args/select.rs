//! Which requests are meant.

use clap::Args;
use lapse_crds::GrantDuration;

/// Which requests are shown.
#[derive(Args, Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Filter {
    /// Those that you created
    #[arg(long)]
    pub(crate) mine: bool,
    /// Those that wait for an approval that you may give
    #[arg(long)]
    pub(crate) to_approve: bool,
    /// Those whose access is held now
    #[arg(long)]
    pub(crate) active: bool,
    /// Emergencies that await review
    #[arg(long)]
    pub(crate) to_review: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// Several requests, by name or by what they have in common.
#[derive(Args, Clone, Debug)]
#[group(id = "several", required = true, multiple = false)]
pub(crate) struct Which {
    /// The requests
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All open requests with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// All that wait for an approval that you may give
    #[arg(long)]
    pub(crate) all: bool,
}

/// Several requests, and whether to ask before something is done with those that were not named.
#[derive(Args, Clone, Debug)]
pub(crate) struct Several {
    #[command(flatten)]
    pub(crate) which: Which,
    /// In all namespaces; with --all or a selector
    #[arg(short = 'A', long, conflicts_with = "names")]
    pub(crate) all_namespaces: bool,
    /// Do not ask before deciding about what --all or a selector found
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// What is ended: requests by name, or what they have in common.
#[derive(Args, Clone, Debug)]
#[group(id = "ended", required = true, multiple = false)]
pub(crate) struct ByNameOrBatch {
    /// The requests
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All of yours with these labels that are open or active; then waits until their access is gone
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// All of a batch, which `request` made for several hosts; then waits until their access is gone
    #[arg(long, value_name = "NAME")]
    pub(crate) batch: Option<String>,
}

/// What is ended, and how long to wait for that.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ended {
    #[command(flatten)]
    pub(crate) which: ByNameOrBatch,
    /// How long to wait until the access of all of them is gone; those of which it is not are then listed, with why
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub(crate) timeout: GrantDuration,
}
