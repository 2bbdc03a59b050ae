//! What a decision about a grant is made from.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessDecision, AccessRequest, Grant, GrantPhase, created_at};

use super::{LiveObject, ObjectSpec};
use crate::Read;
use crate::approval::not_verified_yet;
use crate::attest::Attested;
use crate::policy::{BannedRoles, Policies, PolicyState};
use crate::role::RoleRules;
use crate::session::StartedSeen;
use crate::surroundings::Surroundings;

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
    /// The policy by which the right is held, read as it is now where not all policies are known: it ends by that one alone.
    pub own_policy: Read<PolicyState>,
    /// The rules of the role.
    pub role: Read<RoleRules>,
    /// The rules of the roles that Deny policies name, if the request spelled out rules.
    pub banned_roles: BannedRoles,
    /// What is known of where the target holds.
    pub surroundings: Surroundings,
    /// What was started under the grant, once the right is being taken back; `None` if nobody has looked.
    pub started: Option<StartedSeen>,
    /// What stopped the last try to give the right.
    pub obstacle: Option<Obstacle>,
}

impl Observed {
    /// What could not be looked up, in words, if anything.
    pub(crate) fn first_failure(&self, now: DateTime<Utc>) -> Option<String> {
        // Without `..`: what is looked up in future counts, too.
        let Self {
            grant,
            objects,
            request,
            decisions,
            policies,
            // It stands in for the others.
            own_policy: _,
            role,
            banned_roles,
            surroundings,
            // It bears on the end alone, which looks at it itself.
            started: _,
            obstacle: _,
        } = self;
        let said = decisions.found().map(Vec::as_slice).unwrap_or_default();
        let unread = objects.iter().find_map(|(_, live)| live.failure());
        unread
            .or_else(|| request.failure())
            .or_else(|| decisions.failure())
            .or_else(|| not_verified_yet(&grant.spec.request.uid, said, now))
            .or_else(|| policies.failure())
            .or_else(|| policies.found().and_then(Policies::failure))
            .or_else(|| role.failure())
            .or_else(|| banned_roles.values().find_map(Read::failure))
            .or_else(|| surroundings.failure())
    }

    /// Whether something could not be looked up that may end a right in this phase, or that says whether it has ended: no
    /// event follows, so it has to be looked for again.
    #[must_use]
    pub fn is_unsure(&self, phase: GrantPhase, now: DateTime<Utc>) -> bool {
        match phase {
            GrantPhase::Active => self.first_failure(now).is_some(),
            // Nothing else bears on an end.
            GrantPhase::Ending => self.objects.iter().any(|(_, live)| live.failure().is_some()),
            GrantPhase::Pending | GrantPhase::Ended => false,
        }
    }

    /// The policy that gave the right, if it was read and still exists: one of the same name that was made
    /// anew is another.
    pub(super) fn policy(&self) -> Option<&PolicyState> {
        let of_grant = &self.grant.spec.policy;
        let state = match self.policies.found() {
            Some(all) => all.get(&of_grant.name),
            None => self.own_policy.found(),
        };
        state.filter(|state| state.uid == of_grant.uid)
    }

    /// Whether it is known what became of the policy that gave the right.
    pub(super) fn knows_policy(&self) -> bool {
        self.policies.found().is_some() || self.own_policy.failure().is_none()
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

/// How long a refusal that may pass is tried again.
const PASSES_WITHIN: TimeDelta = TimeDelta::seconds(30);

impl Obstacle {
    /// What the API server refused while the right of a Grant was given. Rights that somebody was given a moment ago, and a
    /// namespace that was made, are not known to all at once, so a refusal that may pass by itself is final only after a while.
    #[must_use]
    pub fn refused(grant: &Grant, message: String, may_pass: bool, now: DateTime<Utc>) -> Self {
        let since = created_at(&grant.metadata);
        let is_new = since.is_some_and(|since| now < since + PASSES_WITHIN);
        Self { message, lasting: !(may_pass && is_new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::life::{deleted_at, pending};

    #[test]
    fn a_refusal_that_may_pass_is_final_after_a_while() {
        let mut grant = pending().grant;
        grant.metadata.creation_timestamp = Some(deleted_at());
        let created = created_at(&grant.metadata).unwrap();
        let is_final = |may_pass, seconds| {
            let now = created + TimeDelta::seconds(seconds);
            Obstacle::refused(&grant, "creating RoleBinding: 403".into(), may_pass, now).lasting
        };
        assert_eq!(
            [is_final(true, 0), is_final(true, 29), is_final(true, 30)],
            [false, false, true]
        );
        assert!(is_final(false, 0), "the API server will not understand it better later");
    }
}
