//! What will become of a request, told when it is made.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{Observed, evaluate};
use crate::target::ResolvedTarget;

/// How the words begin about a request that will get nothing; why follows.
pub const WILL_BE_DENIED: &str = "this request will be denied: ";

/// What will become of a request, if nothing changes before it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// It gets nothing.
    Denied {
        /// Why, in words.
        why: String,
    },
    /// It waits for people.
    Waiting {
        /// The policy that decides.
        policy: String,
        /// For whom, in words.
        whom: String,
    },
    /// Nobody has to approve it.
    Given {
        /// The policy that decides.
        policy: String,
        /// Why nobody has to, as a sentence.
        why: &'static str,
    },
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { why } => write!(f, "{WILL_BE_DENIED}{why}"),
            Self::Waiting { policy, whom } => {
                write!(f, "JitPolicy {policy} would decide, and the request would wait for {whom}")
            }
            Self::Given { policy, why } => {
                write!(f, "JitPolicy {policy} would decide, and grant access at once. {why}")
            }
        }
    }
}

/// What will become of a request that is being made; `None` if that cannot be told already.
#[must_use]
pub fn foreseen(observed: &Observed, now: DateTime<Utc>) -> Option<Foreseen> {
    let request = &observed.request.object;
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let target = ResolvedTarget::resolve(&request.spec.target, namespace)?;
    let requester = request.spec.requester.as_ref()?;
    let evaluation = evaluate(observed, now, requester, &target, now).ok()?;
    if let Some(trial) = evaluation.policy.as_ref().filter(|chosen| chosen.is_audit) {
        let why = format!("JitPolicy {} is in audit mode, and grants nothing.", trial.policy.name);
        return Some(Foreseen::Denied { why });
    }
    if let Some(why) = evaluation.report.refusal() {
        return Some(Foreseen::Denied { why });
    }
    let chosen = evaluation.policy.filter(|_| evaluation.report.unknown().is_none())?;
    let policy = chosen.policy.name;
    Some(match chosen.unasked {
        Some(unasked) => Foreseen::Given { policy, why: unasked.message() },
        None => Foreseen::Waiting { policy, whom: chosen.progress.waiting_for },
    })
}
