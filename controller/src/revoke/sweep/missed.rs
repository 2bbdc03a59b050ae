//! What a watch has not shown: it hangs and nobody has noticed yet, or an event was lost on the way.
//!
//! What stands is compared with what is known, for the rights that are live and for nothing else. What differs is shown to
//! the index and to whoever listens as if the watch had shown it, so that one rule says what follows, and it is the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Resource};
use lapse_cluster::index::{Index, version};
use lapse_cluster::process::Heartbeat;
use lapse_cluster::watch::Listener;
use lapse_cluster::{CallError, Reader, Stored, bounded, next_page};
use lapse_crds::{AccessRequest, Grant, GrantPhase, RequestRef};
use lapse_engine::Read;
use lapse_engine::summary::GrantSummary;
use serde::de::DeserializeOwned;
use tracing::info;

use super::blind::Blind;
use super::said::{Looked, Said};
use crate::touched::Touched;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How many calls are made at once: as long as nothing was missed, nobody waits for them.
const AT_ONCE: usize = 8;
/// For how long a round looks, so that the next sweep is not late. What was left comes in another.
const LOOKS_FOR: Duration = Duration::from_secs(20);

/// Looks for what was missed.
pub(super) struct Missed<'a> {
    pub(super) reader: &'a Reader,
    pub(super) touched: &'a Touched,
    pub(super) listener: &'a dyn Listener,
    pub(super) beats: &'a Heartbeat,
    pub(super) looked: &'a Looked,
}

impl Missed<'_> {
    fn index(&self) -> &Index {
        self.reader.index()
    }

    /// Looks once. Returns what could not be looked at.
    pub(super) async fn look(&self) -> Vec<String> {
        let blind = Blind::default();
        if tokio::time::timeout(LOOKS_FOR, self.everything(&blind)).await.is_err() {
            blind.note(format!("not all was looked at within {} s", LOOKS_FOR.as_secs()));
        }
        blind.into_all()
    }

    async fn everything(&self, blind: &Blind) {
        // Each in a box: together they are large.
        self.grants(blind).boxed().await;
        let live = self.index().live_grants();
        let held: Vec<&Arc<GrantSummary>> = live
            .iter()
            .filter(|grant| matches!(grant.phase(), GrantPhase::Pending | GrantPhase::Active))
            .collect();
        let requests: Vec<&RequestRef> = held.iter().map(|grant| &grant.request).collect();
        let Self { reader, touched: _, listener, beats, looked } = *self;
        let said = Said { reader, listener, beats, looked };
        tokio::join!(
            self.policies(blind).boxed(),
            self.requests(&held, blind).boxed(),
            said.look(&requests, blind).boxed(),
        );
    }

    /// The Grants that are not over: one that somebody deleted, above all.
    async fn grants(&self, blind: &Blind) {
        let listed = match self.listed::<Grant>("the live Grants", "status.phase!=Ended").await {
            Ok(listed) => listed,
            Err(error) => return blind.note(error.to_string()),
        };
        let names: HashSet<&str> =
            listed.iter().filter_map(|found| found.name.as_deref()).collect();
        for grant in self.index().live_grants() {
            if !names.contains(&*grant.name) {
                self.touched.may_end(&grant.name);
            }
        }
        let is_seen = |found: &ObjectMeta| {
            let known = self.index().grant(found.name.as_deref().unwrap_or_default());
            known.is_some_and(|known| known.version >= version(found))
        };
        let unseen = listed.iter().filter(|found| !is_seen(found));
        let reads: Vec<_> = unseen.map(|found| self.grant(found, blind).boxed()).collect();
        stream::iter(reads).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn grant(&self, found: &ObjectMeta, blind: &Blind) {
        self.beats.beat();
        let name = found.name.as_deref().unwrap_or_default();
        let api: Api<Stored<Grant>> = Api::all(self.reader.client().clone());
        match self.reader.get(api, name).await {
            Read::Found(stored) => {
                if let Some(change) = self.index().apply_grant(&stored) {
                    info!(grant = name, "no watch has shown how a Grant stands");
                    self.listener.grant(change);
                }
            }
            Read::Missing => {}
            Read::Failed(why) => blind.note(why),
        }
    }

    async fn policies(&self, blind: &Blind) {
        // Where not all have been listed, they are being listed.
        if self.index().policies().found().is_none() {
            return;
        }
        let names = match self.reader.policies_not_seen().await {
            Ok(names) => names,
            Err(why) => return blind.note(why),
        };
        for name in names {
            self.beats.beat();
            let seen = self.index().policy(&name);
            let stands = match self.reader.stored_policy(&name).await {
                Read::Found(stored) => Some(stored),
                Read::Missing => None,
                Read::Failed(why) => {
                    blind.note(why);
                    continue;
                }
            };
            let change = self.index().catch_up_policy(&name, seen.as_ref(), stands.as_ref());
            if let Some(change) = change {
                info!(policy = name, "no watch has shown how a JitPolicy stands");
                self.listener.policy(change, false);
            }
        }
    }

    /// The requests of the rights that are held. One that is not where that of a right must be has its Grant look at it.
    async fn requests(&self, held: &[&Arc<GrantSummary>], blind: &Blind) {
        let listed = match self
            .listed::<AccessRequest>("the active AccessRequests", "status.phase=Active")
            .await
        {
            Ok(listed) => listed,
            Err(error) => return blind.note(error.to_string()),
        };
        let stands = listed.iter().filter(|found| found.deletion_timestamp.is_none());
        let stands: HashSet<&str> = stands.filter_map(|found| found.uid.as_deref()).collect();
        for grant in held {
            if !stands.contains(&*grant.request.uid) {
                self.touched.may_end(&grant.name);
            }
        }
    }

    /// The metadata of the objects of a kind that a selector of fields names.
    async fn listed<K>(&self, what: &str, fields: &str) -> Result<Vec<ObjectMeta>, CallError>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.reader.client().clone());
        let mut params = ListParams::default().fields(fields).limit(PAGE);
        let mut all = Vec::new();
        loop {
            self.beats.beat();
            let page = bounded(format!("listing {what}"), api.list_metadata(&params)).await?;
            let next = next_page(params, &page.metadata);
            all.extend(page.items.into_iter().map(|item| item.metadata));
            match next {
                Some(next) => params = next,
                None => return Ok(all),
            }
        }
    }
}

#[cfg(test)]
mod tests;
