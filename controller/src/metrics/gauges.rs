//! What there is, as the sweep of each replica counts it.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use lapse_cluster::index::Index;
use lapse_crds::{ConditionStatus, GrantPhase, Subject};
use lapse_engine::grant::unheard_for;
use lapse_engine::summary::GrantSummary;
use lapse_engine::target::Scope;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{KindLabel, OfKind};

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(super) enum ScopeLabel {
    namespace,
    cluster,
    endpoint,
}

impl ScopeLabel {
    const ALL: [Self; 3] = [Self::namespace, Self::cluster, Self::endpoint];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfScope {
    scope: ScopeLabel,
}

/// The status of the condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ReadyLabel {
    True,
    False,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReady {
    ready: ReadyLabel,
}

/// What there is.
#[derive(Default)]
pub(crate) struct Gauges {
    active: Gauge,
    subjects: Family<OfScope, Gauge>,
    overdue: Gauge,
    unheard: Gauge,
    unheard_for: Gauge<f64, AtomicU64>,
    reviews_pending: Gauge,
    reviews_overdue: Gauge,
    past_read: Gauge,
    policies: Family<OfReady, Gauge>,
    unreadable: Family<OfKind, Gauge>,
    admission_missing: Gauge,
    admission_changed: Gauge,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self {
            active,
            subjects,
            overdue,
            unheard,
            unheard_for,
            reviews_pending,
            reviews_overdue,
            past_read,
            policies,
            unreadable,
            admission_missing,
            admission_changed,
        } = self;
        registry.register("grants_active", "Active grants", active.clone());
        registry.register(
            "subjects_active",
            "Subjects that hold access through Lapse now, by where it holds",
            subjects.clone(),
        );
        registry.register(
            "revocations_overdue",
            "Grants that are over, and whose access is not verified to be gone",
            overdue.clone(),
        );
        registry.register(
            "revocations_unheard",
            "Grants on hosts that were ended early, and whose host has not confirmed the end",
            unheard.clone(),
        );
        registry.register_with_unit(
            "revocations_unheard_longest",
            "For how long the longest of them has been unconfirmed",
            Unit::Seconds,
            unheard_for.clone(),
        );
        registry.register(
            "reviews_pending",
            "Emergencies that await review, those that are overdue among them",
            reviews_pending.clone(),
        );
        registry.register(
            "reviews_overdue",
            "Emergencies whose review is overdue",
            reviews_overdue.clone(),
        );
        registry.register(
            "past_read",
            "Whether all requests and grants have been read that are over",
            past_read.clone(),
        );
        registry.register(
            "policies",
            "Policies, by the status of their condition Ready",
            policies.clone(),
        );
        registry.register(
            "objects_unreadable",
            "Objects that cannot be decoded, and grant nothing, by kind",
            unreadable.clone(),
        );
        registry.register(
            "admission_policies_missing",
            "Admission objects of the chart that are missing",
            admission_missing.clone(),
        );
        registry.register(
            "admission_policies_changed",
            "Admission objects that differ from the chart's",
            admission_changed.clone(),
        );
    }

    /// How many admission objects of the chart are not as they must be.
    pub(crate) fn admission(&self, missing: usize, changed: usize) {
        self.admission_missing.set(number(missing));
        self.admission_changed.set(number(changed));
    }

    /// Counts what the index knows. While that is not all, the gauges keep what they say, but for that of what is overdue:
    /// a right whose time is up is none the less so while something else is not known. `overdue` is called for each
    /// Grant whose time is up, or that was deleted, and whose right has not ended.
    pub(crate) fn count(
        &self,
        index: &Index,
        now: DateTime<Utc>,
        overdue: impl FnMut(&GrantSummary),
    ) {
        self.count_overdue(index, now, overdue);
        self.past_read.set(index.knows_past().into());
        if index.is_complete() {
            self.count_grants(index, now);
            self.count_objects(index);
        }
    }

    fn count_overdue(
        &self,
        index: &Index,
        now: DateTime<Utc>,
        mut overdue: impl FnMut(&GrantSummary),
    ) {
        let live = index.live_grants();
        let late = live.iter().filter(|grant| is_due(grant, now));
        self.overdue.set(number(late.inspect(|grant| overdue(grant)).count()));
        let unheard: Vec<_> = live.iter().filter_map(|grant| unheard_for(grant, now)).collect();
        self.unheard.set(number(unheard.len()));
        let longest = unheard.into_iter().max().unwrap_or_default();
        self.unheard_for.set(longest.as_seconds_f64());
    }

