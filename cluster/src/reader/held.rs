//! The rights that somebody holds.

use kube::Api;
use kube::api::ListParams;
use lapse_crds::{Grant, Identity};
use lapse_engine::Read;
use lapse_engine::identity::subject_of;
use lapse_engine::session::{is_held_by, may_be_disguised};

use super::{Freshness, Reader, escape, read};
use crate::{Stored, bounded};

const NOT_OVER: &str = "status.phase!=Ended";

impl Reader {
    /// The Grants of a caller that are not over, and, if the caller may be somebody in disguise, those of
    /// whoever that may be. What cannot be decoded is left out: it has given nothing.
    pub async fn held(&self, caller: &Identity, freshness: Freshness) -> Read<Vec<Grant>> {
        let selector = if may_be_disguised(caller) {
            NOT_OVER.to_owned()
        } else {
            let Some(subject) = subject_of(caller) else { return Read::Found(Vec::new()) };
            format!("{NOT_OVER},spec.subject.name={}", escape(&subject.name))
        };
        let api: Api<Stored<Grant>> = Api::all(self.client.clone());
        let of_caller = ListParams::default().fields(&selector);
        let of_caller = self.seen.grants.bound(of_caller, freshness);
        let what = format!("listing the Grants of {}", caller.username);
        read(bounded(what, api.list(&of_caller)).await).map(|list| {
            let decoded = list.items.into_iter().filter_map(|stored| stored.into_object().ok());
            decoded.filter(|grant| is_held_by(grant, caller)).collect()
        })
    }

    /// The same out of what the API server has at hand, or, if that is not enough, as of now.
    pub async fn held_or_newer(
        &self,
        caller: &Identity,
        is_enough: impl Fn(&[Grant]) -> bool,
    ) -> Read<Vec<Grant>> {
        match self.held(caller, Freshness::AtHand).await {
            Read::Found(held) if is_enough(&held) => Read::Found(held),
            _ => self.held(caller, Freshness::Now).await,
        }
    }
}
