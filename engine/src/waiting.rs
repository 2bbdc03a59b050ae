//! What an object says to tools that wait for it: Helm 4, Flux, and others that go by kstatus
//! (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>).
//!
//! An object is done unless a condition says that it is not: `Reconciling` while more is to come, `Stalled` when
//! nothing will come of it until somebody changes something. What was asked for is never a failure, a policy that is
//! switched off say.

use chrono::{DateTime, Utc};
use lapse_crds::{Condition, ConditionStatus, Conditions as _};

use crate::words::clipped;

/// More is to come.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will come of it.
pub const STALLED: &str = "Stalled";

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come.
    UnderWay,
    /// Nothing will come of it.
    Failed,
    /// It is as it was asked to be.
    Done,
}

/// Says how far an object is, and why.
pub(crate) fn tell(
    conditions: &mut Vec<Condition>,
    progress: Progress,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: DateTime<Utc>,
) {
    let shown = match progress {
        Progress::UnderWay => Some(RECONCILING),
        Progress::Failed => Some(STALLED),
        Progress::Done => None,
    };
    let is_other = |known: &str| [RECONCILING, STALLED].contains(&known) && Some(known) != shown;
    conditions.retain(|known| !is_other(&known.r#type));
    if let Some(shown) = shown {
        conditions.set_condition(Condition {
            r#type: shown.to_owned(),
            status: ConditionStatus::True,
            reason: reason.to_owned(),
            message: clipped(message),
            last_transition_time: now.into(),
            observed_generation: generation,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_done_unless_it_says_otherwise() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let mut conditions = Vec::new();
        let mut told = |progress| {
            tell(&mut conditions, progress, "Because", "It is so.", Some(1), now);
            conditions.iter().map(|known| known.r#type.clone()).collect::<Vec<_>>()
        };
        assert_eq!(told(Progress::UnderWay), [RECONCILING]);
        assert_eq!(told(Progress::Failed), [STALLED]);
        assert_eq!(told(Progress::Done), [""; 0]);
    }
}
