//! A policy that can decide was found, and it gives what is asked for in this way.

use super::{CheckResult, Context};

/// Without a policy that decides there is no context (see [`crate::policy::select`]).
pub(super) fn check(context: &Context<'_>) -> CheckResult {
    let name = context.policy.name();
    if context.spec.emergency && context.policy.emergency().is_none() {
        return CheckResult::Fail(format!(
            "JitPolicy {name} offers no emergency access; request without spec.emergency, or under a policy that does."
        ));
    }
    let extended = match context.extended() {
        Ok(Some(extended)) => extended,
        Ok(None) => return CheckResult::Pass(format!("JitPolicy {name} decides.")),
        Err(outcome) => return outcome,
    };
    let gave = &*extended.grant.policy;
    let earlier = &extended.grant.request.name;
    if gave != name {
        return CheckResult::Fail(format!(
            "Request {earlier} was granted under JitPolicy {gave}, and JitPolicy {name} decides this one; set \
             spec.policy to {gave}, or leave spec.extends out."
        ));
    }
    let peers = context.peers.found();
    let already = peers.and_then(|peers| peers.extends_already(&extended, context.in_line()));
    match already {
        Some(other) => CheckResult::Fail(format!(
            "Request {earlier} is already extended by {other}; extend that one when it is active, or leave \
             spec.extends out."
        )),
        None => CheckResult::Pass(format!("JitPolicy {name} decides, as it did for {earlier}.")),
    }
}

#[cfg(test)]
mod tests;
