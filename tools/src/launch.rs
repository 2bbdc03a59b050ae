//! Building a program of this workspace side by side with the control plane that it starts: the one in Rust, the other in Go.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::origin::Origin;
use crate::programs;
use crate::progress::Jobs;
use crate::tools::Tools;

/// What the programs that are launched start beside the control plane.
const COMPONENTS: [&str; 2] = ["lapse-controller", "lapse-webhook"];

/// Asks for nodes, which consist of more programs. They are built, so all of the cluster is: it is of one release then.
const NODE: &str = "--node";

/// Builds a program, and what it will start when it is given these arguments; returns its file.
///
/// The two builds share the processors as the system divides them: neither has priority, as either can be the last to end.
///
/// # Errors
/// If something cannot be built.
pub async fn ready(program: &str, args: &[impl AsRef<OsStr>]) -> Result<PathBuf> {
    let jobs = Jobs::default();
    let nodes = args.iter().any(|arg| arg.as_ref() == NODE);
    let wanted = [&[program][..], &COMPONENTS].concat();
    let origin = if nodes { Origin::Source } else { Origin::Published };
    let go = Tools::beside(&jobs, nodes, origin);
    let rust = programs::build_beside(&jobs, &wanted);
    let (_, mut built) = jobs.show(async { tokio::try_join!(go, rust) }).await?;
    built.remove(program).with_context(|| format!("there is no program {program}"))
}
