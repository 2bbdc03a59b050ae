//! What was said about the rights that are held, and no watch has shown.
//!
//! There are many decisions, and most are about what is over: to list what was said about each right that is held costs the
//! API server all of them, each time. So a watch of its own tells what was said since the last look. It counts only if the
//! API server marks in it how far it has told. Otherwise all is listed, right by right.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, pin_mut, stream};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource as _};
use lapse_cluster::process::Heartbeat;
use lapse_cluster::watch::Listener;
use lapse_cluster::{CallError, Reader, Stored, bounded, bounded_by, next_page};
use lapse_crds::{AccessDecision, RequestRef};
use tokio::time::sleep;
use tracing::{info, warn};

use super::blind::Blind;
use super::rotated;

/// How many decisions are listed at once.
const PAGE: u32 = 500;
/// How many rights are looked at at once.
const AT_ONCE: usize = 8;
/// How long a watch lasts that tells what was said, in seconds. Two seconds before its end the API server marks how far it
/// has told.
const LASTS: u32 = 4;
/// How long it may take altogether.
const LIMIT: Duration = Duration::from_secs(6);
/// How long the watch of the index may be behind this one.
const BEHIND: Duration = Duration::from_millis(500);

/// How far what was said has been looked through, from one sweep to the next.
#[derive(Default)]
pub(super) struct Looked(Mutex<State>);

#[derive(Default)]
struct State {
    /// The revision up to which it has; what came later may have been missed.
    until: Option<String>,
    /// The look at all that is held, if one is under way.
    pass: Option<Pass>,
    /// Whether there was a look.
    has_begun: bool,
}

/// A look at all that is held, which may take several sweeps.
struct Pass {
    /// A revision before it began.
    from: String,
    /// The requests that were looked at, by UID.
    seen: HashSet<String>,
}

impl Looked {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of where the index begins: it lists what was said once it knows the rights that are held, so everything
    /// that was said until now will be in that list.
    pub(super) async fn begin(&self, reader: &Reader) {
        let is_early = || {
            let state = self.state();
            let is_new = state.until.is_none() && !state.has_begun;
            is_new && !reader.index().knows_live_grants()
        };
        if !is_early() {
            return;
        }
        match revision(reader).await {
            // Otherwise it may be listing already.
            Ok(now) if is_early() => self.state().until = now,
            Ok(_) => {}
            Err(error) => warn!(%error, "what was said will be listed grant by grant"),
        }
    }
}

/// How new the decisions are that the API server has.
async fn revision(reader: &Reader) -> Result<Option<String>, CallError> {
    let api: Api<AccessDecision> = Api::all(reader.client().clone());
    let one = ListParams::default().limit(1);
    let page = bounded("asking how new the AccessDecisions are", api.list_metadata(&one)).await?;
    Ok(page.metadata.resource_version.filter(|revision| !revision.is_empty()))
}

/// Looks for what was said.
pub(super) struct Said<'a> {
    pub(super) reader: &'a Reader,
    /// Who is told what no watch has shown.
    pub(super) listener: &'a dyn Listener,
    pub(super) beats: &'a Heartbeat,
    pub(super) looked: &'a Looked,
}

