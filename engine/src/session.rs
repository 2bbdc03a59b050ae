//! What is known of people while they hold a right.

mod held;
mod marker;
mod started;

pub use held::{is_held_by, is_kept_from_approving, may_be_disguised, record};
pub use marker::{mark, marker_role, marks_of};
pub use started::{Started, StartedKind, ends_started, place, started_under};
