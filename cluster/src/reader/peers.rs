//! What else a person asks for and holds.

use kube::Api;
use kube::api::ListParams;
use lapse_crds::{AccessRequest, Grant, Identity};
use lapse_engine::Read;
use lapse_engine::identity::subject_of;
use lapse_engine::request::Peers;

use super::{Freshness, Reader, escape, read};
use crate::{Stored, bounded};

impl Reader {
    /// What a person asks for and holds, over all namespaces, at least as new as everything that this
    /// process has seen and written. What cannot be decoded is left out: it holds nothing.
    pub async fn peers(&self, requester: &Identity, freshness: Freshness) -> Read<Peers> {
        let by = |field: &str, name: &str| {
            ListParams::default().fields(&format!("{field}={}", escape(name)))
        };
        let username = &requester.username;
        let Some(subject) = subject_of(requester) else {
            return Read::Found(Peers::default());
        };
        let requests: Api<Stored<AccessRequest>> = Api::all(self.client.clone());
        let grants: Api<Stored<Grant>> = Api::all(self.client.clone());
        let asked = by("spec.requester.username", username);
        let asked = self.seen.requests.bound(asked, freshness);
        let held = by("spec.subject.name", &subject.name);
        let held = self.seen.grants.bound(held, freshness);
        let (requests, grants) = tokio::join!(
            bounded(format!("listing the requests of {username}"), requests.list(&asked)),
            bounded(format!("listing the Grants of {username}"), grants.list(&held)),
        );
        match (read(requests), read(grants)) {
            (Read::Found(requests), Read::Found(grants)) => {
                let keys = self.keys.borrow();
                // People keep a history: nothing of it is verified that does not bear on anything.
                let bears = |stored: &Stored<_>| stored.object().is_ok_and(Peers::bears);
                let requests = requests.items.into_iter().filter(bears);
                Read::Found(Peers {
                    requests: requests.filter_map(|stored| stored.attest(&keys).ok()).collect(),
                    grants: grants.items.into_iter().filter_map(|g| g.into_object().ok()).collect(),
                })
            }
            (Read::Failed(why), _) | (_, Read::Failed(why)) => Read::Failed(why),
            (Read::Missing, _) | (_, Read::Missing) => Read::Missing,
        }
    }
}
