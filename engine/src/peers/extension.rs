//! More time means a new request, which may extend one whose right is held: it then has its place.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::{GrantPhase, Subject};

use super::{InLine, Peers, RequestSummary};
use crate::summary::GrantSummary;

/// The request that is extended, and the right that it gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended<'a> {
    request: &'a RequestSummary,
    pub(crate) grant: &'a GrantSummary,
}

impl Peers {
    /// The own request of this name, whose right is held; or why there is none, in words.
    pub(crate) fn extended(
        &self,
        namespace: &str,
        name: &str,
        who: &Subject,
        now: DateTime<Utc>,
    ) -> Result<Extended<'_>, String> {
        let request = self.requests.iter().find(|request| is_named(request, namespace, name));
        let Some(request) = request else {
            return Err(format!(
                "You have no request {name} in namespace {namespace} that could be extended; name one that is active, \
                 or leave spec.extends out."
            ));
        };
        let is_held = |grant: &&Arc<GrantSummary>| {
            request.uid == grant.request.uid
                && *grant.subject == *who
                && grant.phase() == GrantPhase::Active
                && !grant.is_deleted
                && now < grant.expires_at.time()
        };
        match self.grants.iter().find(is_held) {
            Some(grant) => Ok(Extended { request, grant }),
            None => Err(format!(
                "Request {name} is not active, so there is nothing to extend; leave spec.extends out."
            )),
        }
    }

    /// The name of the request that extends it already, or comes first: of two that are open, the one
    /// that has its place or was made earlier. Everybody who looks sees the same order.
    pub(crate) fn extends_already(&self, extended: &Extended<'_>, me: InLine<'_>) -> Option<&str> {
        if me.has_place {
            return None;
        }
        let of = extended.request;
        let comes_first = |other: &&Arc<RequestSummary>| {
            let Some(at) = other.admitted_at else { return false };
            // One of the same name that is gone may have been extended, too.
            let is_about_it = other.extends.as_ref() == Some(&of.name)
                && other.namespace == of.namespace
                && of.admitted_at.is_none_or(|made_at| at >= made_at);
            let is_open = || {
                !other.is_deleted
                    && !other.phase.is_terminal()
                    && (other.has_place || (at, &*other.uid) < (me.requested_at, me.uid))
            };
            other.uid != me.uid && is_about_it && (self.was_given(&other.uid) || is_open())
        };
        self.requests.iter().find(comes_first).map(|request| &*request.name)
    }

    /// Whether a request has got its right.
    fn was_given(&self, request_uid: &str) -> bool {
        let of_request = |grant: &&Arc<GrantSummary>| grant.request.uid == request_uid;
        self.grants.iter().find(of_request).is_some_and(|grant| !grant.was_never_given)
    }
}

fn is_named(request: &RequestSummary, namespace: &str, name: &str) -> bool {
    request.name == name && request.namespace == namespace
}
