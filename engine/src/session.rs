//! What is known of people while they hold a right.

mod entered;
mod held;
mod marker;
mod places;
mod started;

pub use entered::{Entered, Entry, ends_streams, enter, entered_to_end, entered_under, is_entered};
pub use held::{is_held_by, is_kept_from_approving, may_be_disguised, record, taken_for_holder};
pub use marker::{mark, marker_role, marks_of};
pub(crate) use places::{of_cluster, of_host};
pub(crate) use started::longest_grace_s;
pub use started::{
    RunsWithin, Started, StartedKind, StartedSeen, ends_started, place, runs_within, started_under,
};
