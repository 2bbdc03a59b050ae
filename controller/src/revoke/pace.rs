//! When what could not be taken or removed is tried again: within a second, whatever kept it. While the API server says that it has
//! too much to do, tries are spaced: a thousand that fail each second are not to keep it from coming to itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapse_cluster::jitter;
use tokio::time::Instant;

/// The first and the longest wait between two tries.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The space between two tries. With [`super::expire`]'s places taken, the last of them waits for less than a second.
const SPACE: Duration = Duration::from_millis(25);

/// How long to wait after so many tries.
pub(super) fn pause(tries: u32) -> Duration {
    let (first, most) = AGAIN;
    let pause = first.saturating_mul(1 << tries.min(8)).min(most);
    // Those that failed together do not try again together.
    pause.mul_f64(0.5 + jitter() / 2.0)
}

/// When the next may try, while tries are spaced.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) {
        let at = self.next().as_mut().map(|next| {
            let at = (*next).max(Instant::now());
            *next = at + SPACE;
            at
        });
        if let Some(at) = at {
            tokio::time::sleep_until(at).await;
        }
    }

    /// The API server has answered: whether that it has too much to do.
    pub(super) fn heard(&self, is_throttled: bool) {
        let mut next = self.next();
        if is_throttled {
            next.get_or_insert_with(|| Instant::now() + SPACE);
        } else {
            *next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_spaced_from_a_throttled_one_to_one_that_goes_well() {
        let pace = Pace::default();
        let turns = async |count: u32| {
            let before = Instant::now();
            for _ in 0..count {
                pace.turn().await;
            }
            before.elapsed()
        };
        assert_eq!(turns(1_000).await, Duration::ZERO);
        pace.heard(true);
        assert_eq!(turns(40).await, 40 * SPACE);
        pace.heard(true);
        pace.heard(false);
        assert_eq!(turns(1_000).await, Duration::ZERO);
    }
}
