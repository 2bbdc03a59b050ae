//! Bindings and roles of Lapse without a live grant go at once.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::channel::mpsc;
use kube::Client;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::process::caught_in;
use lapse_cluster::{CallError, Reader, clock::Clock};
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::{Fate, ObjectMarks, fate};
use tracing::{error, info, warn};

use crate::elevate::kubernetes;
use crate::metrics::Metrics;

/// How many objects are looked at at once.
const AT_ONCE: usize = 16;

/// Where objects are named that seem to have no grant.
#[derive(Clone)]
pub(crate) struct Orphans(mpsc::UnboundedSender<ObjectMarks>);

impl Orphans {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectMarks>) {
        let (sender, receiver) = mpsc::unbounded();
        (Self(sender), receiver)
    }

    /// Has an object looked at.
    pub(crate) fn suspect(&self, object: ObjectMarks) {
        // A closed channel means that the process is stopping.
        let _ = self.0.unbounded_send(object);
    }

    /// Looks at each object that is named, until the channel closes. What fails here the sweep does.
    pub(crate) async fn run(
        reader: Reader,
        clock: Clock,
        suspects: mpsc::UnboundedReceiver<ObjectMarks>,
        metrics: Arc<Metrics>,
    ) {
        let (reader, clock, metrics) = (&reader, &clock, &metrics);
        let look = async |object: &ObjectMarks| {
            let grant = match &object.grant {
                Some(name) => reader.grant(name).await,
                None => Read::Missing,
            };
            if let Err(error) = judge(reader, clock, metrics, object, &grant).await {
                warn!(%error, "the sweep will try again");
            }
        };
        suspects
            .for_each_concurrent(AT_ONCE, async |object| {
                // One over which that panics keeps no other.
                if caught_in("orphan", look(&object)).await.is_none() {
                    error!(kind = %object.kind, name = %object.name, "a look at an object panicked");
                }
            })
            .await;
    }
}

/// Removes an object that this Grant of its is no reason for, and says whether it is gone.
pub(crate) async fn judge(
    reader: &Reader,
    clock: &Clock,
    metrics: &Metrics,
    object: &ObjectMarks,
    grant: &Read<Grant>,
) -> Result<bool, CallError> {
    let home = &reader.settings().namespace;
    let Fate::Remove(why) = fate(object, grant, home, clock.now()) else { return Ok(false) };
    match remove(reader.client(), object, &why).await {
        Ok(was_there) => {
            metrics.orphans_removed.inc_by(u64::from(was_there));
            Ok(true)
        }
        Err(error) => {
            metrics.revocation_failures.inc();
            Err(error)
        }
    }
}

/// Removes an object that has no live grant, and says whether it was there.
pub(crate) async fn remove(
    client: &Client,
    object: &ObjectMarks,
    why: &str,
) -> Result<bool, CallError> {
    let place = ObjectPlace {
        kind: object.kind,
        namespace: object.namespace.as_deref(),
        name: &object.name,
    };
    let was_there = kubernetes::delete(client, &place, &object.uid).await?;
    if was_there {
        info!(kind = %object.kind, namespace = object.namespace, name = %object.name, why, "removed an object");
    }
    Ok(was_there)
}
