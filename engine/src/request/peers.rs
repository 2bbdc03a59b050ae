//! What else the requester asks for and holds.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{AccessRequest, ConditionStatus, Conditions as _, Grant, RequestPhase, Subject};

use crate::attest::Attested;
use crate::grant::has_ended;

/// The requests and the grants of the requester, over all namespaces; the request itself may be among
/// them. Requests that bear on no other ([`Peers::bears`]) may be missing.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// The requests.
    pub requests: Vec<Attested<AccessRequest>>,
    /// The grants, also those that are over.
    pub grants: Vec<Grant>,
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

impl Peers {
    /// Whether a request can bear on another of the same person. One that is over takes no place, and only what
    /// has extended another is still looked at then.
    #[must_use]
    pub fn bears(request: &AccessRequest) -> bool {
        let phase = request.status.as_ref().map(|status| status.phase).unwrap_or_default();
        !phase.is_terminal() || request.spec.extends.is_some()
    }

    /// How many open requests by a policy come before one: those that have a place, and those that
    /// were made earlier; at the same microsecond the lower UID comes first. Everybody who looks sees
    /// the same order.
    pub(crate) fn open_before(&self, policy: &str, username: &str, me: InLine<'_>) -> usize {
        let comes_first = |other: &Attested<AccessRequest>| {
            let uid = other.object.metadata.uid.as_deref().unwrap_or_default();
            let Ok(attestation) = &other.attestation else { return false };
            let order = (attestation.admitted_at.time(), uid);
            uid != me.uid
                && self.is_open(&other.object, policy, username)
                && (has_place(&other.object) || order < (me.requested_at, me.uid))
        };
        if me.has_place { 0 } else { self.requests.iter().filter(|o| comes_first(o)).count() }
    }

    /// Whether a request waits for its approval or its start. One that has a grant does not.
    fn is_open(&self, request: &AccessRequest, policy: &str, username: &str) -> bool {
        let status = request.status.as_ref();
        let phase = status.map(|status| status.phase).unwrap_or_default();
        let decides = status.and_then(|status| status.policy.as_ref()).map(|policy| &*policy.name);
        let has_grant = |uid: &String| self.grants.iter().any(|g| g.spec.request.uid == *uid);
        matches!(phase, RequestPhase::Pending | RequestPhase::Scheduled)
            && decides.or(request.spec.policy.as_deref()) == Some(policy)
            && request.spec.requester.as_ref().is_some_and(|who| who.username == username)
            && request.metadata.deletion_timestamp.is_none()
            && !request.metadata.uid.as_ref().is_some_and(has_grant)
    }

    fn grants_of<'a>(
        &'a self,
        policy: &'a str,
        who: &'a Subject,
    ) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(move |grant| {
            let spec = &grant.spec;
            spec.policy.name == policy && spec.subject == *who
        })
    }

    /// How many grants by a policy are live, but for those of some requests.
    pub(crate) fn live(&self, policy: &str, who: &Subject, but: [Option<&str>; 2]) -> usize {
        let counts = |grant: &&Grant| {
            let uid = &*grant.spec.request.uid;
            !has_ended(grant) && !but.contains(&Some(uid))
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
        let held = |grant: &Grant| {
            let status = grant.status.as_ref();
            let from = status.and_then(|status| status.activated_at);
            let ended = status.and_then(|status| status.ended_at);
            // What was never given was not held.
            let from = match from {
                Some(from) => from.time(),
                None if !has_ended(grant) => grant.spec.starts_at.time(),
                None => return TimeDelta::zero(),
            };
            let to = ended.unwrap_or(grant.spec.expires_at).time();
            (to - from.max(since)).max(TimeDelta::zero())
        };
        let others = self.grants_of(policy, who).filter(|grant| grant.spec.request.uid != me);
        others.map(held).sum()
    }
}
