//! What the watches showed, or was found to be gone, since what is live was listed. A page of what is over may be older
//! than that, so it says nothing about it.

use std::collections::HashSet;

/// What no page says anything about, by a key. Its memory is bounded by what ends and goes while pages are read.
#[derive(Default)]
pub(super) struct Meanwhile(Option<HashSet<Box<str>>>);

impl Meanwhile {
    /// What is live is listed: pages follow.
    pub(super) fn begin(&mut self) {
        self.0 = Some(HashSet::new());
    }

    /// No more pages come.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) fn note(&mut self, key: &str) {
        if let Some(all) = &mut self.0
            && !all.contains(key)
        {
            all.insert(key.into());
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.as_ref().is_some_and(|all| all.contains(key))
    }
}
