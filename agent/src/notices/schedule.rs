//! What the holder of a right is told, and when. Pure: the record, what was told before and the time are passed in.

use chrono::TimeDelta;
use lapse_crds::GrantDuration;
use lapse_engine::grant::{LATEST, warnings_of};
use serde::{Deserialize, Serialize};

use crate::clock::{MaxSeen, Reading};
use crate::record::{Record, Stage};
use crate::right::Right;

/// By how much a right that ended before its time did so. One that ends by its time is over a moment after it by one clock, and
/// a moment before by another.
const EARLY: TimeDelta = TimeDelta::seconds(2);

/// What the holder of a right was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// That it began, or it was too late for that.
    #[serde(default)]
    pub began: bool,
    /// The last warning, in seconds before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<u32>,
    /// That it has ended, or there was nothing to say.
    #[serde(default)]
    pub ended: bool,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// It has begun.
    Begins,
    /// It ends soon: how long it still lasts.
    EndsIn(GrantDuration),
    /// It has ended before its time.
    EndedEarly,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is to be told now.
    pub say: Option<Saying>,
    /// What was told then.
    pub told: Told,
    /// In which time there is something to tell next, if nothing happens before.
    pub next_in: Option<TimeDelta>,
}

/// What there is to tell of a right.
#[must_use]
pub fn look(record: &Record, told: Told, now: &Reading) -> Look {
    let nothing = Look { say: None, told, next_in: None };
    let Some(right) = &record.right else { return nothing };
    match record.stage {
        // That the clock was set back ends everything, which is not for this to say.
        Stage::Active => match record.rest(now, &MaxSeen { wall: now.wall }) {
            Some(left) => held(record, right, told, left, now),
            None => nothing,
        },
        Stage::Over if told.began && !told.ended => {
            let is_early = record.since + EARLY < right.expires_at;
            let is_late = now.wall - record.since >= LATEST;
            let say = (is_early && !is_late).then_some(Saying::EndedEarly);
            Look { say, told: Told { ended: true, ..told }, next_in: None }
        }
        Stage::Received | Stage::Giving | Stage::Ending | Stage::Over => nothing,
    }
}

/// Of several warnings that were missed, the last is told alone: each says how much time is left. Who is told that it begins
/// is told until when.
fn held(record: &Record, right: &Right, told: Told, left: TimeDelta, now: &Reading) -> Look {
    let own = record.asked.as_ref().and_then(|asked| asked.warnings.as_deref());
    let warnings = warnings_of(own, right.expires_at - right.starts_at);
    let due = warnings.iter().filter(|before| before.delta() >= left).min().copied();
    let next = warnings.iter().filter(|before| before.delta() < left).max();
    let is_new = due.filter(|due| told.warned.is_none_or(|warned| due.seconds() < warned));
    let in_time = is_new.filter(|due| due.delta() - left < LATEST);
    let begins = !told.began && now.wall - record.since < LATEST;
    let say = if begins {
        Some(Saying::Begins)
    } else {
        in_time.and_then(|_| seconds(left)).map(Saying::EndsIn)
    };
    let warned = is_new.map(GrantDuration::seconds).or(told.warned);
    Look {
        say,
        told: Told { began: true, warned, ended: false },
        next_in: next.map(|next| left - next.delta()),
    }
}

/// Whole seconds, rounded up, so that a warning that is told in time says what the policy says.
fn seconds(left: TimeDelta) -> Option<GrantDuration> {
    let seconds = u32::try_from((left.num_milliseconds() + 999) / 1000).ok()?;
    GrantDuration::from_seconds(seconds)
}

#[cfg(test)]
mod tests;
