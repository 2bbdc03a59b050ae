//! The life of a grant: given once, taken back whatever happens, and verified to be gone.

mod columns;
mod decide;
mod drain;
mod drift;
mod host;
mod late;
mod name;
mod object;
mod observed;
mod orphan;
mod reasons;
mod review;
mod stopping;
mod warnings;

#[cfg(test)]
mod messages;

pub(crate) use decide::ACTIVE;
pub use decide::{Action, NOT_GIVEN, Plan, decide};
pub use drain::drain;
pub use late::{late, unheard_for};
pub use name::{grant_name, object_name};
pub use object::{Content, LiveContent, LiveObject, ObjectSpec};
pub use observed::{Observed, Obstacle};
pub use orphan::{Fate, ObjectMarks, fate};
pub(crate) use review::REVIEWED;
pub use warnings::{LATEST, Warning, warnings_of};
