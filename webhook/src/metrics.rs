//! What the webhook counts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How an admission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of a label")]
pub(crate) enum AdmissionOutcome {
    /// It was let through.
    allowed,
    /// It was refused, and the person was told why.
    refused,
    /// Something broke, and it was refused.
    error,
}

impl AdmissionOutcome {
    const ALL: [Self; 3] = [Self::allowed, Self::refused, Self::error];
}

/// What an admission was about; every label has few values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) webhook: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) outcome: AdmissionOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    webhook: &'static str,
    kind: &'static str,
}

/// What the webhook counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    admissions: Family<Labels, Counter>,
    latency: Family<LatencyLabels, Histogram>,
    strangers: Counter,
    certificate_expires: Gauge,
    key_valid_from: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("lapse_webhook");
        let metrics = Self {
            admissions: Family::default(),
            latency: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
            }),
            strangers: Counter::default(),
            certificate_expires: Gauge::default(),
            key_valid_from: Gauge::default(),
        };
        registry.register(
            "admissions",
            "Answers to the API server, by kind, operation and outcome",
            metrics.admissions.clone(),
        );
        registry.register(
            "admission_duration_seconds",
            "How long an answer took",
            metrics.latency.clone(),
        );
        registry.register(
            "wrong_path_requests",
            "Requests to a path that is not the webhook's: not from the API server",
            metrics.strangers.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the serving certificate ends, in seconds since 1970",
            metrics.certificate_expires.clone(),
        );
        registry.register(
            "signing_key_valid_from_timestamp_seconds",
            "From when on the signing key is in force, in seconds since 1970",
            metrics.key_valid_from.clone(),
        );
        metrics
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, labels: Labels, took: Duration) {
        let Labels { webhook, kind, .. } = labels;
        let latency = LatencyLabels { webhook, kind };
        self.latency.get_or_create(&latency).observe(took.as_secs_f64());
        // The other outcomes begin at zero: `increase` sees nothing of a series that comes with its first event.
        for outcome in AdmissionOutcome::ALL {
            let is_it = u64::from(outcome == labels.outcome);
            self.admissions.get_or_create(&Labels { outcome, ..labels }).inc_by(is_it);
        }
    }

    /// Counts a request that knew no path.
    pub(crate) fn stranger(&self) {
        self.strangers.inc();
    }

    /// Notes the keys in force.
    pub(crate) fn keys(&self, certificate_expires: DateTime<Utc>, valid_from: DateTime<Utc>) {
        self.certificate_expires.set(certificate_expires.timestamp());
        self.key_valid_from.set(valid_from.timestamp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_what_dashboards_use() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let labels = Labels {
            webhook: "mutate",
            kind: "AccessRequest",
            operation: "CREATE",
            outcome: AdmissionOutcome::refused,
        };
        metrics.answered(labels, Duration::from_millis(3));
        metrics.stranger();
        metrics.keys(crate::testing::at("2027-01-01T00:00:00Z"), crate::testing::now());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"lapse_webhook_admissions_total{webhook="mutate",kind="AccessRequest",operation="CREATE",outcome="refused"} 1"#,
            r#"lapse_webhook_admissions_total{webhook="mutate",kind="AccessRequest",operation="CREATE",outcome="error"} 0"#,
            r#"lapse_webhook_admission_duration_seconds_count{webhook="mutate",kind="AccessRequest"} 1"#,
            "lapse_webhook_wrong_path_requests_total 1",
            "lapse_webhook_certificate_expiry_timestamp_seconds 1798761600",
            "lapse_webhook_signing_key_valid_from_timestamp_seconds 1795262400",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
