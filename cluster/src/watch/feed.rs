//! The four watches that feed the index, and what is read beside them.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy};
use serde::de::DeserializeOwned;
use tracing::error;

use super::live::{LIVE_GRANTS, LIVE_REQUESTS, live, page_of};
use super::{Doubt, FIRST_LIST, FirstLists, Follow, PAGE, PAGE_OF_GRANTS, Restarts, config};
use crate::Stored;
use crate::index::{About, Change, Index, Indexed, KnownGrant, KnownPolicy, KnownRequest};
use crate::process::caught;

/// Who is told what changed in the index.
pub trait Listener: Send + Sync {
    /// A policy came, changed or went. `is_listed`: it is part of a list of everything. What such a list shows to be otherwise
    /// than it was before is told once more when the list is done.
    fn policy(&self, _change: Change<Arc<KnownPolicy>>, _is_listed: bool) {}
    /// A request came, changed or went.
    fn request(&self, _change: Change<KnownRequest>) {}
    /// A Grant came, changed or went.
    fn grant(&self, _change: Change<KnownGrant>) {}
    /// Somebody decided about a request.
    fn decision(&self, _about: About) {}
    /// A watch has started anew, and cannot tell what it missed.
    fn restarted(&self) {}
}

/// For who looks at the index alone.
impl Listener for () {}

/// What feeds an index.
pub struct Feed {
    /// The client.
    pub client: Client,
    /// The index.
    pub index: Index,
    /// When to start anew.
    pub restarts: Restarts,
    /// Who waits for the first lists.
    pub first_lists: FirstLists,
}

impl Feed {
    /// How many watches it runs. Nobody waits for what is over, which is read beside them.
    pub const WATCHES: usize = 4;

    /// Feeds the index until it is dropped.
    pub async fn run(self, listener: &dyn Listener) {
        tokio::join!(
            self.policies(listener),
            self.requests(listener),
            self.grants(listener),
            self.decisions(listener),
            self.past(listener),
        );
    }

    fn follow<S>(&self, what: &'static str, events: S) -> Follow<S> {
        let (restarts, first_lists) = (self.restarts.clone(), self.first_lists.clone());
        Follow { what, events, restarts, patience: FIRST_LIST, first_lists }
    }

    async fn policies(&self, listener: &dyn Listener) {
        let index = &self.index;
        let (mut is_listing, mut news) = (false, Vec::new());
        // Until they were listed once, everything is news.
        let was_listed = AtomicBool::new(false);
        let follow = self.follow("JitPolicies", || stored::<JitPolicy>(&self.client, PAGE));
        follow
            .run(
                |event| match event {
                    Event::Init => {
                        is_listing = true;
                        index.begin(Indexed::Policies);
                    }
                    Event::InitDone => {
                        is_listing = false;
                        news.extend(index.done(Indexed::Policies).policies);
                        let news = std::mem::take(&mut news);
                        let was_listed = was_listed.swap(true, Ordering::Relaxed);
                        // What changed while nobody saw it may end rights. They come before everything, and now that all
                        // policies are known.
                        for change in news.into_iter().filter(|_| was_listed) {
                            told(listener, || listener.policy(change, false));
                        }
                        told(listener, || listener.restarted());
                    }
                    Event::Apply(policy) | Event::InitApply(policy) => {
                        let change = index.apply_policy(&policy);
                        if is_listing && change.is_news() {
                            news.push(change.clone());
                        }
                        told(listener, || listener.policy(change, is_listing));
                    }
                    Event::Delete(policy) => {
                        let change = index.delete_policy(&policy);
                        told(listener, || listener.policy(change, false));
                    }
                },
                |why| {
                    if why == Doubt::Backwards {
                        was_listed.store(false, Ordering::Relaxed);
                    }
                    doubted(index, Indexed::Policies, why);
                },
            )
            .await;
    }

