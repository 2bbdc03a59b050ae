//! What a target comes to under a policy: by which of its entries, as whom, and with which program.

use lapse_crds::{Identity, LocalUsers, Program};

use super::Policy;
use super::offer::Offer;
use crate::Read;
use crate::elevation::Elevation;
use crate::surroundings::Surroundings;
use crate::target::{Privilege, ResolvedTarget, Scope};

impl Policy {
    /// The entries that may give a target: those that offer it and whose requirements its agent meets. If there is none,
    /// those that offer it: what is missing is then told. The first of them decides.
    fn entries(&self, target: &ResolvedTarget, known: &Surroundings) -> Vec<&Offer> {
        let offering = self.offering(target, known);
        let meeting: Vec<&Offer> =
            offering.iter().copied().filter(|offer| offer.unmet(known).is_none()).collect();
        if meeting.is_empty() { offering } else { meeting }
    }

    /// The entries that offer a target, whatever its agent is like.
    fn offering(&self, target: &ResolvedTarget, known: &Surroundings) -> Vec<&Offer> {
        let contains = |offer: &&Offer| offer.contains(target, known, &self.settings);
        self.targets.iter().filter(contains).collect()
    }

    /// Whether the target is offered although its role, command, application or group may let its holder climb. Of
    /// applications, by an entry that means the same one.
    #[must_use]
    pub fn accepts_escalation(&self, target: &ResolvedTarget, known: &Surroundings) -> bool {
        let entries = self.entries(target, known);
        let given = entries.first().and_then(|offer| offer.application(target));
        entries.iter().any(|offer| offer.allows_escalation() && offer.application(target) == given)
    }

    /// Who is which local user on the endpoint of a target.
    #[must_use]
    pub fn local_users(&self, target: &ResolvedTarget, known: &Surroundings) -> LocalUsers {
        let entries = self.entries(target, known);
        entries.first().and_then(|offer| offer.local_users()).unwrap_or_default()
    }

    /// Whether somebody who is on no line of the endpoint may be the local user of the same name there: by whichever entry
    /// the target was given, as an agent that became older ends nothing.
    #[must_use]
    pub fn may_be_same_name(&self, target: &ResolvedTarget, known: &Surroundings) -> bool {
        let offering = self.offering(target, known);
        offering.iter().any(|offer| offer.local_users() == Some(LocalUsers::SameName))
    }

    /// How the agent of the endpoint falls short of what is required of it, as the rest of a sentence about it; `None` if
    /// it meets that.
    #[must_use]
    pub fn unmet(&self, target: &ResolvedTarget, known: &Surroundings) -> Option<String> {
        self.entries(target, known).first()?.unmet(known)
    }

    /// The target with all that the request left open: as whom, on which host of that name, with which program and keys.
    /// Nothing of that is taken from the request but who it wants to be. What stays open here a check refuses.
    #[must_use]
    pub fn settled(
        &self,
        target: &ResolvedTarget,
        requester: &Identity,
        known: &Surroundings,
    ) -> ResolvedTarget {
        let mut settled = target.clone();
        let ResolvedTarget { privilege: Privilege::Elevation(elevation), scope } = &mut settled
        else {
            return settled;
        };
        let facts = known.endpoint.as_ref().and_then(Read::found);
        if let (Scope::Endpoint(place), Some(facts)) = (&mut *scope, facts) {
            let by = self.local_users(target, known);
            place.local_user = facts.local_user(requester, place.local_user.as_deref(), by).ok();
            place.uid = Some(facts.uid.clone());
        }
        match elevation {
            Elevation::Application { program, .. } => {
                let given = self.entries(target, known);
                let given = given.first().and_then(|offer| offer.application(target));
                *program = given.map(Program::from);
            }
            Elevation::Account(account) => {
                let user = scope.endpoint().and_then(|place| place.local_user.as_deref());
                let keys = facts.zip(user).map(|(facts, user)| facts.keys_of(user, account.action));
                account.authorized_keys = keys.unwrap_or_default();
            }
            Elevation::Admin | Elevation::Commands(_) | Elevation::Group(_) => {}
        }
        settled
    }
}
