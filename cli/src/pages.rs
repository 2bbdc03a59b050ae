//! Lists of any length, page by page, so that no more than one page is held.

use std::fmt::Debug;

use kube::Api;
use kube::api::ListParams;
use kube::core::{ObjectList, Request, Resource};
use lapse_cluster::{Stored, next_page};
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::foreign::{Strange, known, name_of, unreadable};
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
    /// Whether an object that cannot be read is passed over.
    passes_over: bool,
    /// What was not known of the objects so far.
    strange: Strange,
}

impl<'a, K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned> Pages<'a, K> {
    pub(crate) fn of(
        session: &'a Session,
        what: &'static str,
        api: Api<K>,
        params: ListParams,
    ) -> Self {
        let strange = Strange::default();
        Self { session, what, api, next: Some(params.limit(PAGE)), passes_over: false, strange }
    }

    /// The same, where an object of another release that cannot be read is told and passed over.
    pub(crate) fn passing_over(mut self) -> Self {
        self.passes_over = true;
        self
    }

    /// The next page; `None` after the last. The API server keeps the state of a list for some minutes: the pages of one that
    /// takes longer show a later state, which is told.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<K>>, Fault> {
        let Some(mut params) = self.next.take() else {
            std::mem::take(&mut self.strange).tell(self.session).await;
            return Ok(None);
        };
        let page = match self.session.call(self.what, self.page(&params)).await {
            Ok(page) => page,
            Err(fault) => {
                params = fault.rest_of_list(&params).ok_or(fault)?;
                self.session.warn(&outlasted(self.what));
                // Whatever is offered once more: each attempt brings a page, or ends it.
                self.session.call(self.what, self.page(&params)).await?
            }
        };
        self.next = next_page(params, &page.metadata);
        let mut objects = Vec::with_capacity(page.items.len());
        for stored in &page.items {
            match known(stored) {
                Ok(known) => {
                    if let Some(what) = known.strange() {
                        self.strange.note_part(&name_of(stored), what);
                    }
                    objects.push(known.object);
                }
                Err(why) if self.passes_over => self.strange.note_unread(&name_of(stored), &why),
                Err(why) => {
                    let name = name_of(stored);
                    return Err(unreadable(self.session, self.what, &name, &why).await);
                }
            }
        }
        Ok(Some(objects))
    }

    async fn page(&self, params: &ListParams) -> kube::Result<ObjectList<Stored<K>>> {
        let request = Request::new(self.api.resource_url()).list(params);
        self.session.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Calls `each` for every object.
    pub(crate) async fn each(mut self, mut each: impl FnMut(K)) -> Result<(), Fault> {
        while let Some(page) = self.next().await? {
            page.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}

fn outlasted(what: &str) -> String {
    format!(
        "{what} took longer than the API server keeps one state of a list: the rest of it is of a later state, and what was \
         made or deleted meanwhile may be missing"
    )
}

#[cfg(test)]
mod tests {
    use lapse_crds::JitPolicy;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, expired, page, session};

    fn policies(names: &[&str], next: &str) -> Value {
        let policy = |name: &&str| json!({"metadata": {"name": name}, "spec": {"requesters": [], "targets": []}});
        page(&names.iter().map(policy).collect::<Vec<_>>(), next)
    }

    /// The state of the first page is dropped, and the rest has two more.
    fn dropped(asked: &Asked) -> Value {
        match asked.parameter("continue").as_deref() {
            None => policies(&["a"], "old"),
            Some("old") => expired(Some("rest")),
            Some("rest") => policies(&["b", "c"], "more"),
            _ => policies(&["d"], ""),
        }
    }

    fn never_kept(asked: &Asked) -> Value {
        match asked.parameter("continue") {
            None => policies(&["a"], "old"),
            Some(_) => expired(Some("old")),
        }
    }

    fn without_a_rest(asked: &Asked) -> Value {
        match asked.parameter("continue") {
            None => policies(&["a"], "old"),
            Some(_) => expired(None),
        }
    }

    #[rstest]
    #[case::goes_on(dropped, &["a", "b", "c", "d"], None)]
    #[case::makes_no_headway(never_kept, &["a"], Some("listing policies: the continue token is too old"))]
    #[case::has_no_rest(without_a_rest, &["a"], Some("listing policies: the continue token is too old"))]
    #[tokio::test]
    async fn a_list_that_outlasts_its_state_goes_on_with_a_later_one(
        #[case] answer: fn(&Asked) -> Value,
        #[case] expected: &[&str],
        #[case] error: Option<&str>,
    ) {
        let session = session(30, move |asked| Some(answer(asked)));
        let mut found = Vec::new();
        let (api, params) = (session.policies(), ListParams::default());
        let pages = Pages::of(&session, "listing policies", api, params);
        let ended = pages.each(|policy: JitPolicy| found.extend(policy.metadata.name)).await;
        assert_eq!(found, expected);
        assert_eq!(ended.err().map(|fault| fault.to_string()).as_deref(), error);
    }

    /// A list with a policy of another release.
    fn foreign(_: &Asked) -> Value {
        let broken =
            json!({"metadata": {"name": "newer"}, "spec": {"requesters": 7, "targets": []}});
        let mut list = policies(&["a", "b"], "");
        list["items"].as_array_mut().unwrap().insert(1, broken);
        list
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_hides_no_other_where_that_is_asked_for() {
        let session = session(30, |asked| Some(foreign(asked)));
        let of =
            || Pages::of(&session, "listing policies", session.policies(), ListParams::default());
        let mut found = Vec::new();
        let passing =
            of().passing_over().each(|policy: JitPolicy| found.extend(policy.metadata.name));
        passing.await.unwrap();
        assert_eq!(found, ["a", "b"]);
        let fault = of().each(|_: JitPolicy| {}).await.unwrap_err().to_string();
        let told =
            "listing policies: this kubectl jit cannot read JitPolicy newer (spec.requesters: ";
        assert!(fault.starts_with(told), "{fault}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_waited_for_as_long_as_people_say() {
        let session = session(2, |_| None);
        let (api, params) = (session.policies(), ListParams::default());
        let pages = Pages::of(&session, "listing policies", api, params);
        let fault = pages.each(|_: JitPolicy| {}).await.unwrap_err();
        assert_eq!(fault.to_string(), "listing policies: no answer within 2 s");
    }

    #[test]
    fn that_a_list_is_of_several_states_is_told() {
        insta::assert_snapshot!(outlasted("listing grants"), @"listing grants took longer than the API server keeps one state of a list: the rest of it is of a later state, and what was made or deleted meanwhile may be missing");
    }
}
