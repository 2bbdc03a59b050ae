//! What is told of a right that outlives its time.

use chrono::{DateTime, TimeDelta, Utc};

use super::Warning;
use crate::notice::Notice;
use crate::summary::GrantSummary;

/// How long after its time a right is late: whatever passes by itself has passed by then.
const LATE: TimeDelta = TimeDelta::seconds(30);

/// What is to be told, once, of a right whose time has been up for a while and that is not verified to be gone.
#[must_use]
pub fn late(grant: &GrantSummary, now: DateTime<Utc>) -> Option<Warning> {
    let end = grant.expires_at.time();
    if grant.live.is_none() || now < end + LATE {
        return None;
    }
    let message = format!(
        "The access of {} should have ended at {}, and is not verified to be gone: it may still be in effect. Grant {} \
         and the log of the controllers say why.",
        grant.subject,
        end.format("%Y-%m-%d %H:%M:%S UTC"),
        grant.name
    );
    let notice = Notice { warning: true, reason: "RevocationOverdue".to_owned(), message };
    Some(Warning { event: format!("{}.revocation-overdue", grant.uid), notice })
}

/// For how long a host has not said that a right is gone which was taken back there before its time; `None` if it is none
/// like that. Once its time has come it is one that is late.
#[must_use]
pub fn unheard_for(grant: &GrantSummary, now: DateTime<Utc>) -> Option<TimeDelta> {
    let live = grant.live.as_ref().filter(|live| live.is_on_host())?;
    let since = live.ending_since?.time();
    (now < grant.expires_at.time()).then(|| (now - since).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::life::{EXPIRES_AT, active, time};

    #[test]
    fn a_right_that_stands_after_its_time_is_told() {
        let grant = GrantSummary::of(&active().grant);
        assert_eq!(late(&grant, time(EXPIRES_AT + 29)), None);
        let told = late(&grant, time(EXPIRES_AT + 30)).unwrap();
        assert_eq!(late(&grant, time(EXPIRES_AT + 300)).unwrap().event, told.event, "once");
        let over = GrantSummary { live: None, ..grant };
        assert_eq!(late(&over, time(EXPIRES_AT + 300)), None);
    }
}