    async fn requests(&self, listener: &dyn Listener) {
        let index = &self.index;
        let events = || what_is_live::<AccessRequest>(&self.client, LIVE_REQUESTS, PAGE);
        let follow = self.follow("AccessRequests", events);
        follow
            .run(
                |event| match event {
                    Event::Init => index.begin(Indexed::Requests),
                    Event::InitDone => {
                        for change in index.done(Indexed::Requests).requests {
                            told(listener, || listener.request(change));
                        }
                        told(listener, || listener.restarted());
                    }
                    Event::Apply(request) | Event::InitApply(request) => {
                        if let Some(change) = index.apply_request(&request) {
                            told(listener, || listener.request(change));
                        }
                    }
                    Event::Delete(request) => {
                        let change = index.delete_request(&request);
                        told(listener, || listener.request(change));
                    }
                },
                |why| doubted(index, Indexed::Requests, why),
            )
            .await;
    }

    async fn grants(&self, listener: &dyn Listener) {
        let index = &self.index;
        let events = || what_is_live::<Grant>(&self.client, LIVE_GRANTS, PAGE_OF_GRANTS);
        let follow = self.follow("Grants", events);
        follow
            .run(
                |event| match event {
                    Event::Init => index.begin(Indexed::Grants),
                    Event::InitDone => {
                        for change in index.done(Indexed::Grants).grants {
                            told(listener, || listener.grant(change));
                        }
                        told(listener, || listener.restarted());
                    }
                    Event::Apply(grant) | Event::InitApply(grant) => {
                        if let Some(change) = index.apply_grant(&grant) {
                            told(listener, || listener.grant(change));
                        }
                    }
                    Event::Delete(grant) => {
                        let change = index.delete_grant(&grant);
                        told(listener, || listener.grant(change));
                    }
                },
                |why| doubted(index, Indexed::Grants, why),
            )
            .await;
    }

    /// What a decision is good for follows from its request and its Grant, so these are listed before.
    async fn decisions(&self, listener: &dyn Listener) {
        let index = &self.index;
        let events = || {
            let (client, index) = (self.client.clone(), index.clone());
            let after = async move {
                index.knows_requests_and_grants().await;
                stored::<AccessDecision>(&client, PAGE)
            };
            futures::stream::once(after).flatten()
        };
        let follow = self.follow("AccessDecisions", events);
        follow
            .run(
                |event| match event {
                    Event::Init => index.begin(Indexed::Decisions),
                    Event::InitDone => {
                        index.done(Indexed::Decisions);
                        told(listener, || listener.restarted());
                    }
                    Event::Apply(decision) | Event::InitApply(decision) => {
                        if let Some(about) = index.apply_decision(&decision) {
                            told(listener, || listener.decision(about));
                        }
                    }
                    Event::Delete(decision) => {
                        if let Some(about) = index.delete_decision(&decision) {
                            told(listener, || listener.decision(about));
                        }
                    }
                },
                |why| doubted(index, Indexed::Decisions, why),
            )
            .await;
    }
}

/// Tells whoever listens. If that panics over one object, the index knows it nevertheless, and what was missed is as if the
/// watch had started anew.
pub(super) fn told(listener: &dyn Listener, tells: impl FnOnce()) {
    if caught("watch", tells).is_none() {
        error!("what a watch showed made the program panic");
        caught("watch", || listener.restarted());
    }
}

fn doubted(index: &Index, kind: Indexed, why: Doubt) {
    match why {
        Doubt::Lost => index.lost(kind),
        Doubt::Backwards => index.forget(kind),
    }
}

/// What is live of a kind, and then everything that happens.
fn what_is_live<K>(
    client: &Client,
    fields: &'static [&'static str],
    page: u32,
) -> impl Stream<Item = watcher::Result<Event<Stored<K>>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let client = client.clone();
    let events = async move {
        let page = page_of(&client, page).await;
        live(Api::<Stored<K>>::all(client), fields, page)
    };
    futures::stream::once(events).flatten()
}

/// Everything of a kind, a page at a time.
fn stored<K>(
    client: &Client,
    page: u32,
) -> impl Stream<Item = watcher::Result<Event<Stored<K>>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<Stored<K>> = Api::all(client.clone());
    super::events(api, config().page_size(page))
}

#[cfg(test)]
mod tests;
