//! What the holder of a right is told before it ends, and when.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::GrantDuration;

use super::Observed;
use super::decide::{expiry, uid};
use crate::notice::Notice;

/// Something to tell the holder of a right, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The name of the event. It follows from the UID of the grant and from the warning: who finds it
    /// taken knows that the warning was given, by another replica or before a restart.
    pub event: String,
    /// What it says.
    pub notice: Notice,
}

/// What there is to tell about a right that is held.
pub(super) struct WarningOutlook {
    /// What is to be told now, unless it was.
    pub(super) warning: Option<Warning>,
    /// When there is something to tell next.
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// How late a warning may be told: long enough for another replica to take over, or for this one to come
/// back. It must be much shorter than an API server keeps events (an hour, unless its `--event-ttl` says
/// otherwise), because a warning whose event is forgotten would be told again. The agent of a host keeps to it, too.
pub const LATEST: TimeDelta = TimeDelta::minutes(2);

/// What there is to tell about a right that is held now. Of several warnings that were missed, the last is
/// told alone: each says how much time is left.
pub(super) fn outlook(observed: &Observed, now: DateTime<Utc>) -> WarningOutlook {
    let grant = &observed.grant;
    let end = expiry(grant);
    let length = end - grant.spec.starts_at.time();
    let warnings = warnings_of(of_policy(observed), length);
    let at = |before: &GrantDuration| end - before.delta();
    let last = warnings.iter().filter(|before| at(before) <= now).min();
    WarningOutlook {
        warning: last
            .filter(|before| now < end && now < at(before) + LATEST)
            .map(|before| warning(uid(grant), *before, end, now)),
        next_at: warnings.iter().map(at).filter(|at| *at > now).min(),
    }
}

/// The list of the policy that gave the right, as it is now. When the policy cannot be read, or not be
/// compiled, the length of the grant says: better one warning too many than none.
fn of_policy(observed: &Observed) -> Option<&[GrantDuration]> {
    observed.policy()?.policy()?.warnings()
}

/// How long before the end of a grant of this length there are warnings: by the list of its policy, or by the length. One that
/// would come when the right starts, or before, says nothing new.
#[must_use]
pub fn warnings_of(of_policy: Option<&[GrantDuration]>, length: TimeDelta) -> Vec<GrantDuration> {
    let all = match of_policy {
        Some(own) => own.to_vec(),
        None => by_length(length).iter().copied().filter_map(GrantDuration::from_seconds).collect(),
    };
    all.into_iter().filter(|before| before.delta() < length).collect()
}

/// The warnings of a grant whose policy names none, in seconds before its end.
fn by_length(length: TimeDelta) -> &'static [u32] {
    const MINUTE: u32 = 60;
    match length {
        long if long > TimeDelta::hours(1) => &[30 * MINUTE, 5 * MINUTE, MINUTE],
        middle if middle >= TimeDelta::minutes(30) => &[10 * MINUTE, 5 * MINUTE, MINUTE],
        short if short >= TimeDelta::minutes(5) => &[2 * MINUTE, MINUTE],
        _ => &[20, 5],
    }
}

fn warning(uid: &str, before: GrantDuration, end: DateTime<Utc>, now: DateTime<Utc>) -> Warning {
    // Rounded up, so that one that is told in time says what the policy says.
    let left = u32::try_from(((end - now).num_milliseconds() + 999) / 1000).ok();
    let left = left.and_then(GrantDuration::from_seconds).unwrap_or(before);
    let is_today = end.date_naive() == now.date_naive();
    let time = end.format(if is_today { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" });
    let message =
        format!("Your access ends in {left}, at {time}; request more time if you need it.");
    let notice = Notice { warning: false, reason: "EndsSoon".to_owned(), message };
    Warning { event: format!("{uid}.ends-in-{before}"), notice }
}

#[cfg(test)]
mod tests;
