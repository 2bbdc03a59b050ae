//! When something starts, and when it is over.

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequest, AccessRequestSpec, ConditionStatus, Conditions as _, Grant, GrantPhase,
    Timestamp,
};

use crate::endpoint::DRIFTED;

/// When the right starts, if it is approved at this moment: then, or when it was asked for, if that is
/// later.
#[must_use]
pub fn starts_at(spec: &AccessRequestSpec, approved_at: DateTime<Utc>) -> DateTime<Utc> {
    spec.start_time.map_or(approved_at, |start| start.time().max(approved_at))
}

/// Whether nothing will ever happen to a request again: it is final, and was reviewed if it must be.
#[must_use]
pub fn is_settled(request: &AccessRequest) -> bool {
    request.status.as_ref().is_some_and(|status| {
        let review = status.review.as_ref();
        status.phase.is_terminal() && review.is_none_or(|review| review.reviewed_by.is_some())
    })
}

/// Whether a right is verified to be gone.
#[must_use]
pub fn has_ended(grant: &Grant) -> bool {
    grant.status.as_ref().is_some_and(|status| status.phase == GrantPhase::Ended)
}

/// The condition of a grant whose right is gone; not yet, while it is being taken back.
pub(crate) const ENDED: &str = "Ended";

/// The condition of a Grant that says whether what was started under it is gone.
pub(crate) const STOPPED: &str = "Stopped";
/// Its reason for as long as somebody sees to that.
pub(crate) const STOPPING: &str = "Stopping";

/// Whether a right is gone, and what was started under it is still to go.
#[must_use]
pub fn is_stopping(grant: &Grant) -> bool {
    let status = grant.status.as_ref().filter(|_| has_ended(grant));
    status.and_then(|status| status.conditions.condition(STOPPED)).is_some_and(|stopped| {
        stopped.status == ConditionStatus::False && stopped.reason == STOPPING
    })
}

/// The reason of the condition `Drifted` of a Grant until the agent of its host has compared that with what it was before.
pub(crate) const COMPARING: &str = "Comparing";

/// The name of the Endpoint of a Grant whose right is gone, if its host is still to be compared with what it was before.
#[must_use]
pub fn comparing_on(grant: &Grant) -> Option<&str> {
    let status = grant.status.as_ref().filter(|_| has_ended(grant))?;
    let drifted = status.conditions.condition(DRIFTED)?;
    let target = grant.spec.target.endpoint.as_ref()?;
    (drifted.reason == COMPARING).then_some(target.name.as_str())
}

/// By when a Grant is still to be reviewed; `None` if it needs no review, or none any more. A right that
/// could not be given needs none.
#[must_use]
pub fn awaits_review(grant: &Grant) -> Option<Timestamp> {
    let status = grant.status.as_ref();
    let is_reviewed = || {
        let review = status.and_then(|status| status.review.as_ref());
        review.is_some_and(|review| review.reviewed_by.is_some())
    };
    grant.spec.review_by.filter(|_| !is_reviewed() && !was_never_given(grant))
}

/// Whether a Grant is over, and nobody had the right for a moment.
#[must_use]
pub fn was_never_given(grant: &Grant) -> bool {
    has_ended(grant) && grant.status.as_ref().is_some_and(|status| status.end_reason.is_none())
}
