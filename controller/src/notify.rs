//! Events, for `kubectl describe` and `kubectl events`.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource};
use lapse_cluster::{CallError, bounded};
use lapse_crds::micro_time;
use lapse_engine::notice::{Notice, event_name};
use tracing::warn;

/// How much of a message an event takes (`k8s.io/api/events/v1`, field `note`).
const NOTE_LIMIT: usize = 1024;
const REPORTER: &str = "lapse-controller";
/// Where the events about what has no namespace stand, as Kubernetes' own do.
const OF_THE_CLUSTER: &str = "default";

fn note(notice: &Notice) -> String {
    let mut note = notice.message.clone();
    note.truncate(note.floor_char_boundary(NOTE_LIMIT));
    note
}

/// Writes events. They are for people and never decide anything, so one that fails is only logged.
#[derive(Clone)]
pub(crate) struct Notifier {
    client: Client,
    instance: String,
}

impl Notifier {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        Self { client, instance: identity.to_owned() }
    }

    pub(crate) async fn tell<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        notice: &Notice,
        now: DateTime<Utc>,
    ) {
        self.tell_of(about, &(), notice, now).await;
    }

    /// The same, about an object whose kind is not a type of ours.
    pub(crate) async fn tell_of<K: Resource>(
        &self,
        about: &K,
        kind: &K::DynamicType,
        notice: &Notice,
        now: DateTime<Utc>,
    ) {
        let about = about.object_ref(kind);
        let of = |field: &Option<String>| field.clone().unwrap_or_default();
        let name = event_name(&of(&about.name), &of(&about.uid), &notice.reason, now);
        if let Err(error) = self.tell_once(&name, about, notice, now).await {
            warn!(%error, reason = %notice.reason, "an event could not be written");
        }
    }

    /// Writes an event of this name, unless there is one: whoever wrote it has told it. Says whether it was
    /// told now.
    pub(crate) async fn tell_once(
        &self,
        name: &str,
        about: ObjectReference,
        notice: &Notice,
        now: DateTime<Utc>,
    ) -> Result<bool, CallError> {
        let namespace = about.namespace.clone().unwrap_or_else(|| OF_THE_CLUSTER.to_owned());
        let kind = if notice.warning { "Warning" } else { "Normal" };
        let event = Event {
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
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let post = PostParams::default();
        match bounded(format!("writing Event {name}"), api.create(&post, &event)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
