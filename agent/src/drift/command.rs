//! What people on the host are told of what outlasts rights, and how they accept it.

use std::fmt::Write as _;

use chrono::SecondsFormat;
use lapse_crds::DriftFinding;

use super::DriftError;
use super::findings::Findings;
use super::period::make_folder;
use crate::journal::Journal;
use crate::places::Places;
use crate::system::System;

/// What was found and nobody has accepted, in words.
#[must_use]
pub fn show(places: &Places) -> String {
    let report = Findings::read(places).report();
    let mut text = String::new();
    for finding in &report.findings {
        let DriftFinding { grants, kind, path, change, reverted, count, at } = finding;
        let at = at.time().to_rfc3339_opts(SecondsFormat::Secs, true);
        let state = if *reverted { "undone" } else { "LEFT" };
        let times = if *count > 1 { format!(", {count} times") } else { String::new() };
        let grants = grants.join(", ");
        // A text takes everything.
        let _ = writeln!(text, "{at}  {state:<6}  {kind:<12}  {path} {change}{times} ({grants})");
    }
    if report.left_out > 0 {
        let _ = writeln!(text, "{} more: the log of lapse-agent has them.", report.left_out);
    }
    if text.is_empty() {
        text.push_str("Nothing that would outlast access is known.\n");
    }
    text
}

/// How much that is, in words, if it is anything.
#[must_use]
pub fn summary(places: &Places) -> Option<String> {
    let report = Findings::read(places).report();
    let found = report.findings.len() + report.left_out as usize;
    let left = report.findings.iter().filter(|finding| !finding.reverted).count();
    (found > 0).then(|| {
        format!(
            "Changes that would outlast access: {found}, of which left: {}. See `lapse-agent drift show`.",
            left + report.left_out as usize
        )
    })
}

/// Accepts all of it: the cluster is told of it no more. Returns how much it was.
///
/// # Errors
/// If that cannot be written.
pub fn accept(system: &dyn System, places: &Places) -> Result<usize, DriftError> {
    make_folder(places)?;
    let _lock = Journal::open(places)?.lock()?;
    let mut findings = Findings::read(places);
    let accepted = findings.accept();
    if accepted > 0 {
        findings.write(system, places)?;
    }
    Ok(accepted)
}
