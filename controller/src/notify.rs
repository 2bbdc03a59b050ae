//! Events, for `kubectl describe` and `kubectl events`.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use lapse_engine::request::Notice;
use tracing::warn;

/// How much of a message an event takes (`k8s.io/api/events/v1`, field `note`).
const NOTE_LIMIT: usize = 1024;

/// Writes events. They are for people and never decide anything, so one that fails is only logged.
#[derive(Clone)]
pub(crate) struct Notifier(Recorder);

impl Notifier {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "lapse-controller".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    pub(crate) async fn tell<K: Resource<DynamicType = ()>>(&self, about: &K, notice: &Notice) {
        self.tell_of(about, &(), notice).await;
    }

    /// The same, about an object whose kind is not a type of ours.
    pub(crate) async fn tell_of<K: Resource>(
        &self,
        about: &K,
        kind: &K::DynamicType,
        notice: &Notice,
    ) {
        let mut note = notice.message.clone();
        note.truncate(note.floor_char_boundary(NOTE_LIMIT));
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.clone(),
            note: Some(note),
            action: notice.reason.clone(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &about.object_ref(kind)).await {
            warn!(%error, reason = %notice.reason, "an event could not be written");
        }
    }
}
