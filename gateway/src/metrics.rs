//! What the gateway counts.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::roll::{Count, REASONS};

/// How an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum EnrolmentOutcome {
    /// It has a certificate.
    enrolled,
    /// It was refused: no such Endpoint, or at admission.
    refused,
    /// It came too often.
    limited,
    /// Something broke.
    error,
}

/// Why a connection was refused or ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum RefusalReason {
    /// There are as many as there may be.
    full,
    /// TLS failed or took too long.
    handshake,
    /// Its certificate is no agent's, or no longer.
    identity,
    /// Another machine.
    machine,
    /// It said nothing, or what cannot be read.
    protocol,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum ReceiptOutcome {
    /// It is stored.
    recorded,
    /// It is too long, cannot be read, or is not the agent's.
    refused,
    /// There is no place for it.
    full,
}

/// What became of a part of the record of what is done on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum BatchOutcome {
    /// It is written.
    noted,
    /// It cannot be read, is not the agent's, or came before its time.
    refused,
    /// It could not be written, and is tried again.
    failed,
}

impl BatchOutcome {
    const ALL: [Self; 3] = [Self::noted, Self::refused, Self::failed];
}

impl EnrolmentOutcome {
    const ALL: [Self; 4] = [Self::enrolled, Self::refused, Self::limited, Self::error];
}

impl RefusalReason {
    const ALL: [Self; 5] =
        [Self::full, Self::handshake, Self::identity, Self::machine, Self::protocol];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReceipt {
    outcome: ReceiptOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBatch {
    outcome: BatchOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEnrolment {
    outcome: EnrolmentOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: RefusalReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReady {
    reason: &'static str,
}

/// What the gateway counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The agents that are connected.
    pub(crate) agents: Gauge,
    /// The connections, with those that are no agent's.
    pub(crate) connections: Gauge,
    /// Orders that were sent.
    pub(crate) orders: Counter,
    /// Ends that were sent.
    pub(crate) ends: Counter,
    /// Connections that ended as the same machine connected again.
    pub(crate) replaced: Counter,
    /// Connections of a machine that had not connected last, although it has the same identity.
    pub(crate) duplicates: Counter,
    /// How long it took to write on an Endpoint, in seconds.
    pub(crate) writes: Histogram,
    /// How late rights on hosts ended by their time, by the clocks of the hosts, in seconds.
    pub(crate) lateness: Histogram,
    /// When the certificate in force ends, in seconds since 1970; 0 before there is one.
    pub(crate) certificate_expires: Gauge,
    receipts: Family<OfReceipt, Counter>,
    batches: Family<OfBatch, Counter>,
    enrolments: Family<OfEnrolment, Counter>,
    refused: Family<Reason, Counter>,
    endpoints: Family<OfReady, Gauge>,
    outdated: Gauge,
    twice: Gauge,
    drifted: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("lapse_gateway");
        let metrics = Self {
            agents: Gauge::default(),
            connections: Gauge::default(),
            orders: Counter::default(),
            ends: Counter::default(),
            replaced: Counter::default(),
            duplicates: Counter::default(),
            writes: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            lateness: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            certificate_expires: Gauge::default(),
            receipts: Family::default(),
            batches: Family::default(),
            enrolments: Family::default(),
            refused: Family::default(),
            endpoints: Family::default(),
            outdated: Gauge::default(),
            twice: Gauge::default(),
            drifted: Gauge::default(),
        };
        let all = &metrics;
        registry.register("connected_agents", "Agents connected here", all.agents.clone());
        registry.register("connections", "Connections here", all.connections.clone());
        registry.register("orders_sent", "Orders sent to agents", all.orders.clone());
        registry.register("ends_sent", "Ends sent to agents", all.ends.clone());
        registry.register(
            "replaced_connections",
            "Connections that ended as the same machine connected again",
            all.replaced.clone(),
        );
        registry.register(
            "duplicate_connections",
            "Connections of a host after which another process with the same identity had connected",
            all.duplicates.clone(),
        );
        registry.register(
            "endpoints",
            "Endpoints of the cluster, by the reason of their condition Ready",
            all.endpoints.clone(),
        );
        registry.register(
            "endpoints_outdated",
            "Endpoints of the cluster whose agent is older than this release",
            all.outdated.clone(),
        );
        registry.register(
            "endpoints_duplicate",
            "Endpoints of the cluster whose identity two machines have",
            all.twice.clone(),
        );
        registry.register(
            "endpoints_drifted",
            "Endpoints of the cluster on which something was changed that outlasts access",
            all.drifted.clone(),
        );
        registry.register("receipts", "Receipts of agents, by outcome", all.receipts.clone());
        registry.register(
            "record_batches",
            "Parts of the record of what is done on hosts, by outcome",
            all.batches.clone(),
        );
        registry.register("enrolments", "Enrolments, by outcome", all.enrolments.clone());
        registry.register(
            "refused_connections",
            "Connections and calls that were refused, by reason",
            all.refused.clone(),
        );
        registry.register(
            "endpoint_write_duration_seconds",
            "How long it took to write on an Endpoint",
            all.writes.clone(),
        );
        registry.register(
            "host_end_lateness_seconds",
            "From the expiry of access on a host to its end there, by the clock of the host",
            all.lateness.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "Expiry of the certificate that hosts are shown; 0 before there is one",
            all.certificate_expires.clone(),
        );
        // What has not happened yet is shown as zero: the first time is a step that an alert can see.
        for outcome in [ReceiptOutcome::recorded, ReceiptOutcome::refused, ReceiptOutcome::full] {
            drop(metrics.receipts.get_or_create(&OfReceipt { outcome }));
        }
        for outcome in BatchOutcome::ALL {
            drop(metrics.batches.get_or_create(&OfBatch { outcome }));
        }
        for outcome in EnrolmentOutcome::ALL {
            drop(metrics.enrolments.get_or_create(&OfEnrolment { outcome }));
        }
        for reason in RefusalReason::ALL {
            drop(metrics.refused.get_or_create(&Reason { reason }));
        }
        metrics
    }

    /// What became of a receipt.
    pub(crate) fn receipt(&self, outcome: ReceiptOutcome) {
        self.receipts.get_or_create(&OfReceipt { outcome }).inc();
    }

    /// What became of a part of the record.
    pub(crate) fn batch(&self, outcome: BatchOutcome) {
        self.batches.get_or_create(&OfBatch { outcome }).inc();
    }

    /// How an enrolment ended.
    pub(crate) fn enrolment(&self, outcome: EnrolmentOutcome) {
        self.enrolments.get_or_create(&OfEnrolment { outcome }).inc();
    }

    /// How many Endpoints of the cluster stand how.
    pub(crate) fn count(&self, Count { reasons, outdated, twice, drifted }: &Count) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (reason, count) in REASONS.into_iter().zip(reasons) {
            self.endpoints.get_or_create(&OfReady { reason }).set(number(*count));
        }
        self.outdated.set(number(*outdated));
        self.twice.set(number(*twice));
        self.drifted.set(number(*drifted));
    }

    /// A connection or a call was refused.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
