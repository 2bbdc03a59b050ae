//! When each Grant on a host is there, as a watch shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use lapse_crds::{ENDPOINT_LABEL, Grant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::seen::Moment;

type Moments = Arc<Mutex<HashMap<String, Moment>>>;

/// Follows the Grants on hosts, by their metadata alone. Dropping it stops that.
pub(super) struct Grants {
    seen: Moments,
    task: JoinHandle<()>,
}

impl Drop for Grants {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Grants {
    /// From now on.
    pub(super) async fn follow(client: Client) -> Result<Self> {
        let seen = Moments::default();
        let (listed, first_list) = oneshot::channel();
        let noted = Arc::clone(&seen);
        let api: Api<PartialObjectMeta<Grant>> = Api::all(client);
        let task = tokio::spawn(async move {
            let config = watcher::Config::default().labels(ENDPOINT_LABEL);
            let mut events = std::pin::pin!(watcher::watcher(api, config));
            let mut listed = Some(listed);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(grant) | Event::InitApply(grant)) => {
                        let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.entry(grant.name_any()).or_insert_with(Moment::now);
                    }
                    Ok(Event::InitDone) => {
                        listed.take().map(|listed| listed.send(()));
                    }
                    // A watch that breaks begins anew by itself.
                    Ok(Event::Init | Event::Delete(_)) | Err(_) => {}
                }
            }
        });
        let first_list = tokio::time::timeout(Duration::from_mins(1), first_list).await;
        first_list.context("a watch does not begin")??;
        Ok(Self { seen, task })
    }

    /// When each was first seen.
    pub(super) fn moments(&self) -> HashMap<String, Moment> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
