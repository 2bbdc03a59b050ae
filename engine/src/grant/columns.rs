//! What lists show of a grant.

use lapse_crds::{
    Columns, ConditionStatus, Conditions as _, Grant, GrantPhase, GrantStatus, Timestamp,
};

use super::decide::ACTIVE;
use crate::target::ResolvedTarget;

/// What lists show of a grant that has this status.
pub(super) fn columns(grant: &Grant, status: &GrantStatus) -> Columns {
    let spec = &grant.spec;
    let target = ResolvedTarget::resolve(&spec.target, &spec.request.namespace);
    let expires = match status.phase {
        GrantPhase::Pending | GrantPhase::Active => Some(spec.expires_at),
        // It is to go before that, if it has not come.
        GrantPhase::Ending => None,
        // What was never given never ended.
        GrantPhase::Ended => status.ended_at.filter(|_| status.end_reason.is_some()),
    };
    let phase = status.phase.to_string();
    let inactive = status.conditions.condition(ACTIVE);
    let inactive = inactive.filter(|active| active.status != ConditionStatus::True);
    let reason = status.end_reason.map(|end| end.to_string());
    Columns {
        target: target.map(|target| target.in_brief()),
        waiting_for: None,
        expires: expires.map(Timestamp::to_the_second),
        reason: reason
            .or_else(|| inactive.map(|active| active.reason.clone()))
            .filter(|reason| *reason != phase),
    }
}
