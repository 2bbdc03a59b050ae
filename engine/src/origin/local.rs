//! Who asks on a host without credentials of the cluster, and what they may ask for.
//!
//! The agent says which local user it is. Whose that is the owners of the Endpoint say, who are no identity provider: so
//! this makes nobody a `User`, and is good for that host alone, of which its root and its owners decide anyway.

use lapse_crds::{AccessRequestSpec, EndpointUser, Identity, Origin, SubjectKind};

use super::error::OriginError;
use crate::endpoint::{EndpointFacts, ROOT};
use crate::identity::endpoint_username;

/// Who asks, as it is stamped: by the name of the user whose local user they are, or by one that nobody else has. Whether
/// the agent of that host says so is another question.
///
/// # Errors
/// If nobody may ask as that local user.
pub fn local_requester(origin: &Origin, facts: &EndpointFacts) -> Result<Identity, OriginError> {
    let (endpoint, local_user) = (origin.endpoint.clone(), origin.local_user.clone());
    if local_user == ROOT {
        return Err(OriginError::Root);
    }
    let who = EndpointUser { endpoint, local_user };
    let username = match facts.owner_of(&who.local_user) {
        None => endpoint_username(&who),
        Some(owner) if owner.kind == SubjectKind::User => owner.name.clone(),
        Some(_) => {
            let EndpointUser { endpoint, local_user } = who;
            return Err(OriginError::Account { endpoint, local_user });
        }
    };
    Ok(Identity { username, endpoint_user: Some(who), ..Identity::default() })
}

/// Whether what somebody asks for there is for that host and for the same local user, and nothing that takes more than a host can
/// vouch for.
pub(super) fn check_asked(spec: &AccessRequestSpec, origin: &Origin) -> Result<(), OriginError> {
    // Destructured without `..`: a field that is added to the API must be looked at here.
    let AccessRequestSpec {
        policy: _,
        target,
        duration: _,
        start_time,
        ticket: _,
        reason: _,
        emergency,
        extends,
        origin: _,
        requester: _,
    } = spec;
    let (endpoint, local_user) = (&origin.endpoint, &origin.local_user);
    let is_there = target.endpoint.as_ref().is_some_and(|target| {
        target.name == *endpoint && target.local_user.as_ref() == Some(local_user)
    });
    if !is_there || target.kubernetes.is_some() {
        let (endpoint, local_user) = (endpoint.clone(), local_user.clone());
        return Err(OriginError::Elsewhere { endpoint, local_user });
    }
    let beyond = [
        (start_time.is_some(), "startTime"),
        (*emergency, "emergency"),
        (extends.is_some(), "extends"),
    ];
    match beyond.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, field)) => Err(OriginError::Beyond(field)),
        None => Ok(()),
    }
}
