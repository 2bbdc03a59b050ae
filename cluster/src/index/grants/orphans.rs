//! Of what is over, that whose request is gone: whoever deletes what is over goes by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_engine::summary::GrantSummary;

use super::{Grants, ended_at};

/// When a Grant ended, and its name.
type Ended = (DateTime<Utc>, Arc<str>);

/// In the order in which they were, by the UID of their policy.
#[derive(Default)]
pub(super) struct Orphans(BTreeMap<Arc<str>, BTreeSet<Ended>>);

impl Orphans {
    fn insert(&mut self, name: &Arc<str>, grant: &GrantSummary) {
        let of_policy = self.0.entry(grant.policy_uid.clone()).or_default();
        of_policy.insert((ended_at(grant), name.clone()));
    }

    pub(super) fn remove(&mut self, name: &Arc<str>, grant: &GrantSummary) {
        if let Some(of_policy) = self.0.get_mut(&grant.policy_uid) {
            of_policy.remove(&(ended_at(grant), name.clone()));
            if of_policy.is_empty() {
                self.0.remove(&grant.policy_uid);
            }
        }
    }
}

impl Grants {
    /// Takes note of whether the request of a Grant is there.
    pub(in super::super) fn has_request(&mut self, name: &str, has_request: bool) {
        if !self.keeps_past {
            return;
        }
        let Some((known, _)) = self.by_name.get(name) else { return };
        let Ok(grant) = &known.summary else { return };
        if has_request {
            self.orphans.remove(&known.name, grant);
        } else if grant.is_settled() {
            self.orphans.insert(&known.name, grant);
        }
    }

    /// Takes note for each Grant of whether its request is there.
    pub(in super::super) fn compare(&mut self, has_request: impl Fn(&str) -> bool) {
        let grants = self.by_name.values().filter_map(|(known, _)| known.summary.as_ref().ok());
        let orphans = grants.filter(|grant| !has_request(&grant.request.uid));
        let orphans: Vec<Arc<str>> = orphans.map(|grant| grant.name.clone()).collect();
        self.orphans = Orphans::default();
        for name in &orphans {
            self.has_request(name, false);
        }
    }

    /// Those that are over and whose request is gone, at most so many by each policy.
    pub(in super::super) fn orphans(&self, most: usize) -> Vec<Arc<GrantSummary>> {
        let of_policies = self.orphans.0.values();
        let names = of_policies.flat_map(|over| over.iter().take(most)).map(|(_, name)| name);
        self.all(names).cloned().collect()
    }
}
