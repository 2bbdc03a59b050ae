//! What is counted and measured.
//!
//! Every label has few values: kinds, outcomes, reasons. None is the name of a person, of a request or of a namespace.
//! Those whose values are known beforehand begin at zero, so that the first of a kind is an increase, too.

mod gauges;
mod standing;

use std::sync::atomic::AtomicU64;

use lapse_cluster::process::count_panics_in;
use lapse_crds::EndReason;
use lapse_engine::grant::NOT_GIVEN;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::gauges::Gauges;
pub(crate) use self::standing::StandingGauges;

/// Kinds that are reconciled, deleted or cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum KindLabel {
    AccessRequest,
    AccessDecision,
    Grant,
    JitPolicy,
    Endpoint,
}

impl KindLabel {
    const ALL: [Self; 5] =
        [Self::AccessRequest, Self::AccessDecision, Self::Grant, Self::JitPolicy, Self::Endpoint];

    /// Its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AccessRequest => "AccessRequest",
            Self::AccessDecision => "AccessDecision",
            Self::Grant => "Grant",
            Self::JitPolicy => "JitPolicy",
            Self::Endpoint => "Endpoint",
        }
    }
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum Outcome {
    succeeded,
    failed,
}

impl Outcome {
    const ALL: [Self; 2] = [Self::succeeded, Self::failed];

