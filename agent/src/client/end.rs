//! `lapse end`: an end before its time.

use std::process::ExitCode;

use clap::Args;

use super::ask::have_done;
use crate::local::protocol::{self, Request};
use crate::places::Places;

/// What to end.
#[derive(Clone, Debug, Args)]
pub struct End {
    /// The Grant or the request, as `lapse status` names it. Without it: the only one that you have.
    pub grant: Option<String>,
}

/// Ends it.
///
/// # Errors
/// If it is not gone.
pub fn end(places: &Places, End { grant }: &End) -> anyhow::Result<ExitCode> {
    let request = Request::End(protocol::End { grant: grant.clone() });
    println!("{}", have_done(places, &request)?);
    Ok(ExitCode::SUCCESS)
}