    fn count_grants(&self, index: &Index, now: DateTime<Utc>) {
        let (mut active, mut pending, mut unreviewed) = (0, 0, 0);
        let mut holders: [HashSet<Subject>; 3] = Default::default();
        for grant in index.open_grants().iter().filter_map(|name| index.grant(name)?.summary.ok()) {
            if grant.phase() == GrantPhase::Active {
                active += 1;
                let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
                if let Some(target) = target {
                    let scope = match target.scope {
                        Scope::Namespaces(_) => ScopeLabel::namespace,
                        Scope::Cluster => ScopeLabel::cluster,
                        Scope::Endpoint(_) => ScopeLabel::endpoint,
                    };
                    holders[scope as usize].insert(Subject::clone(&grant.subject));
                }
            }
            pending += i64::from(grant.review_by.is_some());
            unreviewed += i64::from(grant.review_by.is_some_and(|by| now >= by.time()));
        }
        self.active.set(active);
        for scope in ScopeLabel::ALL {
            let holders = number(holders[scope as usize].len());
            self.subjects.get_or_create(&OfScope { scope }).set(holders);
        }
        self.reviews_pending.set(pending);
        self.reviews_overdue.set(unreviewed);
    }

    fn count_objects(&self, index: &Index) {
        for (status, ready) in [
            (ConditionStatus::True, ReadyLabel::True),
            (ConditionStatus::False, ReadyLabel::False),
            (ConditionStatus::Unknown, ReadyLabel::Unknown),
        ] {
            let policies = number(index.count_policies(status));
            self.policies.get_or_create(&OfReady { ready }).set(policies);
        }
        let unreadable = index.unreadable();
        for (kind, count) in [
            (KindLabel::AccessRequest, unreadable.requests),
            (KindLabel::Grant, unreadable.grants),
            (KindLabel::JitPolicy, unreadable.policies),
        ] {
            self.unreadable.get_or_create(&OfKind { kind }).set(number(count));
        }
    }
}

/// Whether a right is to be gone by now that has not ended. One on a host may end only when its agent is connected, or
/// at its time.
fn is_due(grant: &GrantSummary, now: DateTime<Utc>) -> bool {
    let Some(live) = &grant.live else { return false };
    let is_taken_back = live.phase == GrantPhase::Ending && !live.is_on_host();
    grant.is_deleted || is_taken_back || now >= grant.expires_at.time()
}

pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{held, touched};

    #[test]
    fn what_is_overdue_is_counted_also_while_something_else_is_not_known() {
        let index = touched().index;
        let mut taken_back = held("denied", "2999-01-01T00:00:00Z");
        taken_back.status.as_mut().unwrap().phase = GrantPhase::Ending;
        for grant in
            [held("over", "2026-01-02T00:00:00Z"), held("held", "2999-01-01T00:00:00Z"), taken_back]
        {
            drop(index.wrote_grant(&grant));
        }
        assert!(!index.is_complete());
        let (gauges, mut named) = (Gauges::default(), Vec::new());
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        gauges.count(&index, now, |grant| named.push(grant.name.to_string()));
        named.sort();
        assert_eq!(named, ["denied", "over"]);
        assert_eq!((gauges.overdue.get(), gauges.active.get()), (2, 0));
    }

    #[test]
    fn what_a_host_has_not_heard_is_counted_until_its_own_time() {
        let index = touched().index;
        let on_host = |name: &str, until: &str, phase: GrantPhase, since: i64| {
            let mut grant = held(name, until);
            let target = serde_json::json!({"endpoint": {"name": "web-1", "uid": "e", "localUser": "al", "admin": {}}});
            grant.spec.target = serde_json::from_value(target).unwrap();
            let status = grant.status.as_mut().unwrap();
            status.phase = phase;
            let ended = serde_json::json!({"type": "Ended", "status": "False", "reason": "Unverified", "message": "",
                "lastTransitionTime": DateTime::from_timestamp(since, 0).unwrap()});
            status.conditions.push(serde_json::from_value(ended).unwrap());
            grant
        };
        let (far, past) = ("2999-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        for grant in [
            on_host("held", far, GrantPhase::Active, 1_799_999_000),
            on_host("denied", far, GrantPhase::Ending, 1_799_999_900),
            on_host("ended", far, GrantPhase::Ending, 1_799_999_700),
            on_host("over", past, GrantPhase::Ending, 1_799_990_000),
        ] {
            drop(index.wrote_grant(&grant));
        }
        let gauges = Gauges::default();
        gauges.count(&index, DateTime::from_timestamp(1_800_000_000, 0).unwrap(), |_| ());
        assert_eq!((gauges.unheard.get(), gauges.overdue.get()), (2, 1));
        assert!((gauges.unheard_for.get() - 300.0).abs() < 0.01);
    }
}
