//! The life of a request: from what was asked to a grant, and to what became of it.

mod columns;
mod decide;
mod evaluate;
mod follow;
mod foresee;
mod observed;
mod report;

#[cfg(test)]
mod messages;

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequestStatus, ConditionStatus, Conditions as _, Grant, RequestPhase};

pub use decide::decide;
pub use evaluate::{Evaluation, evaluate};
pub use follow::shows_evaluation;
pub use foresee::{Foreseen, WILL_BE_DENIED, foreseen};
pub use observed::Observed;

use crate::notice::Notice;

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
