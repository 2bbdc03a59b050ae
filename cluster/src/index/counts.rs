//! How many there are of what, for metrics.

use lapse_crds::ConditionStatus;

use super::Index;

/// How many objects cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Requests.
    pub requests: usize,
    /// Grants.
    pub grants: usize,
    /// Policies.
    pub policies: usize,
}

impl Index {
    /// How many objects cannot be decoded.
    #[must_use]
    pub fn unreadable(&self) -> Unreadable {
        let tables = self.tables();
        let policies = tables.policies.all().filter(|known| known.unreadable.is_some());
        Unreadable {
            requests: tables.requests.count_unreadable(),
            grants: tables.grants.count_unreadable(),
            policies: policies.count(),
        }
    }

    /// How many policies say of themselves that this is the status of their condition `Ready`.
    #[must_use]
    pub fn count_policies(&self, ready: ConditionStatus) -> usize {
        self.tables().policies.all().filter(|known| known.ready == ready).count()
    }
}
