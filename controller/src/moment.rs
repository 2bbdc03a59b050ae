//! A moment, by two clocks. The monotonic one stands still while the machine is suspended, and the other can be set: what has
//! passed by either has passed, so that neither keeps anything waiting.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// How much later something is due by the monotonic clock than by the other, for whose time it is meant. The two are not read
/// in one instant, and what the API server says of its clock is not exact: whoever looks is to find that the time has come.
const BESIDE: Duration = Duration::from_millis(250);

/// The longest sleep of whoever waits for one. The clocks are read again after each, so that a suspended machine, or a clock that
/// was set, delays nothing by more than this.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// By the one that nobody sets.
    pub(crate) monotonic: Instant,
    /// By the one that can be set.
    pub(crate) wall: DateTime<Utc>,
}

impl Moment {
    /// Now, as the wall clock says it.
    pub(crate) fn now(wall: DateTime<Utc>) -> Self {
        Self { monotonic: Instant::now(), wall }
    }

    /// So much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self { monotonic: self.monotonic + time, wall: self.wall + time }
    }

    /// When the wall clock says this, unless somebody sets it.
    pub(crate) fn when(self, wall: DateTime<Utc>) -> Self {
        let ahead = (wall - self.wall).to_std().unwrap_or_default();
        Self { monotonic: self.monotonic + ahead + BESIDE, wall }
    }

    /// The earlier by each of the clocks.
    pub(crate) fn earliest(self, other: Self) -> Self {
        Self { monotonic: self.monotonic.min(other.monotonic), wall: self.wall.min(other.wall) }
    }

    /// Whether it has passed by either.
    pub(crate) fn has_passed(self, now: Self) -> bool {
        now.monotonic >= self.monotonic || now.wall >= self.wall
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_passed_by_either_clock_has_passed() {
        let wall = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let hour = Duration::from_hours(1);
        let start = Moment::now(wall);
        for due in [start.after(hour), start.when(wall + hour)] {
            assert!(!due.has_passed(start));
            let resumed = Moment { wall: wall + hour, ..start };
            assert!(due.has_passed(resumed), "the machine slept");
            let set_back = Moment { wall: wall - hour, ..start.after(hour + BESIDE) };
            assert!(due.has_passed(set_back), "somebody set the clock");
        }
        assert!(start.when(wall - hour).has_passed(start), "it was to be long ago");
        let [early, late] = [1, 2].map(|hours| start.when(wall + TimeDelta::hours(hours)));
        assert_eq!((early.earliest(late), late.earliest(early)), (early, early));
    }
}
