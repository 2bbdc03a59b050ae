//! How long what is over is kept: a finished request goes with its decisions and its Grant when the
//! retention of the policy that decided it has passed.
//!
//! A right that may still be held is never touched: a Grant goes only when it has ended, and never before
//! its request is final, because a request that loses its Grant records that somebody deleted it. What an
//! emergency left is kept until it is reviewed, and from then on counts as over.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{
    AccessDecision, AccessRequest, Condition, ConditionStatus, Conditions as _, Grant,
    GrantDuration, JitPolicy, JitPolicySpec, PolicyRef, Timestamp, created_at,
};

use crate::Read;
use crate::grant::{REVIEWED, grant_name};
use crate::lifetime::{awaits_review, has_ended};

/// How long what is over is kept when no policy says so: 30 days.
pub const DEFAULT: TimeDelta = TimeDelta::hours(720);

/// An object of a list; of one that cannot be decoded, its metadata.
pub type Listed<'a, K> = Result<&'a K, &'a ObjectMeta>;

/// Everything that retention goes by.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// All requests.
    pub requests: Vec<Listed<'a, AccessRequest>>,
    /// All Grants.
    pub grants: Vec<Listed<'a, Grant>>,
    /// How long policies keep what is over.
    pub retentions: Retentions,
}

/// How long each policy keeps what is over.
#[derive(Clone, Debug, Default)]
pub struct Retentions {
    /// By the UID of the policy; `None` if the policy cannot be decoded.
    by_uid: BTreeMap<String, Option<TimeDelta>>,
}

/// How long a policy keeps what is over.
#[must_use]
pub fn retention_of(policy: &JitPolicySpec) -> TimeDelta {
    policy.retention.map_or(DEFAULT, GrantDuration::delta)
}

impl FromIterator<(String, Option<TimeDelta>)> for Retentions {
    /// By the UID of each policy; `None` if it cannot be decoded.
    fn from_iter<I: IntoIterator<Item = (String, Option<TimeDelta>)>>(policies: I) -> Self {
        Self { by_uid: policies.into_iter().collect() }
    }
}

impl Retentions {
    /// What all policies of the cluster say, whether they are ready or not.
    pub fn of<'a>(policies: impl IntoIterator<Item = Listed<'a, JitPolicy>>) -> Self {
        let of_policy = |policy: Listed<'a, JitPolicy>| match policy {
            Ok(policy) => Some((policy.metadata.uid.clone()?, Some(retention_of(&policy.spec)))),
            Err(metadata) => Some((metadata.uid.clone()?, None)),
        };
        Self { by_uid: policies.into_iter().filter_map(of_policy).collect() }
    }

    /// How long what this policy decided is kept; `None` if that is not known. What is deleted does not
    /// come back, so what is not known to be due stays.
    fn get(&self, policy: Option<&PolicyRef>) -> Option<TimeDelta> {
        self.of_policy(policy.map(|policy| &*policy.uid))
    }

    /// How long what the policy of this UID decided is kept; `None` if that is not known.
    #[must_use]
    pub fn of_policy(&self, uid: Option<&str>) -> Option<TimeDelta> {
        let known = uid.and_then(|uid| self.by_uid.get(uid));
        known.copied().unwrap_or(Some(DEFAULT))
    }
}

/// What is to be deleted, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// What is due, the oldest first.
    pub due: Vec<Record<'a>>,
    /// When something is due next, of what there is.
    pub wake_at: Option<DateTime<Utc>>,
}

/// What goes together: first the decisions about the request, then the Grant, then the request, so that
/// whoever is stopped in between leaves something to find the rest by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// A request that is over.
    Request(&'a AccessRequest, Option<&'a Grant>),
    /// The Grant of a request that was deleted.
    Grant(&'a Grant),
}

/// Decides what is due.
#[must_use]
pub fn decide<'a>(observed: &Observed<'a>, now: DateTime<Utc>) -> Plan<'a> {
    let grants = Grants::of(&observed.grants);
    let requests = observed.requests.iter().filter_map(|request| request.as_ref().ok());
    let of_requests = requests.filter_map(|request| {
        let status = request.status.as_ref()?;
        let grant = grants.of_request(request);
        let is_over = status.phase.is_terminal()
            && request.metadata.deletion_timestamp.is_none()
            && grant.is_none_or(is_over)
            && !grants.is_hidden(request);
        let kept = observed.retentions.get(status.policy.as_ref()).filter(|_| is_over)?;
        Some((over_since(request)? + kept, Record::Request(request, grant)))
    });
    let known: BTreeSet<&str> = observed.requests.iter().filter_map(uid).collect();
    let of_grants = grants.by_request.values().filter_map(|grant| {
        let is_gone = !known.contains(&*grant.spec.request.uid);
        let is_over = is_over(grant) && grant.metadata.deletion_timestamp.is_none();
        let kept =
            observed.retentions.get(Some(&grant.spec.policy)).filter(|_| is_gone && is_over)?;
        let status = grant.status.as_ref()?;
        let ended_at = Some(status.ended_at.unwrap_or(grant.spec.expires_at));
        let since = ended_at.max(reviewed_at(&status.conditions))?.time();
        Some((since + kept, Record::Grant(grant)))
    });
    let mut all: Vec<_> = of_requests.chain(of_grants).collect();
    all.sort_by_key(|(at, record)| (*at, record.uid()));
    let later = all.partition_point(|(at, _)| *at <= now);
    let wake_at = all.get(later).map(|(at, _)| *at);
    Plan { due: all.into_iter().take(later).map(|(_, record)| record).collect(), wake_at }
}

