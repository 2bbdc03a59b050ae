//! The one place that reads the wall clock, and how far it can be trusted.
//!
//! Every answer of the API server carries its own time (the header `Date`, RFC 9110, in whole
//! seconds). When the two clocks differ by more than [`TOLERANCE`], nothing is granted; and of the
//! two, the later time decides about ends, so that a clock that runs behind keeps nobody in.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

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
    /// When the API server answered last.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Clock {
    /// Takes note of the `Date` of an answer.
    pub fn observe(&self, date: &str) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if let Ok(server) = DateTime::parse_from_rfc2822(date) {
            // Half of the second that was cut off is the best guess.
            let server = server.with_timezone(&Utc) + TimeDelta::milliseconds(500);
            self.ahead_ms.store((server - now()).num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// Whether the API server, which has answered before, has answered nothing at all for so long.
    #[must_use]
    pub fn is_silent_for(&self, time: Duration) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| at.elapsed() >= time)
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

    #[tokio::test(start_paused = true)]
    async fn who_answered_once_and_no_more_is_silent() {
        let second = Duration::from_secs(1);
        let clock = Clock::default();
        tokio::time::advance(second).await;
        assert!(!clock.is_silent_for(second), "nobody was heard yet");
        clock.observe(&date(TimeDelta::zero()));
        assert!(!clock.is_silent_for(second));
        tokio::time::advance(second).await;
        assert!(clock.is_silent_for(second));
    }

    #[test]
    fn rubbish_changes_nothing() {
        let clock = Clock::default();
        clock.observe("yesterday");
        assert_eq!(clock.skew(), TimeDelta::zero());
    }
}
