//! What is known of the service accounts of namespaces, and for how long it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapse_engine::risk::ServiceAccount;
use tokio::time::Instant;

/// What was found in sets of namespaces: the bindings of a whole cluster are much to read. It is used for some
/// seconds, or, by a process that watches what bears on it, until that changes.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    fresh: Duration,
    found: Arc<Mutex<Findings>>,
}

#[derive(Debug, Default)]
struct Findings {
    by_namespaces: HashMap<BTreeSet<String>, Found>,
    /// Grows when something changes: what was being read then is not kept.
    version: u64,
}

#[derive(Debug)]
struct Found {
    at: Instant,
    accounts: Vec<ServiceAccount>,
}

/// How long what was found is used, unless it is watched.
const FRESH: Duration = Duration::from_secs(5);
/// How long at most when it is.
const FRESH_WHEN_WATCHED: Duration = Duration::from_mins(10);
/// How many sets of namespaces are kept.
const MOST: usize = 256;

impl Default for Known {
    fn default() -> Self {
        Self { fresh: FRESH, found: Arc::default() }
    }
}

impl Known {
    /// For a process that watches what bears on it, and says when that changes.
    pub(crate) fn watched() -> Self {
        Self { fresh: FRESH_WHEN_WATCHED, ..Self::default() }
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found in these namespaces, or the version that what is read from now on has.
    pub(crate) fn of(&self, namespaces: &BTreeSet<String>) -> Result<Vec<ServiceAccount>, u64> {
        let findings = self.findings();
        let found = findings.by_namespaces.get(namespaces);
        match found.filter(|found| found.at.elapsed() < self.fresh) {
            Some(found) => Ok(found.accounts.clone()),
            None => Err(findings.version),
        }
    }

    pub(crate) fn keep(
        &self,
        namespaces: &BTreeSet<String>,
        accounts: &[ServiceAccount],
        version: u64,
    ) {
        let mut findings = self.findings();
        findings.by_namespaces.retain(|_, found| found.at.elapsed() < self.fresh);
        if findings.version == version {
            // Whoever asks for ever other namespaces takes no place from others for long.
            if findings.by_namespaces.len() >= MOST {
                let oldest = findings.by_namespaces.iter().min_by_key(|(_, found)| found.at);
                if let Some(oldest) = oldest.map(|(namespaces, _)| namespaces.clone()) {
                    findings.by_namespaces.remove(&oldest);
                }
            }
            let found = Found { at: Instant::now(), accounts: accounts.to_vec() };
            findings.by_namespaces.insert(namespaces.clone(), found);
        }
    }

    pub(crate) fn forget(&self) {
        let mut findings = self.findings();
        findings.by_namespaces.clear();
        findings.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> BTreeSet<String> {
        BTreeSet::from(["shop".to_owned()])
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let known = Known::default();
        let version = known.of(&shop()).unwrap_err();
        known.forget();
        known.keep(&shop(), &[], version);
        let version = known.of(&shop()).unwrap_err();
        known.keep(&shop(), &[], version);
        assert_eq!(known.of(&shop()), Ok(vec![]));
        known.forget();
        assert!(known.of(&shop()).is_err());
    }

    #[test]
    fn what_is_not_watched_is_soon_read_again() {
        let known = Known { fresh: Duration::ZERO, ..Known::default() };
        let version = known.of(&shop()).unwrap_err();
        known.keep(&shop(), &[], version);
        assert!(known.of(&shop()).is_err());
    }
}
