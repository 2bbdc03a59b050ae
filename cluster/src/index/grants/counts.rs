//! How many Grants there are of what.

use lapse_crds::{GrantPhase, SubjectKind};
use lapse_engine::summary::GrantSummary;

use super::Grants;

impl Grants {
    pub(in super::super) fn count_unreadable(&self) -> usize {
        self.undecodable.len()
    }

    pub(in super::super) fn count_active(&self, policy: &str, policy_uid: &str) -> usize {
        let names = self.live_by_policy.get(policy).into_iter().flatten();
        let is_held =
            |grant: &GrantSummary| matches!(grant.phase(), GrantPhase::Active | GrantPhase::Ending);
        self.all(names).filter(|grant| *grant.policy_uid == *policy_uid && is_held(grant)).count()
    }

    /// Whether a service account may hold a right: one does, or of some nobody knows who holds it.
    pub(in super::super) fn may_account_hold(&self) -> bool {
        let is_account = |grant: &GrantSummary| grant.subject.kind == SubjectKind::ServiceAccount;
        !self.undecodable.is_empty() || self.all(&self.live).any(|grant| is_account(grant))
    }
}
