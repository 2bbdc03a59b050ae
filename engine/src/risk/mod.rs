//! The risk of a role: which of its rights let its holder climb, where it is held.
//!
//! - [`CATALOGUE`]: the rights that are looked for, each with its reason and its source.
//! - [`assess`]: what of it a role holds, and so what is refused and what is warned about.
//! - [`goes_on`]: what is opened under a role and goes on after the right is gone.
//! - [`rights_end_by`]: by when nothing of that works any more, where it can be known.
//! - [`within_reach`]: the service accounts as which the holder can act, and which of them hold more
//!   than the role itself.

mod accounts;
mod assess;
mod catalogue;
mod ends_by;
mod entry;
mod goes_on;
mod held;
mod place;
#[cfg(test)]
mod tests;
mod words;

pub use accounts::{
    BoundRole, Climber, ServiceAccount, WithinReach, acts_as_accounts, impersonated, is_bound,
    may_be_bound, within_reach,
};
pub use assess::assess;
pub use catalogue::CATALOGUE;
pub use ends_by::rights_end_by;
pub use entry::{Entry, Severity, Source};
pub use goes_on::goes_on;
pub use held::HeldRules;
pub use place::{Place, Reach};

/// What a role lets its holder do that asks for a second thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// Why the role is refused, unless the policy says `allowEscalation`; the worst first.
    pub refusals: Vec<Finding>,
    /// What whoever asks and whoever approves should know; the worst first.
    pub warnings: Vec<Finding>,
}

/// One entry of the catalogue that a role matches.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The entry.
    pub entry: &'static Entry,
    /// The rights that match it.
    pub held: HeldRules,
    /// Where they are held.
    pub place: Place,
}

/// Entries are told apart by their titles.
impl PartialEq for Finding {
    fn eq(&self, other: &Self) -> bool {
        let Self { entry, held, place } = self;
        (entry.title, held, place) == (other.entry.title, &other.held, &other.place)
    }
}

impl Eq for Finding {}
