//! What this process has let people say a moment ago, and the index does not show yet: whoever speaks next is judged
//! by that, too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapse_cluster::index::Index;
use tokio::time::{Instant, timeout_at};

/// How long something may take to be stored and shown. Most often it is a few milliseconds; what is refused by somebody
/// else after it was signed here never comes.
const LIMIT: Duration = Duration::from_millis(300);

/// By the UID of a request: when a decision about it was signed, and how many were known then.
#[derive(Default)]
pub(crate) struct Said(Mutex<HashMap<String, (Instant, usize)>>);

fn count(index: &Index, request_uid: &str) -> usize {
    index.decisions(request_uid).found().map_or(0, Vec::len)
}

impl Said {
    /// Somebody was let say something about a request.
    pub(crate) fn note(&self, index: &Index, request_uid: &str) {
        let now = Instant::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, (at, _)| now < *at + LIMIT);
        said.insert(request_uid.to_owned(), (now, count(index, request_uid)));
    }

    /// Waits until the index shows what was said about a request.
    pub(crate) async fn is_shown(&self, index: &Index, request_uid: &str) {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(request_uid).copied();
        let Some((at, known)) = said else { return };
        let mut news = index.news();
        while count(index, request_uid) <= known {
            if !matches!(timeout_at(at + LIMIT, news.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}
