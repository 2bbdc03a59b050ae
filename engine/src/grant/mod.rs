//! The life of a grant: given once, taken back whatever happens, and verified to be gone.

mod decide;
mod left;
mod name;
mod object;
mod observed;
mod orphan;
mod reasons;
mod review;
mod summary;
mod warnings;

use lapse_crds::{Grant, GrantPhase};

pub use decide::{Action, Plan, decide};
pub use name::{grant_name, object_name};
pub use object::{Content, LiveContent, LiveObject, ObjectSpec};
pub use observed::{Observed, Obstacle};
pub use orphan::{ObjectMarks, Verdict, verdict};
pub(crate) use review::REVIEWED;
pub use review::{awaits_review, holder, was_never_given};
pub use summary::{GrantSummary, LiveGrant};
pub use warnings::Warning;

/// Whether a right is verified to be gone.
#[must_use]
pub fn has_ended(grant: &Grant) -> bool {
    grant.status.as_ref().is_some_and(|status| status.phase == GrantPhase::Ended)
}
