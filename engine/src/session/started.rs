//! What somebody starts while they hold a right, and what becomes of it at the end.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{GrantDuration, GrantSession, GrantSpec, StartedWorkloads};

use crate::summary::GrantSummary;
use crate::target::{ResolvedTarget, Scope};

/// The kinds of workload that a person creates. What makes others comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartedKind {
    /// A `CronJob`, with its jobs and their pods.
    CronJob,
    /// A Deployment, with its replica sets and their pods.
    Deployment,
    /// A `StatefulSet`, with its pods. Its volumes stay.
    StatefulSet,
    /// A `DaemonSet`, with its pods.
    DaemonSet,
    /// A `ReplicaSet`, with its pods.
    ReplicaSet,
    /// A `ReplicationController`, with its pods.
    ReplicationController,
    /// A Job, with the pods that it makes.
    Job,
    /// A Pod: started itself, or with an ephemeral container that was.
    Pod,
}

impl StartedKind {
    /// Those that make pods.
    pub const MAKERS: [Self; 7] = [
        Self::CronJob,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
    ];
}

/// A workload that was started under a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Started {
    /// Its kind.
    pub kind: StartedKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// How long a pod asks to have when it is to stop, in seconds; `None` of anything else.
    pub grace_s: Option<u32>,
    /// When it must have stopped, if it is being deleted.
    pub goes_by: Option<DateTime<Utc>>,
}

/// What is to go at the end of a grant and is not gone, as far as it could be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartedSeen {
    /// What there is.
    pub there: Vec<Started>,
    /// What could not be looked at, in words, if anything: there may be more.
    pub unseen: Option<String>,
}

impl Started {
    /// Whether it is to be deleted still: it is not being deleted, or has more time for that than a pod may have.
    /// Who deletes their own pod with a year to stop goes on using it.
    pub(crate) fn lasts(&self, now: DateTime<Utc>, longest_s: u32) -> bool {
        let longest = TimeDelta::seconds(i64::from(longest_s));
        self.goes_by.is_none_or(|by| by > now + longest + CLOCKS)
    }
}

/// How far the clock of the API server, which says when something goes, may be ahead.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);

/// How many seconds a pod has to stop where its policy does not say.
const GRACE_S: u32 = 10;

/// The most seconds that a pod has to stop which was started under a grant.
pub(crate) fn longest_grace_s(session: Option<&GrantSession>) -> u32 {
    let said = session.and_then(|session| session.max_grace_period);
    said.map_or(GRACE_S, GrantDuration::seconds)
}

/// The bounds within which something that is started under a grant runs, whatever becomes of Lapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsWithin {
    /// For how many seconds it may run.
    pub active_s: i64,
    /// How many seconds it may have to stop.
    pub grace_s: u32,
}

/// The bounds of what is started under a grant at this moment; `None` if it may go on after the end.
#[must_use]
pub fn runs_within(grant: &GrantSummary, now: DateTime<Utc>) -> Option<RunsWithin> {
    let session = grant.live.as_ref()?.session.as_ref().filter(|session| ends(Some(session)))?;
    let rest = (grant.expires_at.time() - now).num_milliseconds();
    // Kubernetes takes whole seconds, and not none.
    let active_s = (rest + 999).div_euclid(1000).max(1);
    Some(RunsWithin { active_s, grace_s: longest_grace_s(Some(session)) })
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The grant that a workload is started under: of those that are held in its namespace, one whose end
/// ends what was started, if there is one, and of several the one that ends last.
#[must_use]
pub fn started_under<'a>(
    held: &'a [Arc<GrantSummary>],
    namespace: &str,
) -> Option<&'a GrantSummary> {
    let ends =
        |grant: &GrantSummary| ends(grant.live.as_ref().and_then(|live| live.session.as_ref()));
    let held = held.iter().map(|grant| &**grant).filter(|grant| covers(grant, namespace));
    held.max_by_key(|grant| (ends(grant), grant.expires_at.time()))
}

/// Whether a right is held in a namespace.
pub(super) fn covers(grant: &GrantSummary, namespace: &str) -> bool {
    let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
    target.is_some_and(|target| target.scope.covers(namespace))
}

/// Whether what was started under a grant is deleted at its end.
#[must_use]
pub fn ends_started(grant: &GrantSpec) -> bool {
    ends(grant.session.as_ref())
}

fn ends(session: Option<&GrantSession>) -> bool {
    session.and_then(|session| session.started_workloads) == Some(StartedWorkloads::Delete)
}

/// Where what was started under a grant can be; `None` if nowhere.
#[must_use]
pub fn place(grant: &GrantSpec) -> Option<Scope> {
    let target = ResolvedTarget::resolve(&grant.target, &grant.request.namespace);
    target.map(|target| target.scope)
}

#[cfg(test)]
mod tests {
    use lapse_crds::Grant;

    use super::*;
    use crate::testing::life::{marked, time};

    fn held(name: &str, namespace: &str, deletes: bool, until: i64) -> Grant {
        let mut grant = marked();
        grant.metadata.name = Some(name.into());
        grant.spec.target.kubernetes.as_mut().unwrap().namespaces = vec![namespace.into()];
        let started = deletes.then_some(StartedWorkloads::Delete);
        grant.spec.session.as_mut().unwrap().started_workloads = started;
        grant.spec.expires_at = time(until).into();
        grant
    }

    #[test]
    fn a_workload_is_started_under_the_right_that_asks_most_of_it_and_ends_last() {
        let name = |held: &[Grant]| {
            let held: Vec<_> = held.iter().map(|g| Arc::new(GrantSummary::of(g))).collect();
            started_under(&held, "shop").map(|grant| grant.name.clone())
        };
        let (short, long) = (held("short", "shop", true, 10), held("long", "shop", true, 20));
        let kept = held("kept", "shop", false, 30);
        let elsewhere = held("elsewhere", "web", true, 40);
        let all = [kept.clone(), short.clone(), long, elsewhere.clone()];
        assert_eq!(name(&all).as_deref(), Some("long"));
        assert_eq!(name(&[kept.clone(), short]).as_deref(), Some("short"));
        assert_eq!(name(&[elsewhere.clone(), kept]).as_deref(), Some("kept"));
        assert_eq!(name(&[elsewhere]), None);
        assert_eq!(name(&[]), None);
    }
}
