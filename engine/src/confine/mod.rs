//! What the controller may write: what the engine, asked again, would write itself.
//!
//! The webhook asks this of everything that is written in the controller's name and gives somebody a right,
//! or takes a Deny away, so that a stolen token of the controller is worth no more than what was approved.
//! Nothing is decided here that is not decided elsewhere in this crate.

mod grant;
mod object;
mod record;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use kube::api::ObjectMeta;
use lapse_crds::{Condition, ConditionStatus, MANAGED_BY};

pub use grant::grant;
pub use object::{object, object_of_confirmed, was_confirmed};
pub use record::decision;

/// How far the clocks of the two programs may differ: each by five seconds from the API server's, or the
/// controller gives nothing.
pub const SKEW: TimeDelta = TimeDelta::seconds(10);

/// Why something is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// It does not follow from what is stored, and why.
    #[error("{0}")]
    Refused(String),
    /// Whether it follows is not known: something could not be looked up.
    #[error("{0}")]
    Unknown(String),
}

/// What differs in the metadata of an object from what Lapse itself would write, if anything does. Labels
/// and annotations that are not Lapse's may be there: other admission adds them.
#[must_use]
pub fn difference(expected: &ObjectMeta, written: &ObjectMeta) -> Option<&'static str> {
    let ours = |pairs: &Option<BTreeMap<String, String>>| -> BTreeMap<String, String> {
        let pairs = pairs.iter().flatten();
        let ours = pairs.filter(|(key, _)| *key == MANAGED_BY || key.starts_with("lapse.dev/"));
        ours.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let all = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    if expected.name != written.name || expected.namespace != written.namespace {
        Some("metadata.name")
    } else if ours(&expected.labels) != ours(&written.labels) {
        Some("metadata.labels")
    } else if ours(&expected.annotations) != ours(&written.annotations) {
        Some("metadata.annotations")
    } else if all(&expected.finalizers) != all(&written.finalizers) {
        Some("metadata.finalizers")
    } else if written.owner_references.iter().flatten().next().is_some() {
        Some("metadata.ownerReferences")
    } else {
        None
    }
}

/// What the first condition says that does not hold.
fn obstacle(conditions: &[Condition]) -> Option<String> {
    let open = conditions.iter().find(|condition| condition.status != ConditionStatus::True);
    open.map(|condition| condition.message.clone())
}

#[cfg(test)]
mod tests;
