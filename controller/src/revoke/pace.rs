//! When what could not be taken or removed is tried again: within a second, whatever kept it. While the API server has too much
//! to do, or cannot be reached, tries are spaced: thousands that fail at once are not to keep it from coming to itself, nor
//! this process busy with failing.
//!
//! Whoever waits for a turn goes on as soon as one of the others is answered, so that nothing ends later for it.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapse_cluster::jitter;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The first and the longest wait between two tries.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The space between two tries: by so much later than it could, the first of them comes when it is over.
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
pub(super) struct Pace {
    next: Mutex<Option<Instant>>,
    is_over: Notify,
}

impl Pace {
    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) {
        // Whoever looks and then waits misses nothing that is said in between.
        let mut is_over = pin!(self.is_over.notified());
        is_over.as_mut().enable();
        let at = self.next().as_mut().map(|next| {
            let at = (*next).max(Instant::now());
            *next = at + SPACE;
            at
        });
        if let Some(at) = at {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = is_over => {}
            }
        }
    }

    /// A try failed as any other would.
    pub(super) fn fails(&self) {
        self.next().get_or_insert_with(|| Instant::now() + SPACE);
    }

    /// A try was answered.
    pub(super) fn is_answered(&self) {
        if self.next().take().is_some() {
            self.is_over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_spaced_from_one_that_fails_to_one_that_is_answered() {
        let pace = Pace::default();
        let turns = async |count: u32| {
            let before = Instant::now();
            for _ in 0..count {
                pace.turn().await;
            }
            before.elapsed()
        };
        assert_eq!(turns(1_000).await, Duration::ZERO);
        pace.fails();
        assert_eq!(turns(40).await, 40 * SPACE);
        pace.fails();
        pace.is_answered();
        assert_eq!(turns(1_000).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_one_is_answered() {
        let pace = Pace::default();
        pace.fails();
        let begun = Instant::now();
        let waiting = futures::future::join_all((0..1_000).map(|_| pace.turn()));
        let answered = async {
            tokio::time::sleep(2 * SPACE).await;
            pace.is_answered();
        };
        tokio::join!(waiting, answered);
        assert_eq!(begun.elapsed(), 2 * SPACE);
    }
}
