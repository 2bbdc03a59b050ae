//! Separation of duties: which policies are kept apart, and who is engaged in them.
//!
//! Nobody may hold, or approve, rights by two policies that are kept apart, at one time. A person is
//! engaged in a policy while a right by it is live that the person holds or has approved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lapse_crds::Timestamp;

use crate::policy::Policies;
use crate::summary::GrantSummary;
use crate::{Read, identity};

/// The policies whose live grants bear on a request: those that are kept apart from the policy that it
/// names; without a name from whichever may decide. Mostly none.
#[must_use]
pub fn bearing_on(policies: &Policies, named: Option<&str>) -> BTreeSet<String> {
    match named {
        Some(policy) => policies.apart_from(policy),
        None => policies.all_apart(),
    }
}

/// How somebody takes part in a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Approver,
    Holder,
}

/// Somebody holds, or has approved, a right that is live.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engagement {
    // First, so that of several the one is told that lasts longest.
    until: Timestamp,
    policy: String,
    grant: String,
    part: Part,
}

impl Engagement {
    /// What this person does, and until when, in words.
    #[must_use]
    pub fn of(&self, username: &str) -> String {
        self.describe(&format!("{username} holds"), &format!("{username} has"))
    }

    /// The same, to the person.
    pub(crate) fn of_you(&self) -> String {
        self.describe("You hold", "You have")
    }

    fn describe(&self, holds: &str, has: &str) -> String {
        let Self { until, policy, grant, part } = self;
        match part {
            Part::Holder => {
                format!("{holds} access under JitPolicy {policy} until {until} (Grant {grant})")
            }
            Part::Approver => format!(
                "{has} approved access under JitPolicy {policy} that is held until {until} (Grant {grant})"
            ),
        }
    }
}

/// Who is engaged in the policies that are kept apart from the one that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duties {
    apart: BTreeSet<String>,
    engaged: Read<BTreeMap<String, Engagement>>,
}

impl Default for Duties {
    /// Nothing is kept apart.
    fn default() -> Self {
        Self { apart: BTreeSet::new(), engaged: Read::Found(BTreeMap::new()) }
    }
}

impl Duties {
    /// Finds it out from the policies and the grants by those that [`bearing_on`] names; others may be
    /// among them.
    #[must_use]
    pub fn apart_from(
        policy: &str,
        policies: &Policies,
        grants: &Read<Vec<Arc<GrantSummary>>>,
    ) -> Self {
        let apart = policies.apart_from(policy);
        let engaged = match grants {
            // Nothing needed to be looked up.
            _ if apart.is_empty() => Read::Found(BTreeMap::new()),
            Read::Found(grants) => Read::Found(engaged(&apart, grants)),
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why.clone()),
        };
        Self { apart, engaged }
    }

    /// The policies that are kept apart.
    #[must_use]
    pub fn apart(&self) -> &BTreeSet<String> {
        &self.apart
    }

    /// Whether it could be found out.
    pub(crate) fn is_known(&self) -> Result<(), String> {
        match &self.engaged {
            Read::Found(_) => Ok(()),
            Read::Missing => Err("the grants are not known".to_owned()),
            Read::Failed(why) => Err(why.clone()),
        }
    }

    /// What keeps this person from taking part, if anything is known to.
    #[must_use]
    pub fn engagement(&self, username: &str) -> Option<&Engagement> {
        self.engaged.found()?.get(username)
    }
}

fn engaged(apart: &BTreeSet<String>, grants: &[Arc<GrantSummary>]) -> BTreeMap<String, Engagement> {
    let mut engaged: BTreeMap<String, Engagement> = BTreeMap::new();
    for grant in grants.iter().filter(|grant| apart.contains(&*grant.policy)) {
        let Some(live) = &grant.live else { continue };
        let holders = identity::names_of_subject(&grant.subject).map(|who| (who, Part::Holder));
        let approvers = live.approved_by.iter().map(|who| (who.clone(), Part::Approver));
        for (who, part) in approvers.chain(holders) {
            let engagement = Engagement {
                until: grant.expires_at,
                policy: grant.policy.to_string(),
                grant: grant.name.to_string(),
                part,
            };
            // The order in which grants are listed does not matter.
            match engaged.get_mut(&who) {
                Some(known) if *known >= engagement => {}
                Some(known) => *known = engagement,
                None => drop(engaged.insert(who, engagement)),
            }
        }
    }
    engaged
}

#[cfg(test)]
mod tests;
