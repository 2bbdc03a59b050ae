//! What was said about a request, as far as it stands.
//!
//! The index remembers. A store that was restored to an earlier state may have lost an approval that it has seen, so each
//! one that a right may follow from is read as it is now. What says no need not be: at worst nothing is given.

use std::collections::HashMap;

use futures::future::join_all;
use lapse_crds::{AccessDecision, Verdict};
use lapse_engine::Read;
use lapse_engine::attest::Attested;

use crate::Reader;

/// Approvals that were looked up in the store: by their UID, whether they stand.
pub(super) type Standing = HashMap<String, Read<()>>;

impl Reader {
    /// Looks up the approvals that the index knows, for whoever looks at what else there is meanwhile.
    pub(super) async fn approvals_now(&self, request_uid: &str) -> Standing {
        let mut standing = Standing::new();
        if let Read::Found(said) = self.index().decisions(request_uid) {
            self.look_up(&said, &mut standing).await;
        }
        standing
    }

    /// What was said about a request, without the approvals that do not stand any more. `standing`: those that were looked
    /// up a moment ago.
    pub(super) async fn said_now(
        &self,
        request_uid: &str,
        mut standing: Standing,
    ) -> Read<Vec<Attested<AccessDecision>>> {
        loop {
            // What the index has is looked up last, so that it is as new as can be.
            let said = match self.index().decisions(request_uid) {
                Read::Found(said) => said,
                other => return other,
            };
            if self.look_up(&said, &mut standing).await {
                continue;
            }
            return only_standing(said, &standing);
        }
    }

    /// Looks up those that were not yet. Whether there were any.
    async fn look_up(&self, said: &[Attested<AccessDecision>], standing: &mut Standing) -> bool {
        let unread =
            said.iter().filter(|said| approves(said) && !standing.contains_key(&uid_of(said)));
        let reads = unread.map(async |said| (uid_of(said), self.stands(&said.object).await));
        let found = join_all(reads).await;
        let are_any = !found.is_empty();
        standing.extend(found);
        are_any
    }

    /// Whether this very decision is stored. What it says never changes, so its metadata tells.
    async fn stands(&self, known: &AccessDecision) -> Read<()> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&known.metadata.namespace), text(&known.metadata.name));
        let api = self.namespaced::<AccessDecision>(&namespace);
        let seen = crate::index::version(&known.metadata);
        match self.get_known_metadata(api, &name, seen).await {
            Read::Found(now) if now.uid == known.metadata.uid => Read::Found(()),
            Read::Found(_) | Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }
}

fn approves(said: &Attested<AccessDecision>) -> bool {
    said.object.spec.verdict == Verdict::Approve
}

fn uid_of(said: &Attested<AccessDecision>) -> String {
    said.object.metadata.uid.clone().unwrap_or_default()
}

fn only_standing(
    said: Vec<Attested<AccessDecision>>,
    standing: &Standing,
) -> Read<Vec<Attested<AccessDecision>>> {
    let mut all = Vec::new();
    for said in said {
        if approves(&said) {
            match standing.get(&uid_of(&said)) {
                Some(Read::Found(())) => {}
                Some(Read::Failed(why)) => return Read::Failed(why.clone()),
                Some(Read::Missing) | None => continue,
            }
        }
        all.push(said);
    }
    Read::Found(all)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lapse_crds::RequestRef;
    use rstest::rstest;
    use serde_json::json;

    use crate::Occasion;
    use crate::testing::{api_server, api_server_telling, approval, reader, request};

    use super::*;

    async fn said(reader: &Reader) -> Read<Vec<String>> {
        let of =
            RequestRef { namespace: "shop".into(), name: "fix".into(), uid: "uid-of-fix".into() };
        let occasion = Occasion::Give { unasked: false };
        let observed = reader.observe_request(&of, None, occasion).await.unwrap().unwrap();
        observed.decisions.map(|said| {
            let names = said.into_iter().map(|said| said.object.metadata.name.unwrap());
            names.collect()
        })
    }

    /// A store that was restored has lost one of two approvals, and of one it has another of the same name.
    #[rstest]
    #[case::gone(None)]
    #[case::made_anew(Some("another"))]
    #[tokio::test]
    async fn an_approval_that_does_not_stand_any_more_counts_for_nothing(
        #[case] other: Option<&str>,
    ) {
        let mut stored = vec![("fix", request("7")), ("yes", approval("yes"))];
        stored.extend(other.map(|uid| {
            let mut other = approval("also");
            other["metadata"]["uid"] = json!(uid);
            ("also", other)
        }));
        let reader = reader(api_server(stored));
        assert_eq!(said(&reader).await, Read::Found(vec!["yes".to_owned()]));
        assert!(reader.index().is_complete(), "a decision may have been deleted a moment ago");
    }

    /// An approval keeps the rules of the role: kilobytes, which would be read twice for each right.
    #[tokio::test]
    async fn of_an_approval_nothing_but_its_metadata_is_read() {
        let wanted: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = wanted.clone();
        let stored =
            vec![("fix", request("7")), ("yes", approval("yes")), ("also", approval("also"))];
        let client = api_server_telling(stored, move |asked| {
            if asked.uri().path().contains("/accessdecisions/") {
                let accept = asked.headers()[http::header::ACCEPT].to_str().unwrap();
                told.lock().unwrap().push(accept.to_owned());
            }
        });
        let Read::Found(mut names) = said(&reader(client)).await else { panic!("they stand") };
        names.sort();
        assert_eq!(names, ["also", "yes"]);
        let wanted = wanted.lock().unwrap();
        let of_metadata = wanted.iter().filter(|what| what.contains("as=PartialObjectMetadata"));
        assert_eq!((of_metadata.count(), wanted.len()), (2, 2), "{wanted:?}");
    }

    /// Objects only grow newer, so one that is older than it was shows that all that was seen may never have been.
    #[tokio::test]
    async fn an_object_that_is_older_than_it_was_puts_all_that_was_seen_in_doubt() {
        let stored =
            vec![("fix", request("6")), ("yes", approval("yes")), ("also", approval("also"))];
        let reader = reader(api_server(stored));
        assert!(matches!(said(&reader).await, Read::Failed(_)));
        assert!(!reader.index().is_complete() && reader.index().newest() == 0);
    }
}
