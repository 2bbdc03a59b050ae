//! Events, for `kubectl describe` and `kubectl events`.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as StoredEvent;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};
use lapse_cluster::{CallError, bounded};
use lapse_crds::micro_time;
use lapse_engine::notice::Notice;
use tracing::warn;

/// How much of a message an event takes (`k8s.io/api/events/v1`, field `note`).
const NOTE_LIMIT: usize = 1024;

fn note(notice: &Notice) -> String {
    let mut note = notice.message.clone();
    note.truncate(note.floor_char_boundary(NOTE_LIMIT));
    note
}

fn kind_of(notice: &Notice) -> EventType {
    if notice.warning { EventType::Warning } else { EventType::Normal }
}

/// Writes events. They are for people and never decide anything, so one that fails is only logged.
#[derive(Clone)]
pub(crate) struct Notifier {
    client: Client,
    reporter: Reporter,
    recorder: Recorder,
}

impl Notifier {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "lapse-controller".to_owned(),
            instance: Some(identity.to_owned()),
        };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, recorder }
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
        let event = Event {
            type_: kind_of(notice),
            reason: notice.reason.clone(),
            note: Some(note(notice)),
            action: notice.reason.clone(),
            secondary: None,
        };
        let reference = about.object_ref(kind);
        let published = self.recorder.publish(&event, &reference);
        if let Err(error) = bounded("writing an event", published).await {
            warn!(%error, reason = %notice.reason, "an event could not be written");
        }
    }

    /// Writes an event of this name, unless there is one: whoever wrote it has told it. Says whether it was
    /// told now. (The recorder of `kube` names its events by the time.)
    pub(crate) async fn tell_once(
        &self,
        name: &str,
        about: ObjectReference,
        notice: &Notice,
        now: DateTime<Utc>,
    ) -> Result<bool, CallError> {
        let namespace = about.namespace.clone().unwrap_or_default();
        let Reporter { controller, instance } = self.reporter.clone();
        let kind = match kind_of(notice) {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let event = StoredEvent {
            metadata: ObjectMeta {
                namespace: Some(namespace.clone()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(kind.to_owned()),
            reason: Some(notice.reason.clone()),
            action: Some(notice.reason.clone()),
            note: Some(note(notice)),
            regarding: Some(about),
            event_time: Some(micro_time(now)),
            reporting_controller: Some(controller),
            reporting_instance: instance,
            ..StoredEvent::default()
        };
        let api: Api<StoredEvent> = Api::namespaced(self.client.clone(), &namespace);
        let post = PostParams::default();
        match bounded(format!("writing Event {name}"), api.create(&post, &event)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
