//! Which right to an application somebody holds, and whether it is in force.

use chrono::TimeDelta;
use lapse_crds::Program;

use crate::clock::Clock;
use crate::journal::Journal;
use crate::places::{Id, Places};
use crate::record::{Record, Stage};
use crate::right::{Elevation, Right};

/// Why nothing is started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeldError {
    /// There is no such right any more.
    #[error("your access to it has ended: request it again")]
    Over,
    /// Nobody can tell.
    #[error("whether you may run it cannot be told: {0}")]
    Unknown(String),
}

/// The name and the program of a right to an application.
#[must_use]
pub fn application(right: &Right) -> Option<(&str, &Program)> {
    match &right.elevation {
        Elevation::Application { name, program } => Some((name, program)),
        _ => None,
    }
}

/// The record of a right that is in force now, and how long it still is. What is on the disk counts, and what is in memory of
/// an end that could not be written there.
///
/// # Errors
/// If it is not in force, or nobody can tell.
pub fn in_force(
    clock: &dyn Clock,
    places: &Places,
    id: &Id,
) -> Result<(Record, TimeDelta), HeldError> {
    let unknown = |error: &dyn std::fmt::Display| HeldError::Unknown(error.to_string());
    let journal = Journal::open(places).map_err(|error| unknown(&error))?;
    let record = journal.read(id).map_err(|error| unknown(&error))?.ok_or(HeldError::Over)?;
    let now = clock.read().map_err(|error| unknown(&error))?;
    let seen = journal.max_seen().map_err(|error| unknown(&error))?;
    let rest = record.rest(&now, &seen).filter(|_| record.stage == Stage::Active);
    let rest = rest.filter(|_| !places.closed(id).exists()).ok_or(HeldError::Over)?;
    Ok((record, rest))
}
