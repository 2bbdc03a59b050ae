//! What a statement proves at this moment: its host may have gone, or enrolled anew, since it was signed.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessRequest, Identity, Origin, Timestamp};

use super::statement::{StatementError, digest_of, verify};
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

/// Why it is not proven where a request was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// There is no such Endpoint.
    #[error("there is no Endpoint {0}")]
    Missing(String),
    /// Another Endpoint has its name.
    #[error("Endpoint {0} was deleted, and created again since")]
    MadeAnew(String),
    /// It is being deleted.
    #[error("Endpoint {0} is being deleted")]
    Going(String),
    /// No agent has enrolled for it.
    #[error("no agent has enrolled for Endpoint {0}")]
    NotEnrolled(String),
    /// Nobody knows which of two machines signed it.
    #[error(
        "two machines have the identity of Endpoint {0} (its condition Duplicate says what to do)"
    )]
    Twice(String),
    /// Its agent did not sign this.
    #[error(
        "the agent of Endpoint {endpoint} did not sign this request, as {error}: it was changed after that, or the host has \
         enrolled again since"
    )]
    Unsigned {
        /// The name of the Endpoint.
        endpoint: String,
        /// What is wrong.
        error: StatementError,
    },
    /// It was signed at another time.
    #[error(
        "the agent of Endpoint {endpoint} signed it at {signed_at}, and it came at {at}: more than 2 minutes lie between \
         them; request again at once, and if that does not help compare the clock of that host with the cluster's"
    )]
    Stale {
        /// The name of the Endpoint.
        endpoint: String,
        /// When it was signed, by the clock of the host.
        signed_at: Timestamp,
        /// When it was admitted.
        at: Timestamp,
    },
    /// Somebody else asked there.
    #[error(
        "{local_user} on Endpoint {endpoint} is no local user of {username}; ask an owner of the Endpoint to add them to \
         spec.users"
    )]
    Others {
        /// The name of the Endpoint.
        endpoint: String,
        /// Who asked there.
        local_user: String,
        /// Who is the requester.
        username: String,
    },
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
        let Some(origin) = &request.spec.origin else { return Self::Unsaid };
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

fn look(
    request: &AccessRequest,
    origin: &Origin,
    requester: &Identity,
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
    if facts.is_twice {
        return Err(OriginError::Twice(name()));
    }
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (namespace, of) = (text(&request.metadata.namespace), text(&request.metadata.name));
    let signed =
        digest_of(&namespace, &of, &request.spec).and_then(|digest| verify(origin, key, &digest));
    signed.map_err(|error| OriginError::Unsigned { endpoint: name(), error })?;
    // What is signed is looked at last: of what is not, nothing is worth telling.
    if (admitted_at - origin.signed_at.time()).abs() > FRESHNESS {
        let (signed_at, at) = (origin.signed_at, admitted_at.into());
        return Err(OriginError::Stale { endpoint: name(), signed_at, at });
    }
    // Who is no subject is nobody's local user, and neither is root anybody's: nobody and nobody are not the same.
    let owner = facts.owner_of(&origin.local_user);
    if owner.is_none() || owner != subject_of(requester).as_ref() {
        return Err(OriginError::Others {
            endpoint: name(),
            local_user: origin.local_user.clone(),
            username: requester.username.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
