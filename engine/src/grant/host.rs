//! How a right on a host stands, as its agent says.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{EndReason, EndpointTarget, LocalUser, OrderState, SubjectKind};

use super::Observed;
use super::decide::expiry;
use super::reasons::End;
use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::order::Receipt;
use crate::policy::{Policy, PolicyState};
use crate::target::ResolvedTarget;

/// How soon an end that an agent has not confirmed is looked at again, if its Endpoint says nothing new. What it says
/// causes a look at once.
pub(super) const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(5);

/// What a right on a host waits for, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostState {
    /// Its agent has not said that it has carried the order out.
    Unsaid,
    /// The right is held.
    Given,
    /// Its holder ends it there, and something of it is still there.
    Leaving,
    /// It is gone, or was never given, and nothing of it is left: why, if the agent says.
    Gone {
        /// Whether it could not be given.
        failed: bool,
        /// Whether its holder ended it there.
        by_holder: bool,
        /// In the agent's words.
        why: Option<String>,
    },
    /// Its Endpoint is gone, so nobody can say any more.
    Lost,
    /// Its Endpoint could not be read.
    Unread,
}

/// How the right stands on its host; `None` if it is none on a host.
pub(super) fn state(observed: &Observed) -> Option<HostState> {
    Some(match facts(observed)? {
        Read::Failed(_) => HostState::Unread,
        Read::Missing => HostState::Lost,
        Read::Found(facts) => match receipt(observed, facts) {
            None => HostState::Unsaid,
            Some(Receipt { state, message: why, ended_by_holder: by_holder, .. }) => match state {
                OrderState::Received => HostState::Unsaid,
                OrderState::Ending if by_holder => HostState::Leaving,
                OrderState::Active | OrderState::Ending => HostState::Given,
                OrderState::Ended => HostState::Gone { failed: false, by_holder, why },
                OrderState::Failed => HostState::Gone { failed: true, by_holder: false, why },
            },
        },
    })
}

fn receipt(observed: &Observed, facts: &EndpointFacts) -> Option<Receipt> {
    let name = observed.grant.metadata.name.as_deref()?;
    facts.receipt(name, &observed.grant.spec.request.uid)
}

/// The Endpoint of the grant, if it is on one: one that was made anew under its name is another.
pub(super) fn facts(observed: &Observed) -> Option<Read<&EndpointFacts>> {
    let target = observed.grant.spec.target.endpoint.as_ref()?;
    Some(match &observed.surroundings.endpoint {
        Some(Read::Found(facts)) if target.uid.as_ref() == Some(&facts.uid) => Read::Found(facts),
        Some(Read::Found(_) | Read::Missing) => Read::Missing,
        Some(Read::Failed(why)) => Read::Failed(why.clone()),
        None => Read::Failed("nobody has looked".to_owned()),
    })
}

/// Why a right ends by its Endpoint.
pub(super) fn why_ended(observed: &Observed) -> Option<End> {
    let target = observed.grant.spec.target.endpoint.as_ref()?;
    let name = &target.name;
    let ended = |reason, message: String| Some((Some(reason), message));
    let facts = match facts(observed)? {
        Read::Failed(_) => return None,
        Read::Missing => {
            return ended(EndReason::TargetDeleted, format!("Endpoint {name} was deleted."));
        }
        Read::Found(facts) if facts.is_going => {
            return ended(EndReason::TargetDeleted, format!("Endpoint {name} is being deleted."));
        }
        Read::Found(facts) => facts,
    };
    let user = target.local_user.as_deref().unwrap_or_default();
    if is_still_theirs(observed, facts, user) {
        return None;
    }
    let subject = &observed.grant.spec.subject;
    let message = if subject.kind == SubjectKind::EndpointUser {
        format!("On Endpoint {name}, {user} belongs to somebody else by spec.users since.")
    } else {
        format!("On Endpoint {name}, {user} is no longer the local user of {subject}.")
    };
    ended(EndReason::RequesterNotAllowed, message)
}

/// Whether a local user is still the one of whoever holds the right. Who is on no line of the Endpoint is the user of the
/// same name, where the policy says so; one that cannot be read may.
fn is_still_theirs(observed: &Observed, facts: &EndpointFacts, user: &str) -> bool {
    let spec = &observed.grant.spec;
    // Who belongs to nobody keeps what they asked for there for as long as that is so.
    if spec.subject.kind == SubjectKind::EndpointUser {
        return spec.subject.name == user && facts.owner_of(user).is_none();
    }
    let is_theirs =
        |listed: &LocalUser| listed.local_user == user && listed.subject == spec.subject;
    let is_listed =
        |listed: &LocalUser| listed.local_user == user || listed.subject == spec.subject;
    if facts.users.iter().any(is_listed) {
        return facts.users.iter().any(is_theirs);
    }
    let policy = observed.policy().and_then(PolicyState::policy);
    let says_so = |policy: &Policy| {
        let target = ResolvedTarget::resolve(&spec.target, &spec.request.namespace);
        target.is_some_and(|target| policy.may_be_same_name(&target, &observed.surroundings))
    };
    spec.username.as_deref() == Some(user) && policy.is_none_or(says_so)
}

/// What its agent says of a right that is held by all that the cluster knows: that it is gone, or that its holder ends it.
pub(super) fn why_gone(observed: &Observed) -> Option<End> {
    let why = match state(observed)? {
        HostState::Leaving | HostState::Gone { by_holder: true, .. } => {
            let EndpointTarget { name, local_user, .. } =
                observed.grant.spec.target.endpoint.as_ref()?;
            let user = local_user.as_deref().unwrap_or_default();
            let message = format!("Ended early on Endpoint {name} by its local user {user}.");
            return Some((Some(EndReason::EndedByRequester), message));
        }
        HostState::Gone { why, .. } => why,
        HostState::Unsaid | HostState::Given | HostState::Lost | HostState::Unread => return None,
    };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("The agent of the Endpoint reports that access is gone{why}.");
    Some((Some(EndReason::BindingDeleted), message))
}

/// Why a right could not be given on its host, for good.
pub(super) fn why_not_given(observed: &Observed) -> Option<End> {
    match state(observed)? {
        HostState::Gone { failed: true, why, .. } => {
            let why = why.unwrap_or_else(|| "it does not say why".to_owned());
            Some((None, format!("The agent could not grant it: {why}")))
        }
        _ => None,
    }
}

/// Whether the end is certain, and whether anybody has verified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The agent has verified that it is gone.
    Verified,
    /// Nobody can say any more; by its own time it is over on the host, too.
    Unverified,
    /// It may still be there; when to look again.
    Open(DateTime<Utc>),
}

/// How certain the end of a right on a host is; `None` if it is none on a host.
pub(super) fn certainty(observed: &Observed, now: DateTime<Utc>) -> Option<Certainty> {
    let expiry = expiry(&observed.grant);
    Some(match state(observed)? {
        HostState::Gone { .. } => Certainty::Verified,
        HostState::Lost if now >= expiry => Certainty::Unverified,
        HostState::Lost => Certainty::Open(expiry),
        HostState::Unsaid | HostState::Given | HostState::Leaving | HostState::Unread => {
            Certainty::Open(now + LOOK_AGAIN)
        }
    })
}