    fn of(is_ok: bool) -> Self {
        if is_ok { Self::succeeded } else { Self::failed }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reconciliation {
    kind: KindLabel,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfKind {
    pub(crate) kind: KindLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfOutcome {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    reason: String,
}

/// Where else a panic is counted, and ends nothing.
const PANICS_IN: [&str; 5] = ["watch", "sweep", "expiry", "orphan", "event"];

/// What the controller counts and measures.
pub(crate) struct Metrics {
    reconciliations: Family<Reconciliation, Counter>,
    pub(crate) granted: Counter,
    pub(crate) emergencies: Counter,
    ended: Family<Reason, Counter>,
    pub(crate) time_to_grant: Histogram,
    pub(crate) lateness: Histogram,
    pub(crate) revocation_failures: Counter,
    pub(crate) orphans_removed: Counter,
    pub(crate) events_dropped: Counter,
    records_deleted: Family<OfKind, Counter>,
    sweeps: Family<OfOutcome, Counter>,
    swept_at: Gauge<f64, AtomicU64>,
    pub(crate) gauges: Gauges,
    pub(crate) standing: StandingGauges,
    pub(crate) leader: Gauge,
    pub(crate) clock_skew: Gauge<f64, AtomicU64>,
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
            revocation_failures: Counter::default(),
            orphans_removed: Counter::default(),
            events_dropped: Counter::default(),
            records_deleted: Family::default(),
            sweeps: Family::default(),
            swept_at: Gauge::default(),
            gauges: Gauges::default(),
            standing: StandingGauges::default(),
            leader: Gauge::default(),
            clock_skew: Gauge::default(),
        };
        metrics.begin_at_zero();
        let Self {
            reconciliations,
            granted,
            emergencies,
            ended,
            time_to_grant,
            lateness,
            revocation_failures,
            orphans_removed,
            events_dropped,
            records_deleted,
            sweeps,
            swept_at,
            gauges,
            standing,
            leader,
            clock_skew,
        } = &metrics;
        registry.register(
            "reconciliations",
            "Reconciliations, by kind and outcome",
            reconciliations.clone(),
        );
        registry.register("grants_given", "Grants made", granted.clone());
        registry.register(
            "emergencies_given",
            "Grants made in an emergency, without approval",
            emergencies.clone(),
        );
        registry.register("grants_ended", "Grants ended, by reason", ended.clone());
        registry.register_with_unit(
            "time_to_grant",
            "From the decision that completed an approval to access in effect",
            Unit::Seconds,
            time_to_grant.clone(),
        );
        registry.register_with_unit(
            "revocation_lateness",
            "From the expiry of a grant to its access in the cluster verified to be gone",
            Unit::Seconds,
            lateness.clone(),
        );
        registry.register(
            "revocation_failures",
            "Failed attempts to delete a binding or a role; each is tried again",
            revocation_failures.clone(),
        );
        registry.register(
            "orphans_removed",
            "Deleted bindings and roles of Lapse that had no active grant",
            orphans_removed.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that could not be written",
            events_dropped.clone(),
        );
        registry.register(
            "records_deleted",
            "Objects that were over and whose retention had passed, by kind",
            records_deleted.clone(),
        );
        register_sweeps(registry, sweeps, swept_at);
        gauges.register(registry);
        standing.register(registry);
        registry.register("leader", "Whether this process holds the lease", leader.clone());
        registry.register_with_unit(
            "clock_skew",
            "How far the API server's clock is ahead",
            Unit::Seconds,
            clock_skew.clone(),
        );
        metrics
    }

    fn begin_at_zero(&self) {
        for outcome in Outcome::ALL {
            for kind in [KindLabel::AccessRequest, KindLabel::Grant, KindLabel::JitPolicy] {
                self.reconciliations.get_or_create(&Reconciliation { kind, outcome }).inc_by(0);
            }
            self.sweeps.get_or_create(&OfOutcome { outcome }).inc_by(0);
        }
        count_panics_in(KindLabel::ALL.map(KindLabel::name).into_iter().chain(PANICS_IN));
        for kind in [KindLabel::AccessRequest, KindLabel::AccessDecision, KindLabel::Grant] {
            self.records_deleted.get_or_create(&OfKind { kind }).inc_by(0);
        }
        for reason in EndReason::ALL.map(Some).into_iter().chain([None]) {
            self.ended.get_or_create(&Reason::of(reason)).inc_by(0);
        }
    }

    pub(crate) fn reconciled(&self, kind: KindLabel, is_ok: bool) {
        let outcome = Outcome::of(is_ok);
        self.reconciliations.get_or_create(&Reconciliation { kind, outcome }).inc();
    }

    pub(crate) fn ended(&self, reason: Option<EndReason>) {
        self.ended.get_or_create(&Reason::of(reason)).inc();
    }

    pub(crate) fn record_deleted(&self, kind: KindLabel) {
        self.records_deleted.get_or_create(&OfKind { kind }).inc();
    }

    /// A sweep is done; `at`: when, if it succeeded.
    pub(crate) fn swept(&self, at: Option<chrono::DateTime<chrono::Utc>>) {
        self.sweeps.get_or_create(&OfOutcome { outcome: Outcome::of(at.is_some()) }).inc();
        if let Some(at) = at {
            // Whole milliseconds since 1970 are exact in a double for longer than anybody will ask.
            #[expect(clippy::cast_precision_loss, reason = "below 2^53 nothing is lost")]
            self.swept_at.set(at.timestamp_millis() as f64 / 1000.0);
        }
    }
}

fn register_sweeps(
    registry: &mut Registry,
    sweeps: &Family<OfOutcome, Counter>,
    swept_at: &Gauge<f64, AtomicU64>,
) {
    registry.register("sweeps", "Sweeps of this process, by outcome", sweeps.clone());
    registry.register_with_unit(
        "sweep_last_success_timestamp",
        "When a sweep of this process last succeeded, in seconds since 1970",
        Unit::Seconds,
        swept_at.clone(),
    );
}

impl Reason {
    fn of(reason: Option<EndReason>) -> Self {
        Self { reason: reason.map_or_else(|| NOT_GIVEN.to_owned(), |reason| reason.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    /// `increase` sees nothing of a series that comes into being with its first event.
    #[test]
    fn what_alerts_look_for_begins_at_zero() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let said = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let before = said();
        for line in [
            r#"lapse_reconciliations_total{kind="Grant",outcome="failed"} 0"#,
            r#"lapse_grants_ended_total{reason="BindingChanged"} 0"#,
            r#"lapse_grants_ended_total{reason="NotGiven"} 0"#,
            r#"lapse_sweeps_total{outcome="failed"} 0"#,
            "lapse_emergencies_given_total 0",
            "lapse_revocation_failures_total 0",
        ] {
            assert!(before.contains(line), "{line} is not in\n{before}");
        }
        metrics.ended(Some(EndReason::BindingChanged));
        metrics.reconciled(KindLabel::Grant, false);
        metrics.swept(None);
        metrics.swept(chrono::DateTime::from_timestamp_millis(1_500));
        let after = said();
        for line in [
            r#"lapse_grants_ended_total{reason="BindingChanged"} 1"#,
            r#"lapse_reconciliations_total{kind="Grant",outcome="failed"} 1"#,
            r#"lapse_sweeps_total{outcome="failed"} 1"#,
            r#"lapse_sweeps_total{outcome="succeeded"} 1"#,
            "lapse_sweep_last_success_timestamp_seconds 1.5",
        ] {
            assert!(after.contains(line), "{line} is not in\n{after}");
        }
    }
}
