//! What is counted and measured.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Kinds that are reconciled or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum KindLabel {
    AccessRequest,
    AccessDecision,
    Grant,
    JitPolicy,
}

/// How a reconciliation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum ReconciliationOutcome {
    Done,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reconciliation {
    pub(crate) kind: KindLabel,
    pub(crate) outcome: ReconciliationOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfKind {
    pub(crate) kind: KindLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: String,
}

/// What the controller counts and measures. Labels are bounded: no names of objects or people.
pub(crate) struct Metrics {
    pub(crate) reconciliations: Family<Reconciliation, Counter>,
    pub(crate) granted: Counter,
    pub(crate) emergencies: Counter,
    pub(crate) ended: Family<Reason, Counter>,
    pub(crate) time_to_grant: Histogram,
    pub(crate) lateness: Histogram,
    pub(crate) orphans_removed: Counter,
    pub(crate) records_deleted: Family<OfKind, Counter>,
    pub(crate) active: Gauge,
    pub(crate) overdue: Gauge,
    pub(crate) reviews_pending: Gauge,
    pub(crate) reviews_overdue: Gauge,
    pub(crate) admission: AdmissionGauges,
    pub(crate) leader: Gauge,
    pub(crate) clock_skew: Gauge<f64, AtomicU64>,
}

/// How many admission objects of the chart are not as they must be.
#[derive(Default)]
pub(crate) struct AdmissionGauges {
    pub(crate) missing: Gauge,
    pub(crate) changed: Gauge,
}

impl AdmissionGauges {
    fn register(&self, registry: &mut Registry) {
        let Self { missing, changed } = self;
        registry.register(
            "admission_policies_missing",
            "Admission objects of the chart that are gone",
            missing.clone(),
        );
        registry.register(
            "admission_policies_changed",
            "Admission objects of the chart that are not as it has them",
            changed.clone(),
        );
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("lapse");
        // 1 ms to 32 s.
        let latency = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = Self {
            reconciliations: Family::default(),
            granted: Counter::default(),
            emergencies: Counter::default(),
            ended: Family::default(),
            time_to_grant: latency(),
            lateness: latency(),
            orphans_removed: Counter::default(),
            records_deleted: Family::default(),
            active: Gauge::default(),
            overdue: Gauge::default(),
            reviews_pending: Gauge::default(),
            reviews_overdue: Gauge::default(),
            admission: AdmissionGauges::default(),
            leader: Gauge::default(),
            clock_skew: Gauge::default(),
        };
        let Self {
            reconciliations,
            granted,
            emergencies,
            ended,
            time_to_grant,
            lateness,
            orphans_removed,
            records_deleted,
            active,
            overdue,
            reviews_pending,
            reviews_overdue,
            admission,
            leader,
            clock_skew,
        } = &metrics;
        registry.register("reconciliations", "Reconciliations", reconciliations.clone());
        registry.register("grants_given", "Rights given", granted.clone());
        registry.register(
            "emergencies_given",
            "Rights given without approval",
            emergencies.clone(),
        );
        registry.register("grants_ended", "Rights taken back, by reason", ended.clone());
        registry.register_with_unit(
            "time_to_grant",
            "From the decision that completed an approval to the right in effect",
            Unit::Seconds,
            time_to_grant.clone(),
        );
        registry.register_with_unit(
            "revocation_lateness",
            "From the time that a grant expires to its right verified to be gone",
            Unit::Seconds,
            lateness.clone(),
        );
        registry.register(
            "orphans_removed",
            "Bindings of Lapse that had no live grant",
            orphans_removed.clone(),
        );
        registry.register(
            "records_deleted",
            "Objects that were over and whose retention had passed",
            records_deleted.clone(),
        );
        registry.register("grants_active", "Rights held now", active.clone());
        registry.register(
            "revocations_overdue",
            "Rights whose time is up and that are not verified to be gone",
            overdue.clone(),
        );
        registry.register(
            "reviews_pending",
            "Emergencies that await their review, those that are overdue among them",
            reviews_pending.clone(),
        );
        registry.register(
            "reviews_overdue",
            "Emergencies whose review is overdue",
            reviews_overdue.clone(),
        );
        admission.register(registry);
        registry.register("leader", "Whether this process holds the lease", leader.clone());
        registry.register_with_unit(
            "clock_skew",
            "How far the API server's clock is ahead",
            Unit::Seconds,
            clock_skew.clone(),
        );
        metrics
    }

    pub(crate) fn reconciled(&self, kind: KindLabel, is_ok: bool) {
        let outcome =
            if is_ok { ReconciliationOutcome::Done } else { ReconciliationOutcome::Failed };
        self.reconciliations.get_or_create(&Reconciliation { kind, outcome }).inc();
    }

    pub(crate) fn record_deleted(&self, kind: KindLabel) {
        self.records_deleted.get_or_create(&OfKind { kind }).inc();
    }
}
