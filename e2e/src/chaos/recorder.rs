//! Keeps what objects said after they are gone.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_crds::{AccessRequest, Grant};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::history::{Known, NAMESPACE};
use super::step::Policy;

/// Watches Grants and requests. Dropping it stops that.
pub(super) struct Recorder {
    known: Arc<Mutex<Known>>,
    _tasks: JoinSet<()>,
}

impl Recorder {
    pub(super) fn start(client: &Client) -> Self {
        let known: Arc<Mutex<Known>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(Api::all(client.clone()), known.clone(), |known, grant: Grant| {
            known.grants.insert(grant.name_any(), grant.spec);
        }));
        let requests = Api::namespaced(client.clone(), NAMESPACE);
        tasks.spawn(follow(requests, known.clone(), |known, request: AccessRequest| {
            let asked = request.spec.policy.as_deref();
            let policy = Policy::ALL.into_iter().find(|policy| Some(policy.name()) == asked);
            if let Some(policy) = policy {
                known.policies.insert(request.name_any(), policy);
            }
        }));
        Self { known, _tasks: tasks }
    }

    pub(super) fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn follow<K>(api: Api<K>, known: Arc<Mutex<Known>>, note: fn(&mut Known, K))
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = Box::pin(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        // A watch that breaks begins anew by itself.
        if let Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) = event {
            note(&mut known.lock().unwrap_or_else(PoisonError::into_inner), object);
        }
    }
}
