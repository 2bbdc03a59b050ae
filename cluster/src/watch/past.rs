//! What is over: read page by page once what is live has been listed, beside everything else. What happens to it from then
//! on the watches show.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Resource};
use lapse_crds::{AccessRequest, Grant};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::feed::told;
use super::{Feed, Listener, PAGE, PAGE_OF_GRANTS};
use crate::call::{bounded, next_page, rest_of_list};
use crate::index::{Indexed, KnownGrant, KnownRequest};
use crate::process::caught;
use crate::{CallError, Stored};

/// The Grants that are over, but for those that are listed beside what is live.
const OVER_GRANTS: &str = "status.phase=Ended,spec.emergency!=true";

/// How long to wait after a page that could not be read, or shown.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest rest after a page. Others rest half as long as the page took, so that what people do meanwhile has its part
/// of the API server.
const LONGEST_REST: Duration = Duration::from_secs(1);

impl Feed {
    /// Reads what is over, again whenever what is live was listed anew, until it is dropped.
    pub(super) async fn past(&self, listener: &dyn Listener) {
        let mut news = self.index.news();
        loop {
            news.mark_unchanged();
            let Some((kind, list)) = self.index.unread() else {
                // Its sender is in the index, so the channel cannot close meanwhile.
                if news.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let is_whole = match kind {
                Indexed::Grants => self.grants_over(list, listener).await,
                Indexed::Requests => self.requests_over(list, listener).await,
                // All of these is live.
                Indexed::Policies | Indexed::Decisions => return,
            };
            if !is_whole {
                continue;
            }
            let gone = self.index.done_over(kind, list);
            for change in gone.grants {
                told(listener, || listener.grant(change));
            }
            for change in gone.requests {
                told(listener, || listener.request(change));
            }
            info!(?kind, "what is over has been read");
            // What waited for it goes on.
            told(listener, || listener.restarted());
        }
    }

    async fn grants_over(&self, list: u64, listener: &dyn Listener) -> bool {
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        let params = ListParams::default().fields(OVER_GRANTS).limit(PAGE_OF_GRANTS);
        let show = |grant: &Stored<Grant>| {
            let change = self.index.apply_over_grant(list, grant);
            // Of what is settled there is nothing to tell, unless it was thought to be live.
            let is_news = |after: &KnownGrant| after.is_open();
            if let Some(change) = change
                && (change.before.is_some() || change.after.as_ref().is_some_and(is_news))
            {
                told(listener, || listener.grant(change));
            }
        };
        self.pages(Indexed::Grants, list, api, params, show).await
    }

    async fn requests_over(&self, list: u64, listener: &dyn Listener) -> bool {
        let api: Api<Stored<AccessRequest>> = Api::all(self.client.clone());
        // What is over is in one of five phases, and a selector names one: what is live among them is passed over.
        let params = ListParams::default().limit(PAGE);
        let show = |request: &Stored<AccessRequest>| {
            let change = self.index.apply_over_request(list, request);
            let is_news = |after: &KnownRequest| !after.is_settled;
            if let Some(change) = change
                && (change.before.is_some() || change.after.as_ref().is_some_and(is_news))
            {
                told(listener, || listener.request(change));
            }
        };
        self.pages(Indexed::Requests, list, api, params, show).await
    }

    /// Shows all pages of a list; `false` if not all could be shown, or what is live was listed anew meanwhile.
    async fn pages<K>(
        &self,
        kind: Indexed,
        list: u64,
        api: Api<Stored<K>>,
        mut params: ListParams,
        show: impl Fn(&Stored<K>),
    ) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let mut has_panicked = false;
        loop {
            let begun = Instant::now();
            let what = format!("listing the {} that are over", K::plural(&()));
            let page = bounded(what, api.list(&params)).await;
            if !self.index.is_last_list(kind, list) {
                return false;
            }
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    params = rest_of(params, &error).await;
                    continue;
                }
            };
            for object in &page.items {
                has_panicked |= caught("watch", || show(object)).is_none();
            }
            match next_page(params, &page.metadata) {
                Some(next) => params = next,
                None if has_panicked => {
                    // What a mistake hid is not known, so nothing is concluded from the others.
                    error!(?kind, "something that is over made the program panic");
                    sleep(AGAIN).await;
                    return false;
                }
                None => return true,
            }
            sleep((begun.elapsed() / 2).min(LONGEST_REST)).await;
        }
    }
}

/// What asks for the rest of a list after a page that could not be read. What comes or goes meanwhile the watches show, so the
/// rest may be of another moment.
async fn rest_of(mut params: ListParams, error: &CallError) -> ListParams {
    if let Some(rest) = error.answer().and_then(|answer| rest_of_list(&params, answer)) {
        return rest;
    }
    warn!(%error, "what is over is not known yet");
    let code = match error.answer() {
        Some(kube::Error::Api(status)) => status.code,
        Some(_) | None => 0,
    };
    // The place in the list is none any more.
    if matches!(code, 400 | 410) {
        params.continue_token = None;
    }
    sleep(AGAIN).await;
    params
}

#[cfg(test)]
mod tests;
