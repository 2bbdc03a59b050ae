//! The endpoint exists, its agent can do what is asked for, and the requester is a local user there.

use lapse_crds::{AccountAction, Capability, Recording};

use super::{CheckResult, Context};
use crate::Read;
use crate::elevation::{Elevation, runs};
use crate::endpoint::EndpointFacts;
use crate::target::Privilege;

/// What there is to say once a policy offers the target.
pub(super) fn check(context: &Context<'_>, endpoint: &Read<EndpointFacts>) -> CheckResult {
    let Context { target, policy, known, requester, .. } = context;
    let Some((place, elevation)) = target.on_endpoint() else {
        return CheckResult::Fail(format!(
            "Endpoint {target} does not exist; correct its name in spec.target."
        ));
    };
    let name = &place.name;
    let facts = match endpoint {
        Read::Found(facts) => facts,
        Read::Missing => {
            return CheckResult::Fail(format!(
                "Endpoint {name} does not exist; correct its name in spec.target."
            ));
        }
        Read::Failed(why) => {
            return CheckResult::Pending(format!("Endpoint {name} cannot be read: {why}."));
        }
    };
    if facts.is_going {
        return CheckResult::Fail(format!(
            "Endpoint {name} is being deleted; request again if it is created again."
        ));
    }
    let by = policy.local_users(target, known);
    let local_user = match facts.local_user(requester, place.local_user.as_deref(), by) {
        Ok(local_user) => local_user,
        Err(why) => return CheckResult::Fail(format!("On Endpoint {name}, {why}.")),
    };
    if facts.agent_key.is_none() {
        return CheckResult::Fail(format!(
            "No agent has enrolled for Endpoint {name}; ask whoever runs that host to enrol it, and request again."
        ));
    }
    if facts.is_twice {
        return CheckResult::Fail(format!(
            "Two machines have the identity of Endpoint {name}, so it is not known on which of them access would be \
             granted; ask an owner of it to enrol the host again (its condition Duplicate says how), and request \
             again."
        ));
    }
    let Some(capabilities) = &facts.capabilities else {
        return CheckResult::Fail(format!(
            "The agent of Endpoint {name} has not reported yet what it can do; request again when the Endpoint is \
             Ready."
        ));
    };
    if let Some(unmet) = policy.unmet(target, known) {
        return CheckResult::Fail(format!(
            "The agent of Endpoint {name} {unmet}, and JitPolicy {} grants this by no such agent. Update lapse-agent on \
             that host (lapse-agent probe says there what it can do) and request again, or request under another policy.",
            policy.name()
        ));
    }
    let missing: Vec<String> =
        elevation.needs().difference(capabilities).map(Capability::to_string).collect();
    if !missing.is_empty() {
        return CheckResult::Fail(format!(
            "Endpoint {name} cannot do that: its agent does not have {}{}; request something else there.",
            missing.join(", "),
            facts.problem.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
        ));
    }
    let more = match context.settled().privilege {
        Privilege::Elevation(elevation) => more_of(&elevation),
        Privilege::Role(_) | Privilege::Rules(_) => None,
    };
    let is_unrecorded = elevation.is_sudo()
        && policy.session().record == Some(Recording::Children)
        && !facts.records();
    let unrecorded = if is_unrecorded { UNRECORDED } else { "" };
    CheckResult::Pass(format!(
        "{elevation} on {name} is offered, as local user {local_user}.{}{unrecorded}",
        more.unwrap_or_default()
    ))
}

/// What approvers must know of a host that cannot do what the policy wants: access is given there all the same.
const UNRECORDED: &str = " What the commands start is not recorded there, although the policy says session.record: \
                          Children: its agent does not have SessionRecord.";

/// What the name of an elevation does not say.
fn more_of(elevation: &Elevation) -> Option<String> {
    let Elevation::Account(account) = elevation else {
        return runs(elevation).map(|runs| format!(" {runs}."));
    };
    match (account.action, account.authorized_keys.len()) {
        (AccountAction::Provision, 0) => Some(
            " The account has neither password nor key: log in as it with su as root, or have an owner of the Endpoint add \
             authorizedKeys to spec.users."
                .to_owned(),
        ),
        (AccountAction::Provision, keys) => {
            Some(format!(" Keys of spec.users with which one can log in as it: {keys}."))
        }
        (AccountAction::Enable | AccountAction::Raise, _) => None,
    }
}

#[cfg(test)]
mod tests;
