//! Watches: what feeds the index, and tells whoever listens what has changed.
//!
//! A watch that starts anew cannot tell what it missed, so whoever listens is told of that, too.

mod feed;
mod follow;
mod revision;

pub use self::feed::{Feed, Listener};
pub use self::follow::{FIRST_LIST, FirstLists, Follow};
pub use self::revision::{Restarts, Revision};

/// A dead watch is noticed after its timeout; `kube` sets none of its own that would do.
#[must_use]
pub fn config() -> kube::runtime::watcher::Config {
    kube::runtime::watcher::Config::default().timeout(50)
}
