//! What else the requester asks for and holds.

mod debts;
mod extension;
mod request;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessRequest, ConditionStatus, Conditions as _, RequestPhase, Subject};

pub(crate) use self::debts::Debt;
pub(crate) use self::extension::Extended;
pub use self::request::RequestSummary;
use crate::summary::GrantSummary;

/// What else the requester asks for and holds, over all namespaces; the request itself may be among it. What
/// bears on nothing may be missing: requests that are over and extend none ([`RequestSummary::bears`]), and grants
/// that ended more than a day ago and await no review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The requests.
    pub requests: Vec<Arc<RequestSummary>>,
    /// The grants, also those that are over.
    pub grants: Vec<Arc<GrantSummary>>,
}

/// A request in the line for the places of a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InLine<'a> {
    pub(crate) uid: &'a str,
    pub(crate) requested_at: DateTime<Utc>,
    /// Whether it has a place already, which is never taken back.
    pub(crate) has_place: bool,
}

/// Whether the checks of a request have passed, so that it has its place.
pub(crate) fn has_place(request: &AccessRequest) -> bool {
    request.status.as_ref().is_some_and(|status| {
        let evaluated = status.conditions.condition("Evaluated");
        !status.phase.is_terminal()
            && evaluated.is_some_and(|condition| condition.status == ConditionStatus::True)
    })
}

#[cfg(test)]
impl Peers {
    /// What follows from these objects.
    pub(crate) fn of(
        requests: &[crate::attest::Attested<AccessRequest>],
        grants: &[lapse_crds::Grant],
    ) -> Self {
        let requests = requests.iter().map(|request| Arc::new(RequestSummary::of(request)));
        Self { requests: requests.collect(), grants: crate::testing::life::summaries(grants) }
    }
}

impl Peers {
    /// How many open requests by a policy come before one: those that have a place, and those that
    /// were made earlier; at the same microsecond the lower UID comes first. Everybody who looks sees
    /// the same order.
    pub(crate) fn open_before(&self, policy: &str, username: &str, me: InLine<'_>) -> usize {
        let comes_first = |other: &RequestSummary| {
            let Some(at) = other.admitted_at else { return false };
            other.uid != me.uid
                && self.is_open(other, policy, username)
                && (other.has_place || (at, &*other.uid) < (me.requested_at, me.uid))
        };
        if me.has_place { 0 } else { self.requests.iter().filter(|o| comes_first(o)).count() }
    }

    /// Whether a request waits for its approval or its start. One that has a grant does not.
    fn is_open(&self, request: &RequestSummary, policy: &str, username: &str) -> bool {
        matches!(request.phase, RequestPhase::Pending | RequestPhase::Scheduled)
            && request.policy.as_deref() == Some(policy)
            && request.requester == username
            && !request.is_deleted
            && !self.grants.iter().any(|grant| grant.request.uid == request.uid)
    }

    fn grants_of<'a>(
        &'a self,
        policy: &'a str,
        who: &'a Subject,
    ) -> impl Iterator<Item = &'a GrantSummary> {
        let grants = self.grants.iter().map(|grant| &**grant);
        grants.filter(move |grant| *grant.policy == *policy && *grant.subject == *who)
    }

    /// How many grants by a policy are live, but for those of some requests.
    pub(crate) fn live(&self, policy: &str, who: &Subject, but: [Option<&str>; 2]) -> usize {
        let counts = |grant: &&GrantSummary| {
            grant.live.is_some() && !but.contains(&Some(&grant.request.uid))
        };
        self.grants_of(policy, who).filter(counts).count()
    }

    /// How long rights by a policy were held within the day before now, and may be held from now on,
    /// by other grants.
    pub(crate) fn held(
        &self,
        policy: &str,
        who: &Subject,
        me: &str,
        now: DateTime<Utc>,
    ) -> TimeDelta {
        let since = now - TimeDelta::hours(24);
        let held = |grant: &GrantSummary| {
            // What was never given was not held.
            let from = match grant.activated_at {
                Some(from) => from.time(),
                None if grant.live.is_some() => grant.starts_at.time(),
                None => return TimeDelta::zero(),
            };
            let to = grant.ended_at.unwrap_or(grant.expires_at).time();
            (to - from.max(since)).max(TimeDelta::zero())
        };
        let others = self.grants_of(policy, who).filter(|grant| grant.request.uid != me);
        others.map(held).sum()
    }
}
