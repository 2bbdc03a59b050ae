//! Watches: what feeds the index, and tells whoever listens what has changed.
//!
//! A watch that starts anew cannot tell what it missed, so whoever listens is told of that, too.

mod feed;
mod follow;
mod live;
mod past;
mod revision;

use std::fmt::Debug;
use std::time::Duration;

use futures::Stream;
use kube::runtime::utils::{Backoff, WatchStreamExt as _};
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::call::jitter;

pub use self::feed::{Feed, Listener};
pub use self::follow::{Doubt, FIRST_LIST, FirstLists, Follow};
pub use self::revision::{Restarts, Revision};

/// How long a watch that failed waits before it starts again, at first and at the most. While it waits, nothing is
/// seen of what people ask and say, a Deny among that: no fault is to make an end later than it lasts, and a second. What
/// `kube` does by default would be 30 s and more after a few failures, and only two minutes without one bring it back to
/// the beginning.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// How long a watch must have gone well until it is as if it had never failed.
const WELL: Duration = Duration::from_secs(20);

/// How long the API server lets a watch last, in seconds. One that says nothing five seconds later is dead (`kube`), and
/// begins anew; with a list or two that are not answered, either, it is replaced within a minute.
const LASTS: u32 = 30;

/// The most objects of people that are listed at once. Each may take 100 KiB (`lapse_engine::size`), so a page takes
/// 10 MiB at the most.
pub(crate) const PAGE: u32 = 100;
/// The most Grants. They are the controller's, and take 7 KiB.
pub(crate) const PAGE_OF_GRANTS: u32 = 500;

/// A dead watch is noticed after its timeout; `kube` sets none of its own that would do.
#[must_use]
pub fn config() -> Config {
    Config::default().timeout(LASTS)
}

/// Watches objects, and starts again after each failure.
pub fn events<K>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    kube::runtime::watcher(api, config).backoff(Pauses::default())
}

/// The pauses between failures. `kube` begins anew with each sign of life, and takes it for one that a list begins, so
/// one that fails each time would be tried again without end, five times a second.
#[derive(Default)]
struct Pauses {
    last: Option<(Instant, Duration)>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let (first, most) = PAUSE;
        let pause = match self.last {
            Some((at, last)) if now.duration_since(at) < WELL => most.min(2 * last),
            _ => first,
        };
        self.last = Some((now, pause));
        // Those that failed together do not try again together.
        Some(pause.mul_f64(0.5 + jitter() / 2.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit_until_all_was_well_for_a_while() {
        let mut pauses = Pauses::default();
        let mut next = || {
            pauses.reset();
            pauses.next().unwrap()
        };
        let (first, most) = PAUSE;
        assert!((first / 2..=first).contains(&next()));
        for _ in 0..9 {
            next();
        }
        assert!((most / 2..=most).contains(&next()), "a sign of life is not enough");
        assert!(most <= Duration::from_secs(1), "a Deny is seen within a second of what hid it");
        tokio::time::advance(WELL).await;
        assert!((first / 2..=first).contains(&next()));
    }
}
