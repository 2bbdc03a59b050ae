//! Objects that cannot be decoded. They stop nothing; here they are made to say what is wrong with them.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Resource};
use lapse_cluster::{bounded, read};
use lapse_crds::{JitPolicy, RequestRef, Timestamp};
use lapse_engine::notice::{Notice, panicked as panicked_notice};
use lapse_engine::waiting::STALLED;
use lapse_engine::{Read, clipped};
use serde_json::{Value, json};
use tracing::warn;

use crate::context::Context;
use crate::notify::about;
use crate::queue::{Done, Item, Reconciled};

const REASON: &str = "Unreadable";

/// Tells an object that its reconciliation panicked, once: the name of the event sees to that.
pub(crate) fn panicked(context: &Context, item: &Item) {
    let index = context.reader.index();
    let about = match item {
        Item::Request { namespace, name, .. } => {
            index.request_named(namespace, name).map(|known| {
                let (namespace, name) = (namespace.clone(), name.clone());
                about(&RequestRef { namespace, name, uid: known.uid })
            })
        }
        Item::Grant(name) => index
            .grant(name)
            .and_then(|known| known.summary.ok())
            .map(|grant| about(&grant.request)),
        Item::Policy(name) => index.policy(name).map(|known| ObjectReference {
            api_version: Some(JitPolicy::api_version(&()).into_owned()),
            kind: Some(JitPolicy::kind(&()).into_owned()),
            name: Some(name.clone()),
            uid: Some(known.state.uid.clone()),
            ..ObjectReference::default()
        }),
        // It is counted, and in the log.
        Item::Endpoint(_) => None,
    };
    let Some(about) = about else { return };
    let event = format!("{}.panicked", about.uid.as_deref().unwrap_or_default());
    context.notifier.tell_once(&event, about, &panicked_notice(), context.clock.now());
}

/// Gives an object that cannot be decoded a condition and an event, once.
pub(crate) async fn report<K>(
    context: &Context,
    namespace: Option<&str>,
    name: &str,
    why: &str,
    condition: &str,
) -> Reconciled
where
    K: Resource<DynamicType = ()> + Debug,
{
    let kind = K::kind(&());
    warn!(%kind, namespace, %name, error = %why, "cannot be decoded");
    if !context.leadership.is_held() {
        return Ok(Done::Until(None));
    }
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(context.client(), namespace, &resource),
        None => Api::all_with(context.client(), &resource),
    };
    let object = match read(bounded(format!("reading {kind} {name}"), api.get(name)).await) {
        Read::Found(object) => object,
        Read::Missing => return Ok(Done::Until(None)),
        Read::Failed(why) => return Err(crate::error::ReconcileError::Unknown(why)),
    };
    // The error quotes what is wrong, however long that is.
    let message = format!("The {kind} cannot be read, and grants nothing: {why}");
    let message = clipped(&message);
    if is_said(&object.data, condition, object.metadata.generation) {
        return Ok(Done::Until(None));
    }
    let now = Timestamp::from(context.clock.now());
    let said = |condition: &str, status: &str| {
        json!({
            "type": condition, "status": status, "reason": REASON, "message": message, "lastTransitionTime": now,
        })
    };
    let patch = Patch::Merge(json!({"status": {
        "observedGeneration": object.metadata.generation,
        "conditions": [said(condition, "False"), said(STALLED, "True")],
    }}));
    let params = PatchParams::default();
    let patched = api.patch_status(name, &params, &patch);
    bounded(format!("reporting on {kind} {name}"), patched).await?;
    let notice = Notice { warning: true, reason: REASON.to_owned(), message };
    context.notifier.tell_of(&object, &resource, &notice, context.clock.now());
    Ok(Done::Until(None))
}

/// Whether the object says so already: in steady state nothing is written. The text says where in the bytes something is
/// wrong, which changes with what others write into the metadata, so it does not count.
fn is_said(object: &Value, condition: &str, generation: Option<i64>) -> bool {
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let is_same = |known: &Value| known["type"] == condition && known["reason"] == REASON;
    status["observedGeneration"].as_i64() == generation
        && conditions.into_iter().flatten().any(is_same)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::fake::{api_server, context, held};
    use crate::notify::Notifier;

    /// However often that happens.
    #[tokio::test]
    async fn that_the_program_panicked_is_told_on_the_object_once() {
        let (sender, mut written) = tokio::sync::mpsc::unbounded_channel();
        let client = api_server(move |request| {
            let sender = sender.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let event: Value = serde_json::from_slice(&body).unwrap();
                sender.send(event.clone()).unwrap();
                (201, event)
            }
        });
        let (notifier, writers) = Notifier::new(client.clone(), "me", Counter::default());
        tokio::spawn(writers.run());
        let context = Context { notifier, ..context(client) };
        drop(context.touched.index.wrote_grant(&held("fix", "2999-01-01T00:00:00Z")));
        for _ in 0..3 {
            panicked(&context, &Item::Grant("fix".to_owned()));
        }
        context.notifier.finish().await;
        let event = written.recv().await.unwrap();
        assert_eq!(event["regarding"]["uid"], "request-of-fix");
        assert_eq!(event["metadata"]["name"], "request-of-fix.panicked");
        assert!(written.try_recv().is_err());
    }

    #[test]
    fn what_is_said_is_not_said_again_in_other_words() {
        let known = json!({"type": "Ready", "reason": "Unreadable", "message": "at column 300"});
        let object = json!({"status": {"observedGeneration": 2, "conditions": [known]}});
        assert!(is_said(&object, "Ready", Some(2)));
        assert!(!is_said(&object, "Ready", Some(3)), "another spec has another mistake");
        assert!(!is_said(&object, "Active", Some(2)));
        assert!(!is_said(&json!({}), "Ready", Some(2)));
    }
}
