//! Whom a Grant keeps from approving: what waits for their approval is looked at again.

use kube::Resource as _;
use kube::core::DeserializeGuard;
use lapse_crds::{AccessRequest, Grant, JitPolicy, RequestPhase};

use super::{Guarded, Watches};

impl Watches {
    /// An approval counts, or no longer does, once a Grant by a policy that is kept apart ends or comes.
    pub(super) fn grant_engages(&self, grant: &Guarded<Grant>) {
        let DeserializeGuard(Ok(grant)) = grant else { return };
        let policy = &grant.spec.policy.name;
        if !self.caches.policies.state().iter().any(|other| separates(other, policy)) {
            return;
        }
        self.requests_that(waits);
    }
}

/// Whether a policy is the one of this name and keeps others apart, or keeps that one apart.
fn separates(policy: &Guarded<JitPolicy>, name: &str) -> bool {
    let DeserializeGuard(Ok(policy)) = policy else { return false };
    let apart = &policy.spec.separation_of_duties;
    let is_it = policy.meta().name.as_deref() == Some(name);
    !apart.is_empty() && (is_it || apart.iter().any(|separation| separation.policy == name))
}

fn waits(request: &AccessRequest) -> bool {
    let phase = request.status.as_ref().map(|status| status.phase).unwrap_or_default();
    matches!(phase, RequestPhase::Pending | RequestPhase::Scheduled)
}
