//! What is left of a grant once its right is gone.

use chrono::TimeDelta;

use super::Observed;
use super::decide::RETRY;
use crate::Read;
use crate::session::{Started, ends_started};

/// What is left of a grant that ends.
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// What was started under it.
    Started(Vec<Started>),
    /// Nobody has looked for what was started.
    Unseen,
    /// It could not be told, or not all of the right is gone.
    Unsure,
}

impl Left {
    /// How soon to look again; `None` if nothing is left.
    pub(super) fn look_again(&self) -> Option<TimeDelta> {
        match self {
            Self::Nothing => None,
            Self::Unseen => Some(TimeDelta::zero()),
            Self::Started(_) | Self::Unsure => Some(RETRY),
        }
    }
}

/// What is left when the right is gone: what was started under it, if its policy said that this goes, too.
/// Nobody looks for that before the right is being taken back, when no more can be started.
pub(super) fn what_is_left(observed: &Observed) -> Left {
    if !ends_started(&observed.grant.spec) {
        return Left::Nothing;
    }
    match &observed.started {
        None => Left::Unseen,
        Some(Read::Failed(_)) => Left::Unsure,
        Some(Read::Found(started)) if !started.is_empty() => Left::Started(started.clone()),
        Some(Read::Found(_) | Read::Missing) => Left::Nothing,
    }
}
