//! What a decision about a grant is made from.

use lapse_crds::{AccessDecision, AccessRequest, Grant};

use super::{LiveObject, ObjectSpec};
use crate::Read;
use crate::attest::Attested;
use crate::policy::{BannedRoles, Policies, PolicyState};
use crate::role::RoleRules;
use crate::session::Started;
use crate::target::Namespaces;

/// Everything that bears on a grant. A look-up that failed revokes nothing and grants nothing; what
/// follows from the grant alone, its end above all, needs none of them.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The grant.
    pub grant: Grant,
    /// Its objects as they must be, in the order in which they are made, and what stands in their place.
    /// Read from the API server, never from a cache: the end is verified with them.
    pub objects: Vec<(ObjectSpec, Read<LiveObject>)>,
    /// The request of the grant.
    pub request: Read<AccessRequest>,
    /// The decisions in the namespace of the request.
    pub decisions: Read<Vec<Attested<AccessDecision>>>,
    /// The policies of the cluster.
    pub policies: Read<Policies>,
    /// The rules of the role.
    pub role: Read<RoleRules>,
    /// The rules of the roles that Deny policies name, if the request spelled out rules.
    pub banned_roles: BannedRoles,
    /// The namespaces of the target.
    pub namespaces: Namespaces,
    /// What was started under the grant, once the right is being taken back; `None` if nobody has looked.
    pub started: Option<Read<Vec<Started>>>,
    /// What stopped the last try to give the right.
    pub obstacle: Option<Obstacle>,
}

impl Observed {
    /// What could not be looked up, in words, if anything.
    pub(crate) fn first_failure(&self) -> Option<String> {
        // Without `..`: what is looked up in future counts, too.
        let Self {
            grant: _,
            objects,
            request,
            decisions,
            policies,
            role,
            banned_roles,
            namespaces,
            // It bears on the end alone, which looks at it itself.
            started: _,
            obstacle: _,
        } = self;
        let unread = objects.iter().find_map(|(_, live)| live.failure());
        unread
            .or_else(|| request.failure())
            .or_else(|| decisions.failure())
            .or_else(|| policies.failure())
            .or_else(|| role.failure())
            .or_else(|| banned_roles.values().find_map(Read::failure))
            .or_else(|| namespaces.values().find_map(Read::failure))
    }

    /// The policy that gave the right, if it was read and still exists: one of the same name that was made
    /// anew is another.
    pub(super) fn policy(&self) -> Option<&PolicyState> {
        let of_grant = &self.grant.spec.policy;
        self.policies.found()?.get(&of_grant.name).filter(|state| state.uid == of_grant.uid)
    }
}

/// What stopped a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What was tried and what the API server answered.
    pub message: String,
    /// Whether trying again is useless.
    pub lasting: bool,
}
