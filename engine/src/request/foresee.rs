//! What will become of a request, told when it is made.

use chrono::{DateTime, Utc};

use super::{Observed, evaluate};
use crate::target::ResolvedTarget;

/// Why a request that is being made will get nothing, if that can be told already.
#[must_use]
pub fn foreseen_refusal(observed: &Observed, now: DateTime<Utc>) -> Option<String> {
    let request = &observed.request.object;
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let target = ResolvedTarget::resolve(&request.spec.target, namespace)?;
    let requester = request.spec.requester.as_ref()?;
    let evaluation = evaluate(observed, now, requester, &target, now).ok()?;
    let on_trial = evaluation.policy.as_ref().filter(|chosen| chosen.is_audit).map(|trial| {
        format!("JitPolicy {} is in mode Audit, and gives nothing.", trial.policy.name)
    });
    on_trial.or_else(|| evaluation.report.refusal())
}
