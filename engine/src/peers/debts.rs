//! The emergencies of a person that await their review.

use lapse_crds::{Subject, Timestamp};

use super::Peers;
use crate::summary::GrantSummary;

/// An emergency that awaits its review.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debt<'a> {
    pub(crate) due_by: Timestamp,
    pub(crate) grant: &'a GrantSummary,
}

impl Peers {
    /// What a person still owes, over all policies and but for one request, the first that is due first.
    /// One that is still held is among them.
    pub(crate) fn debts(&self, who: &Subject, me: &str) -> Vec<Debt<'_>> {
        let mut debts: Vec<Debt<'_>> = self
            .grants
            .iter()
            .filter(|grant| *grant.subject == *who && grant.request.uid != me)
            .filter_map(|grant| Some(Debt { due_by: grant.review_by?, grant }))
            .collect();
        debts.sort_by_key(|debt| (debt.due_by, &debt.grant.request.uid));
        debts
    }
}
