//! Who holds privileges that do not lapse, as the holder of the lease counts them.

use lapse_crds::SubjectKind;
use lapse_engine::standing::StandingSubjects;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::gauges::{ScopeLabel, number};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum SubjectLabel {
    User,
    Group,
    ServiceAccount,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSubjects {
    scope: ScopeLabel,
    kind: SubjectLabel,
}

/// Who holds privileges that do not lapse.
#[derive(Default)]
pub(crate) struct StandingGauges(Family<OfSubjects, Gauge>);

impl StandingGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "subjects_standing",
            "Subjects that are bound to a privileged ClusterRole by others than Lapse, by kind and by where that holds",
            self.0.clone(),
        );
    }

    pub(crate) fn set(&self, standing: &StandingSubjects) {
        for (kind, label) in [
            (SubjectKind::User, SubjectLabel::User),
            (SubjectKind::Group, SubjectLabel::Group),
            (SubjectKind::ServiceAccount, SubjectLabel::ServiceAccount),
        ] {
            for (scope, count) in [
                (ScopeLabel::cluster, standing.everywhere(kind)),
                (ScopeLabel::namespace, standing.in_namespaces(kind)),
            ] {
                self.0.get_or_create(&OfSubjects { scope, kind: label }).set(number(count));
            }
        }
    }

    /// Nobody here knows any more.
    pub(crate) fn forget(&self) {
        self.0.clear();
    }
}
