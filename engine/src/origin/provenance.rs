//! What a statement proves at this moment: its host may have gone, or enrolled anew, since it was signed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AccessDecisionSpec, AccessRequest, AccessRequestSpec, EndpointUser, Identity, Origin,
};

use super::error::OriginError;
use super::local::{check_asked, local_requester};
use super::statement::{StatementError, digest_of, digest_of_end, verify};
use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::identity::subject_of;

/// How far the signature may lie from the admission, either way: clocks differ, and a network takes its time.
const FRESHNESS: TimeDelta = TimeDelta::minutes(2);

/// Where a request was made, as far as that is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It does not say.
    Unsaid,
    /// On this host, by a local user of the requester.
    Proven(Workplace),
    /// What it says proves nothing, or no longer does.
    Void(OriginError),
    /// What it says could not be looked into: why, in words.
    Unknown(String),
}

/// A host on which requests are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workplace {
    /// The name of its Endpoint.
    pub endpoint: String,
    /// The labels of its Endpoint.
    pub labels: BTreeMap<String, String>,
}

impl Provenance {
    /// Where a request was made that was admitted at this time, by what is known of the Endpoint that it names; `None` if
    /// nobody has looked.
    #[must_use]
    pub fn of(
        request: &AccessRequest,
        requester: &Identity,
        admitted_at: DateTime<Utc>,
        endpoint: Option<&Read<EndpointFacts>>,
    ) -> Self {
        let Some(origin) = &request.spec.origin else {
            let is_local = requester.endpoint_user.is_some();
            return if is_local { Self::Void(OriginError::Absent) } else { Self::Unsaid };
        };
        let name = || origin.endpoint.clone();
        let facts = match endpoint {
            Some(Read::Found(facts)) => facts,
            Some(Read::Missing) => return Self::Void(OriginError::Missing(name())),
            Some(Read::Failed(why)) => {
                return Self::Unknown(format!("Endpoint {} cannot be read: {why}", name()));
            }
            None => return Self::Unknown(format!("Endpoint {} was not looked at", name())),
        };
        match look(request, origin, requester, admitted_at, facts) {
            Ok(()) => Self::Proven(Workplace { endpoint: name(), labels: facts.labels.clone() }),
            Err(error) => Self::Void(error),
        }
    }
}

/// Whether the agent of the host on which a request was made states that the same local user ends it now.
///
/// # Errors
/// Why it is not proven.
pub fn verify_end(
    namespace: &str,
    decision: &AccessDecisionSpec,
    request: &AccessRequestSpec,
    admitted_at: DateTime<Utc>,
    facts: &EndpointFacts,
) -> Result<(), OriginError> {
    let Some(origin) = &decision.origin else { return Err(OriginError::Absent) };
    look_at_host(origin, digest_of_end(namespace, decision), admitted_at, facts)?;
    let who = request.requester.as_ref().and_then(|requester| requester.endpoint_user.as_ref());
    let place = |origin: &Origin| (origin.uid.clone(), origin.local_user.clone());
    let is_theirs = who.is_some() && request.origin.as_ref().map(place) == Some(place(origin));
    if is_theirs {
        return Ok(());
    }
    let (endpoint, local_user) = (origin.endpoint.clone(), origin.local_user.clone());
    Err(OriginError::NotTheirs { endpoint, local_user })
}

/// Whether the agent that is enrolled for an Endpoint has just signed what has this digest.
fn look_at_host(
    origin: &Origin,
    digest: Result<String, StatementError>,
    admitted_at: DateTime<Utc>,
    facts: &EndpointFacts,
) -> Result<(), OriginError> {
    let name = || origin.endpoint.clone();
    if facts.uid != origin.uid {
        return Err(OriginError::MadeAnew(name()));
    }
    if facts.is_going {
        return Err(OriginError::Going(name()));
    }
    let key = facts.agent_key.as_deref().ok_or_else(|| OriginError::NotEnrolled(name()))?;
    // A host that is not there any more has not taken its key along.
    if let Some(until) = facts.agent_until.filter(|until| admitted_at >= until.time()) {
        return Err(OriginError::Expired { endpoint: name(), until });
    }
    if facts.is_twice {
        return Err(OriginError::Twice(name()));
    }
    let signed = digest.and_then(|digest| verify(origin, key, &digest));
    signed.map_err(|error| OriginError::Unsigned { endpoint: name(), error })?;
    // What is signed is looked at last: of what is not, nothing is worth telling.
    if (admitted_at - origin.signed_at.time()).abs() > FRESHNESS {
        let (signed_at, at) = (origin.signed_at, admitted_at.into());
        return Err(OriginError::Stale { endpoint: name(), signed_at, at });
    }
    Ok(())
}

fn look(
    request: &AccessRequest,
    origin: &Origin,
    requester: &Identity,
    admitted_at: DateTime<Utc>,
    facts: &EndpointFacts,
) -> Result<(), OriginError> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (namespace, of) = (text(&request.metadata.namespace), text(&request.metadata.name));
    look_at_host(origin, digest_of(&namespace, &of, &request.spec), admitted_at, facts)?;
    if let Some(who) = &requester.endpoint_user {
        return look_at_local(request, origin, (requester, who), facts);
    }
    // Who is no subject is nobody's local user, and neither is root anybody's: nobody and nobody are not the same.
    let owner = facts.owner_of(&origin.local_user);
    if owner.is_none() || owner != subject_of(requester).as_ref() {
        return Err(OriginError::Others {
            endpoint: origin.endpoint.clone(),
            local_user: origin.local_user.clone(),
            username: requester.username.clone(),
        });
    }
    Ok(())
}

/// Whether somebody who asked there without credentials is who the stamp says, and asked for what a host can vouch for.
fn look_at_local(
    request: &AccessRequest,
    origin: &Origin,
    (requester, who): (&Identity, &EndpointUser),
    facts: &EndpointFacts,
) -> Result<(), OriginError> {
    let now = local_requester(origin, facts)?;
    if now.username != requester.username || now.endpoint_user.as_ref() != Some(who) {
        let (endpoint, local_user) = (origin.endpoint.clone(), origin.local_user.clone());
        return Err(OriginError::Changed { endpoint, local_user });
    }
    check_asked(&request.spec, origin)
}

#[cfg(test)]
mod tests;
