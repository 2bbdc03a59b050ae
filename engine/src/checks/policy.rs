//! A policy that can decide was found.

use super::{Context, Outcome};

/// Passes: without a policy that decides there is no context (see [`crate::policy::select`]).
pub(super) fn check(context: &Context<'_>) -> Outcome {
    Outcome::Pass(format!("JitPolicy {} decides.", context.policy.name()))
}
