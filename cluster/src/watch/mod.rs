//! Watches: what feeds the index, and tells whoever listens what has changed.
//!
//! A watch that starts anew cannot tell what it missed, so whoever listens is told of that, too.

mod feed;
mod follow;
mod revision;

use std::fmt::Debug;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::Stream;
use kube::runtime::utils::{ResetTimerBackoff, WatchStreamExt as _};
use kube::runtime::watcher::{self, Config, Event, ExponentialBackoff};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

pub use self::feed::{Feed, Listener};
pub use self::follow::{FIRST_LIST, FirstLists, Follow};
pub use self::revision::{Restarts, Revision};

/// How long a watch that failed waits before it starts again, at first and at the most. While it waits, nothing is
/// seen of what people ask and say. What `kube` does by default would be 30 s and more after a few failures, and only
/// two minutes without one bring it back to the beginning.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long a watch must have gone well until it is as if it had never failed.
const WELL: Duration = Duration::from_secs(20);

/// A dead watch is noticed after its timeout; `kube` sets none of its own that would do.
#[must_use]
pub fn config() -> Config {
    Config::default().timeout(50)
}

/// Watches objects, and starts again after each failure.
pub fn events<K>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (first, most) = PAUSE;
    let pause = ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(most)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    let pause = ResetTimerBackoff::new(ExponentialBackoff::from(pause), WELL);
    kube::runtime::watcher(api, config).backoff(pause)
}