impl<'a> Record<'a> {
    fn uid(&self) -> Option<&'a str> {
        match self {
            Self::Request(request, _) => request.metadata.uid.as_deref(),
            Self::Grant(grant) => grant.metadata.uid.as_deref(),
        }
    }
}

/// The Grants by their requests.
struct Grants<'a> {
    by_request: BTreeMap<&'a str, &'a Grant>,
    undecodable: BTreeSet<&'a str>,
}

impl<'a> Grants<'a> {
    fn of(grants: &[Listed<'a, Grant>]) -> Self {
        let decoded = grants.iter().filter_map(|grant| grant.ok());
        let undecodable = grants.iter().filter_map(|grant| grant.err()?.name.as_deref());
        Self {
            by_request: decoded.map(|grant| (&*grant.spec.request.uid, grant)).collect(),
            undecodable: undecodable.collect(),
        }
    }

    /// The Grant of a request.
    fn of_request(&self, request: &AccessRequest) -> Option<&'a Grant> {
        self.by_request.get(request.metadata.uid.as_deref()?).copied()
    }

    /// Whether the Grant of a request is one that cannot be decoded, which may not have ended.
    fn is_hidden(&self, request: &AccessRequest) -> bool {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let ObjectMeta { namespace, name, uid, .. } = &request.metadata;
        !self.undecodable.is_empty()
            && self.undecodable.contains(&*grant_name(&text(namespace), &text(name), &text(uid)))
    }
}

fn uid<'a>(request: &Listed<'a, AccessRequest>) -> Option<&'a str> {
    let metadata = match request {
        Ok(request) => &request.metadata,
        Err(metadata) => metadata,
    };
    metadata.uid.as_deref()
}

/// Whether a right is gone, and nobody needs to review it any more.
fn is_over(grant: &Grant) -> bool {
    has_ended(grant) && awaits_review(grant).is_none()
}

/// When an emergency was reviewed.
fn reviewed_at(conditions: &Vec<Condition>) -> Option<Timestamp> {
    let reviewed = conditions.condition(REVIEWED)?;
    (reviewed.status == ConditionStatus::True).then_some(reviewed.last_transition_time)
}

/// Since when a request is over: since its right was verified to be gone and, of an emergency, since it
/// was reviewed; or else since a condition last changed.
#[must_use]
pub fn over_since(request: &AccessRequest) -> Option<DateTime<Utc>> {
    let status = request.status.as_ref()?;
    let changes = status.conditions.iter().map(|condition| condition.last_transition_time);
    let since = status.ended_at.or(changes.max()).max(reviewed_at(&status.conditions));
    since.map(Timestamp::time).or_else(|| created_at(&request.metadata))
}

/// Until when a decision is kept whose request is gone: the retention counts from its creation, as nothing
/// is left that says when the request was over. `None` if that is not known.
#[must_use]
pub fn kept_until(decision: &AccessDecision, retentions: &Retentions) -> Option<DateTime<Utc>> {
    Some(created_at(&decision.metadata)? + retentions.get(decision.spec.policy.as_ref())?)
}

/// Whether the request that a decision is about is gone; one of the same name is another. While an
/// emergency awaits its review, what was said of it stays: the review may be among it.
#[must_use]
pub fn is_orphan(
    decision: &AccessDecision,
    request: &Read<AccessRequest>,
    grant: Option<&Grant>,
) -> bool {
    if grant.is_some_and(|grant| awaits_review(grant).is_some()) {
        return false;
    }
    match request {
        Read::Missing => true,
        Read::Failed(_) => false,
        Read::Found(request) => {
            !is_about(decision, request.metadata.uid.as_deref().unwrap_or_default())
        }
    }
}

/// Whether a decision, of those that name a request, is about the one of this UID. One without a UID was
/// never stamped, and is about whichever has the name.
#[must_use]
pub fn is_about(decision: &AccessDecision, request_uid: &str) -> bool {
    decision.spec.request.uid.as_deref().is_none_or(|uid| uid == request_uid)
}

#[cfg(test)]
mod tests;
