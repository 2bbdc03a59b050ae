//! One kind, what is live first: that is listed by fields, and from then on everything that happens is watched, whether to
//! what is live or to what is over.
//!
//! `kube` watches by the fields by which it lists. What comes to its end would leave such a watch as if it were deleted,
//! and what is over could change unseen.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_engine::supported::is_before;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::debug;

use super::{LASTS, Pauses};
use crate::call::{bounded, next_page};

/// The requests that are live: those in no final phase.
pub(super) const LIVE_REQUESTS: &[&str] =
    &["status.phase!=Ended,status.phase!=Denied,status.phase!=Withdrawn,status.phase!=TimedOut,\
     status.phase!=Failed"];

/// The Grants that are live, and those of emergencies, which are few: they may await their review, and what is said about
/// them counts.
pub(super) const LIVE_GRANTS: &[&str] =
    &["status.phase!=Ended", "status.phase=Ended,spec.emergency=true"];

/// How much later than its end a watch that says nothing is dead, as `kube` has it.
const DEAD: Duration = Duration::from_secs(5);

/// Where a watch stands.
enum State<K> {
    /// Nothing has been asked for.
    Begins,
    Lists(Box<Listing<K>>),
    /// Everything was listed that was so at this revision, or has happened up to it.
    Listed(String),
    Watches(String, BoxStream<'static, kube::Result<WatchEvent<K>>>),
}

/// Lists, one after the other.
struct Listing<K> {
    /// By which fields the lists after this one go.
    fields: std::slice::Iter<'static, &'static str>,
    /// What asks for the next page; `None`: there is none.
    next: Option<ListParams>,
    objects: VecDeque<K>,
    /// The revision of the first page. What happened after that is watched, whatever a later page says.
    revision: Option<String>,
}

/// A step of it, and what it shows, if anything.
type Step<K> = (Option<watcher::Result<Event<K>>>, State<K>);

/// One kind in an API server.
struct Source<K> {
    api: Api<K>,
    fields: &'static [&'static str],
    /// How many objects are listed at once; `None`: all.
    page: Option<u32>,
}

/// The first release whose API server takes pages of a list by fields out of its cache. Before that it reads all objects of
/// the kind from its store for them, which can take minutes, and gives only lists that are no pages from its cache.
const PAGES_FROM_CACHE: (u32, u32) = (1, 34);

/// How many objects of what is live are to be listed at once: so many, if that spares the API server anything.
pub(super) async fn page_of(client: &Client, page: u32) -> Option<u32> {
    let what = "asking for the version of the API server";
    match bounded(what, client.apiserver_version()).await {
        Ok(version) if is_before(&version.major, &version.minor, PAGES_FROM_CACHE) => None,
        Ok(_) => Some(page),
        Err(error) => {
            debug!(%error, "the API server is taken for a new one");
            Some(page)
        }
    }
}

/// Lists what these fields name, a page at a time, and watches everything from there on. It starts again after each
/// failure.
pub(super) fn live<K>(
    api: Api<K>,
    fields: &'static [&'static str],
    page: Option<u32>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let source = Source { api, fields, page };
    let events =
        futures::stream::unfold((source, State::Begins), |(source, mut state)| async move {
            loop {
                let (shown, next) = source.step(state).await;
                state = next;
                if let Some(shown) = shown {
                    return Some((shown, (source, state)));
                }
            }
        });
    events.backoff(Pauses::default())
}

impl<K> Source<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn list(&self, fields: &str) -> ListParams {
        ListParams { limit: self.page, ..ListParams::default().fields(fields) }
    }

    async fn step(&self, state: State<K>) -> Step<K> {
        match state {
            State::Begins => {
                let mut fields = self.fields.iter();
                let next = fields.next().map(|fields| self.list(fields));
                let listing = Listing { fields, next, objects: VecDeque::new(), revision: None };
                (Some(Ok(Event::Init)), State::Lists(Box::new(listing)))
            }
            State::Lists(listing) => self.go_on(listing).await,
            State::Listed(revision) => {
                let params = WatchParams::default().timeout(LASTS);
                match self.api.watch(&params, &revision).await {
                    Ok(stream) => (None, State::Watches(revision, stream.boxed())),
                    Err(error) => {
                        let error = watcher::Error::WatchStartFailed(error);
                        (Some(Err(error)), State::Listed(revision))
                    }
                }
            }
            State::Watches(revision, stream) => told(revision, stream).await,
        }
    }

    /// The next object of a page, or the next page.
    async fn go_on(&self, mut listing: Box<Listing<K>>) -> Step<K> {
        if let Some(object) = listing.objects.pop_front() {
            return (Some(Ok(Event::InitApply(object))), State::Lists(listing));
        }
        let Some(params) = listing.next.take() else {
            return match listing.revision.take() {
                Some(revision) => (Some(Ok(Event::InitDone)), State::Listed(revision)),
                None => (Some(Err(watcher::Error::NoResourceVersion)), State::Begins),
            };
        };
        match self.api.list(&params).await {
            Ok(page) => {
                let revision = page.metadata.resource_version.clone();
                let first = listing.revision.take().or(revision);
                listing.revision = first.filter(|revision| !revision.is_empty());
                listing.next = next_page(params, &page.metadata)
                    .or_else(|| listing.fields.next().map(|fields| self.list(fields)));
                listing.objects = page.items.into();
                (None, State::Lists(listing))
            }
            // Also in the middle: the rest of what was so is not kept any more, so all is listed again.
            Err(error) => (Some(Err(watcher::Error::InitialListFailed(error))), State::Begins),
        }
    }
}

/// The next event of a watch that has told everything up to a revision.
async fn told<K>(
    revision: String,
    mut stream: BoxStream<'static, kube::Result<WatchEvent<K>>>,
) -> Step<K>
where
    K: Resource,
{
    let limit = Duration::from_secs(LASTS.into()) + DEAD;
    let Ok(Some(event)) = timeout(limit, stream.next()).await else {
        return (None, State::Listed(revision));
    };
    let shown = match event {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Event::Apply(object),
        Ok(WatchEvent::Deleted(object)) => Event::Delete(object),
        Ok(WatchEvent::Bookmark(mark)) => {
            return (None, State::Watches(mark.metadata.resource_version, stream));
        }
        Ok(WatchEvent::Error(status)) => {
            // What happened since is not kept any more, so all is listed again.
            let state =
                if status.code == 410 { State::Begins } else { State::Watches(revision, stream) };
            return (Some(Err(watcher::Error::WatchError(status))), state);
        }
        Err(error) => {
            let error = watcher::Error::WatchFailed(error);
            return (Some(Err(error)), State::Watches(revision, stream));
        }
    };
    let version = match &shown {
        Event::Apply(object) | Event::Delete(object) => object.resource_version(),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    };
    match version.filter(|version| !version.is_empty()) {
        Some(version) => (Some(Ok(shown)), State::Watches(version, stream)),
        None => (Some(Err(watcher::Error::NoResourceVersion)), State::Begins),
    }
}

#[cfg(test)]
mod tests;
