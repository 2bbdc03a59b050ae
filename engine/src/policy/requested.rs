//! What a policy makes of what is asked for.

use lapse_crds::{AccessRequestSpec, GrantDuration};

use super::{Bounds, Policy};

/// How long the grant is to last: what was asked, else the policy's default.
#[must_use]
pub fn requested_duration(spec: &AccessRequestSpec, policy: &Policy) -> Option<GrantDuration> {
    spec.duration.or(bounds(spec, policy).default)
}

/// How long the grant may last: an emergency has a bound of its own.
#[must_use]
pub fn bounds(spec: &AccessRequestSpec, policy: &Policy) -> Bounds {
    match policy.emergency().filter(|_| spec.emergency) {
        Some(rules) => rules.bounds(policy.duration()),
        None => policy.duration(),
    }
}
