//! Why a reconciliation failed, and when to try again.

use std::time::Duration;

use lapse_cluster::{CallError, ObserveError};

/// The first and the longest wait between two tries.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// The longest wait of what may end a right: whatever kept it from ending, it ends within a second of that being over.
const LONGEST_OF_END: Duration = Duration::from_secs(1);

/// Why a reconciliation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A right is over, and something that gives it could not be taken.
    #[error(transparent)]
    NotTaken(CallError),
    /// A right is over, and something that gives it stands, of which it cannot be told whether it may.
    #[error("{0}")]
    NotJudged(String),
    /// Something that must be known is not.
    #[error("{0}")]
    Unknown(String),
    /// It could not be told how the object stands.
    #[error(transparent)]
    Unobserved(#[from] ObserveError),
    /// It panicked: a mistake in the program, about which the log says more.
    #[error("it panicked; the log says where")]
    Panicked,
    /// The engine asked for the same thing again and again.
    #[error("no stable state after {0} rounds")]
    Unstable(usize),
}

impl ReconcileError {
    /// Whether a right stands for it that is over.
    pub(crate) fn keeps_a_right(&self) -> bool {
        matches!(self, Self::NotTaken(_) | Self::NotJudged(_))
    }

    /// Whether somebody else wrote: what is new must be looked at, at once.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Call(call) if call.is_conflict())
    }

    /// How long to wait before the next try, the `failures`-th in a row having failed. Everything but a conflict backs
    /// off exponentially; `jitter` (0 to 1) keeps many objects from trying in step. `is_end`: a right may end by it.
    pub(crate) fn retry_after(&self, failures: u32, jitter: f64, is_end: bool) -> Duration {
        if self.is_conflict() {
            return Duration::from_millis(10);
        }
        // What was taken again and again, and stands, is kept by somebody: when it goes, its event tells.
        let is_kept = matches!(self, Self::Unstable(_));
        let most = if is_end && !is_kept { LONGEST_OF_END } else { LONGEST };
        let longest = FIRST.saturating_mul(1 << failures.min(16)).min(most);
        longest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_up_to_a_limit() {
        let error = ReconcileError::Unknown("x".into());
        let wait = |failures, jitter| error.retry_after(failures, jitter, false);
        assert_eq!(wait(0, 1.0), FIRST);
        assert_eq!(wait(1, 1.0), 2 * FIRST);
        assert_eq!(wait(0, 0.0), FIRST / 2);
        assert_eq!(wait(u32::MAX, 1.0), LONGEST);
        let of_end = error.retry_after(u32::MAX, 1.0, true);
        assert!(of_end <= Duration::from_secs(1), "an end waits for {of_end:?}");
    }
}
