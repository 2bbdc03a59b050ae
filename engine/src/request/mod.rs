//! The life of a request: from what was asked to a grant, and to what became of it.

mod debts;
mod decide;
mod evaluate;
mod extension;
mod follow;
mod observed;
mod peers;
mod report;
mod summary;

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequest, AccessRequestSpec, AccessRequestStatus, ConditionStatus, Conditions as _, Grant,
    RequestPhase,
};

pub(crate) use debts::Debt;
pub use decide::decide;
pub use evaluate::{Evaluation, evaluate};
pub(crate) use extension::Extended;
pub use follow::shows_evaluation;
pub use observed::Observed;
pub use peers::Peers;
pub(crate) use peers::{InLine, has_place};
pub use summary::RequestSummary;

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

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The Grant to create, with POST. Needs the lease. When there is one, the status is reported
    /// only if creating it fails: the Grant brings a new decision.
    pub create: Option<Box<Grant>>,
    /// What the status must say, if it does not yet.
    pub status: Option<AccessRequestStatus>,
    /// What to tell people, as an event.
    pub notice: Option<Notice>,
    /// When to decide again, if nothing happens before.
    pub wake_at: Option<DateTime<Utc>>,
}

impl Plan {
    /// Whether policy refuses the request, for good.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            status.phase == RequestPhase::Denied
                && status
                    .conditions
                    .condition(decide::EVALUATED)
                    .is_some_and(|evaluated| evaluated.status == ConditionStatus::False)
        })
    }
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is bad news.
    pub warning: bool,
    /// One word for programs.
    pub reason: String,
    /// In words.
    pub message: String,
}
