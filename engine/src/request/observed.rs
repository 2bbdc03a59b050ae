//! What a decision about a request is made from.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::{AccessDecision, AccessRequest, Grant};

use crate::approval::not_verified_yet;
use crate::attest::Attested;
use crate::peers::Peers;
use crate::policy::{BannedRoles, Policies};
use crate::risk::ServiceAccount;
use crate::role::RoleRules;
use crate::summary::GrantSummary;
use crate::surroundings::Surroundings;
use crate::{Read, Settings};

/// Everything that bears on a request.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The request.
    pub request: Attested<AccessRequest>,
    /// The policies of the cluster.
    pub policies: Read<Policies>,
    /// The decisions in its namespace.
    pub decisions: Read<Vec<Attested<AccessDecision>>>,
    /// The rules of the role that it asks for.
    pub role: Read<RoleRules>,
    /// The service accounts in its namespaces, if the role lets its holder act as any.
    pub accounts: Read<Vec<ServiceAccount>>,
    /// The rules of the roles that Deny policies name, if the request spells out rules.
    pub banned_roles: BannedRoles,
    /// What is known of where its target would hold.
    pub surroundings: Surroundings,
    /// What else the requester asks for and holds.
    pub peers: Read<Peers>,
    /// The live grants by the policies that [`crate::duties::bearing_on`] names.
    pub engaging: Read<Vec<Arc<GrantSummary>>>,
    /// The Grant of the name that follows from the request.
    pub grant: Read<Grant>,
    /// What the installation allows.
    pub settings: Settings,
    /// What stopped the last try to create the Grant.
    pub obstacle: Option<String>,
}

impl Observed {
    /// What could not be looked up, in words, if anything.
    pub(crate) fn first_failure(&self, now: DateTime<Utc>) -> Option<String> {
        // Without `..`: what is looked up in future counts, too.
        let Self {
            request,
            policies,
            decisions,
            role,
            accounts,
            banned_roles,
            surroundings,
            peers,
            engaging,
            grant,
            settings: _,
            obstacle: _,
        } = self;
        let uid = request.object.metadata.uid.as_deref().unwrap_or_default();
        let said = decisions.found().map(Vec::as_slice).unwrap_or_default();
        policies
            .failure()
            .or_else(|| policies.found().and_then(Policies::failure))
            .or_else(|| decisions.failure())
            .or_else(|| not_verified_yet(uid, said, now))
            .or_else(|| role.failure())
            .or_else(|| accounts.failure())
            .or_else(|| peers.failure())
            .or_else(|| engaging.failure())
            .or_else(|| grant.failure())
            .or_else(|| banned_roles.values().find_map(Read::failure))
            .or_else(|| surroundings.failure())
    }
}
