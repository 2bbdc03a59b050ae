//! Lists of any length, page by page, so that no more than one page is held.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use lapse_cluster::next_page;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::session::Session;

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// A list that is read page by page.
pub(crate) struct Pages<'a, K> {
    session: &'a Session,
    /// What is tried: "listing grants".
    what: &'static str,
    api: Api<K>,
    /// What asks for the next page, if there may be one.
    next: Option<ListParams>,
}

impl<'a, K: Clone + Debug + DeserializeOwned> Pages<'a, K> {
    pub(crate) fn of(
        session: &'a Session,
        what: &'static str,
        api: Api<K>,
        params: ListParams,
    ) -> Self {
        Self { session, what, api, next: Some(params.limit(PAGE)) }
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<K>>, Fault> {
        let Some(params) = self.next.take() else { return Ok(None) };
        let page = self.session.call(self.what, self.api.list(&params)).await?;
        self.next = next_page(params, &page.metadata);
        Ok(Some(page.items))
    }

    /// Calls `each` for every object.
    pub(crate) async fn each(mut self, mut each: impl FnMut(K)) -> Result<(), Fault> {
        while let Some(page) = self.next().await? {
            page.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}
