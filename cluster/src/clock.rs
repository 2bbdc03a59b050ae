//! The one place that reads the wall clock, and how far it can be trusted.
//!
//! Every answer of the API server carries its own time (the header `Date`, RFC 9110, in whole
//! seconds). When the two clocks differ by more than [`TOLERANCE`], nothing is granted; and of the
//! two, the later time decides about ends, so that a clock that runs behind keeps nobody in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// How far the clocks may differ before granting stops. `Date` has whole seconds and an answer takes
/// time, so less than two seconds could not be told apart.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// The wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The wall clock, compared with the API server's at every answer.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How far the API server's clock is ahead of ours, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Takes note of the `Date` of an answer.
    pub fn observe(&self, date: &str) {
        if let Ok(server) = DateTime::parse_from_rfc2822(date) {
            // Half of the second that was cut off is the best guess.
            let server = server.with_timezone(&Utc) + TimeDelta::milliseconds(500);
            self.ahead_ms.store((server - now()).num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// How far the API server's clock is ahead of ours.
    #[must_use]
    pub fn skew(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Whether the clocks agree well enough to grant.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.skew().abs() <= TOLERANCE
    }

    /// The time that decides about ends: ours, or the API server's if that is well ahead.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let skew = self.skew();
        if skew > TOLERANCE { now() + skew } else { now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(offset: TimeDelta) -> String {
        (now() + offset).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    #[test]
    fn agreeing_clocks_are_sane() {
        let clock = Clock::default();
        clock.observe(&date(TimeDelta::zero()));
        assert!(clock.is_sane(), "{:?}", clock.skew());
    }

    #[test]
    fn the_later_clock_ends() {
        let clock = Clock::default();
        clock.observe(&date(TimeDelta::minutes(10)));
        assert!(!clock.is_sane());
        assert!(clock.now() > now() + TimeDelta::minutes(9));

        clock.observe(&date(TimeDelta::minutes(-10)));
        assert!(!clock.is_sane());
        assert!(clock.now() <= now());
    }

    #[test]
    fn rubbish_changes_nothing() {
        let clock = Clock::default();
        clock.observe("yesterday");
        assert_eq!(clock.skew(), TimeDelta::zero());
    }
}