impl Said<'_> {
    /// What was said about the requests of the rights that are held.
    pub(super) async fn look(&self, held: &[&RequestRef], blind: &Blind) {
        let since = {
            let mut state = self.looked.state();
            state.has_begun = true;
            state.until.clone()
        };
        if let Some(since) = since {
            let until = match self.said_since(&since, held).await {
                Ok(Some(until)) => Some(until),
                Ok(None) => {
                    info!("no watch tells how far it has told what was said");
                    None
                }
                Err(error) => {
                    warn!(%error, "what was said is listed grant by grant");
                    None
                }
            };
            let is_all = until.is_some();
            self.looked.state().until = until;
            if is_all {
                return;
            }
        }
        self.list_all(held, blind).await;
    }

    /// What a watch tells that was said since then. Returns up to where that is everything, if it is.
    async fn said_since(
        &self,
        since: &str,
        held: &[&RequestRef],
    ) -> Result<Option<String>, CallError> {
        let held: HashSet<&str> = held.iter().map(|request| &*request.uid).collect();
        let api: Api<Stored<AccessDecision>> = Api::all(self.reader.client().clone());
        let mut unseen = Vec::new();
        let told = async {
            let events = api.watch(&WatchParams::default().timeout(LASTS), since).await?;
            pin_mut!(events);
            while let Some(event) = events.next().await {
                self.beats.beat();
                match event? {
                    WatchEvent::Added(said) | WatchEvent::Modified(said) => {
                        let about = self.about_unseen(&said);
                        if about.is_some_and(|uid| held.contains(&*uid)) {
                            unseen.push(said);
                        }
                    }
                    WatchEvent::Deleted(_) => {}
                    WatchEvent::Bookmark(mark) => return Ok(Some(mark.metadata.resource_version)),
                    WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
                }
            }
            Ok::<_, kube::Error>(None)
        };
        let until = bounded_by(LIMIT, "watching what was said", told.boxed()).await;
        // What was said a moment ago, the watch of the index is about to show.
        if !unseen.is_empty() {
            sleep(BEHIND).await;
        }
        for said in &unseen {
            self.show(said);
        }
        until
    }

    /// The UID of the request that a decision is about, unless the index knows the decision.
    fn about_unseen(&self, stored: &Stored<AccessDecision>) -> Option<String> {
        let uid = stored.object().ok()?.spec.request.uid?;
        (!self.reader.index().has_decision(&uid, stored.meta())).then_some(uid)
    }

    /// Shows the index, and whoever listens, what no watch has shown.
    fn show(&self, stored: &Stored<AccessDecision>) {
        if self.about_unseen(stored).is_some()
            && let Some(about) = self.reader.index().apply_decision(stored)
        {
            let (namespace, request) = (&about.namespace, &about.name);
            info!(namespace, request, "no watch has shown a decision");
            self.listener.decision(about);
        }
    }

    /// Lists what was said, right by right and namespace by namespace: one whose list fails is left for the next round.
    async fn list_all(&self, held: &[&RequestRef], blind: &Blind) {
        if self.looked.state().pass.is_none() {
            match revision(self.reader).await {
                Ok(Some(from)) => {
                    self.looked.state().pass = Some(Pass { from, seen: HashSet::new() });
                }
                Ok(None) => {}
                Err(error) => blind.note(error.to_string()),
            }
        }
        let is_left = |request: &&RequestRef| {
            let state = self.looked.state();
            state.pass.as_ref().is_none_or(|pass| !pass.seen.contains(&request.uid))
        };
        let left: Vec<&RequestRef> = held.iter().copied().filter(is_left).collect();
        let failed = Mutex::<HashSet<&str>>::default();
        let failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = rotated(left).into_iter().map(|request| {
            let failed = &failed;
            async move {
                if failed().contains(&*request.namespace) {
                    return;
                }
                match self.list(request).await {
                    Ok(()) => {
                        if let Some(pass) = &mut self.looked.state().pass {
                            pass.seen.insert(request.uid.clone());
                        }
                    }
                    Err(error) => {
                        failed().insert(&request.namespace);
                        blind.note(error.to_string());
                    }
                }
            }
            .boxed()
        });
        let looks: Vec<_> = looks.collect();
        stream::iter(looks).buffer_unordered(AT_ONCE).collect::<()>().await;
        let mut state = self.looked.state();
        let is_done = |pass: &Pass| held.iter().all(|request| pass.seen.contains(&request.uid));
        if state.pass.as_ref().is_some_and(is_done) {
            state.until = state.pass.take().map(|pass| pass.from);
        }
    }

    async fn list(&self, request: &RequestRef) -> Result<(), CallError> {
        let RequestRef { namespace, name, uid } = request;
        let api: Api<Stored<AccessDecision>> =
            Api::namespaced(self.reader.client().clone(), namespace);
        let about = format!("spec.request.name={name}");
        let mut params = ListParams::default().fields(&about).limit(PAGE);
        loop {
            self.beats.beat();
            let what = format!("listing the decisions about AccessRequest {namespace}/{name}");
            let page = bounded(what, api.list(&params)).await?;
            for stored in &page.items {
                if self.about_unseen(stored).is_some_and(|of| of == *uid) {
                    self.show(stored);
                }
            }
            match next_page(params, &page.metadata) {
                Some(next) => params = next,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
