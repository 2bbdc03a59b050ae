//! A moment for what the index has not seen yet, before somebody is refused for the lack of it.

use std::time::Duration;

use lapse_cluster::Occasion;
use lapse_cluster::index::Index;
use tokio::time::{Instant, sleep, timeout_at};

/// The shortest wait between two looks: on a busy cluster something changes all the time.
const PAUSE: Duration = Duration::from_millis(20);

/// What a refusal may still wait for.
pub(crate) struct Patience {
    news: tokio::sync::watch::Receiver<()>,
    until: Instant,
    is_first: bool,
}

impl Patience {
    /// As much as the occasion has, from now on. What changes from now on counts as news.
    pub(crate) fn of(index: &Index, occasion: Occasion) -> Self {
        let until = Instant::now() + occasion.patience();
        Self { news: index.news(), until, is_first: true }
    }

    /// Waits until something changes; `false` if there is no more time for that.
    pub(crate) async fn outlasts(&mut self) -> bool {
        if !self.is_first {
            sleep(PAUSE).await;
        }
        self.is_first = false;
        matches!(timeout_at(self.until, self.news.changed()).await, Ok(Ok(())))
    }
}
