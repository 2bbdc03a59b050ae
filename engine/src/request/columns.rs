//! What lists show of a request.

use lapse_crds::{
    AccessRequest, AccessRequestStatus, CheckOutcome, Columns, ConditionStatus, Conditions as _,
    RequestPhase,
};

use super::decide::{APPROVED, CHECKS_FAILED, EVALUATED, GRANTED};
use super::follow::ENDED;
use crate::outside::{LOOKUP_FAILED, REFUSED};
use crate::target::ResolvedTarget;
use crate::words::{few, shortened};

/// How many characters a column has for words.
const WIDTH: usize = 32;

/// What is known when a status is made, and is not in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Who is still to approve, if that was looked at.
    pub(super) waiting_for: Option<String>,
    /// Why it stands where it stands, where a person decided that.
    pub(super) reason: Option<String>,
}

/// What lists show of a request that has this status.
pub(super) fn columns(
    request: &AccessRequest,
    status: &AccessRequestStatus,
    told: Told,
) -> Columns {
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let target = ResolvedTarget::resolve(&request.spec.target, namespace);
    let known = || status.columns.as_ref().and_then(|columns| columns.waiting_for.clone());
    let waits = status.approval.as_ref().is_some_and(|approval| approval.waiting_for.is_some());
    let waiting_for = told.waiting_for.or_else(known).filter(|_| waits);
    let expires = match status.phase {
        RequestPhase::Scheduled | RequestPhase::Active => status.expires_at,
        RequestPhase::Ended => status.ended_at,
        _ => None,
    };
    let phase = status.phase.to_string();
    Columns {
        target: target.map(|target| target.in_brief()),
        waiting_for: waiting_for.map(|who| shortened(&who, WIDTH)),
        expires: expires.map(lapse_crds::Timestamp::to_the_second),
        reason: told
            .reason
            .or_else(|| reason(status))
            .filter(|reason| *reason != phase)
            .map(|reason| shortened(&reason, WIDTH)),
    }
}

/// Why a request stands where it stands: what the first thing says that is not as it must be, unless the phase or who
/// it waits for say it.
fn reason(status: &AccessRequestStatus) -> Option<String> {
    if let Some(end) = status.end_reason {
        return Some(end.to_string());
    }
    // A right that could not be taken back is more than why it was to end.
    let decides = [ENDED, EVALUATED, APPROVED, GRANTED].into_iter().find_map(|r#type| {
        let condition = status.conditions.condition(r#type)?;
        (condition.status != ConditionStatus::True).then_some(condition)
    })?;
    match (&*decides.r#type, &*decides.reason) {
        (APPROVED, "Waiting") => None,
        (GRANTED, "Pending" | LOOKUP_FAILED | REFUSED) => Some("not granted yet".to_owned()),
        (_, CHECKS_FAILED) => {
            let failed = status.checks.iter().filter(|check| check.outcome == CheckOutcome::Fail);
            let failed: Vec<String> = failed.map(|check| format!("{:?}", check.name)).collect();
            Some(few(failed.iter().map(String::as_str), 1))
        }
        (_, reason) => Some(reason.to_owned()),
    }
}
