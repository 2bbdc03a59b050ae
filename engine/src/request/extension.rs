//! More time means a new request, which may extend one whose right is held: it then has its place.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, Grant, GrantPhase, Subject};

use super::peers::InLine;
use super::{Peers, has_place};
use crate::attest::Attested;
use crate::grant::was_never_given;

/// The request that is extended, and the right that it gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended<'a> {
    request: &'a Attested<AccessRequest>,
    pub(crate) grant: &'a Grant,
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
                "You have no request {name} in namespace {namespace} that could be extended; name one \
                 whose right you hold, or leave spec.extends out."
            ));
        };
        let uid = request.object.metadata.uid.as_deref();
        let is_held = |grant: &&Grant| {
            let phase = grant.status.as_ref().map(|status| status.phase);
            uid == Some(&grant.spec.request.uid)
                && grant.spec.subject == *who
                && phase == Some(GrantPhase::Active)
                && grant.metadata.deletion_timestamp.is_none()
                && now < grant.spec.expires_at.time()
        };
        match self.grants.iter().find(is_held) {
            Some(grant) => Ok(Extended { request, grant }),
            None => Err(format!(
                "Request {name} gives no right now, so there is nothing to extend; leave spec.extends \
                 out."
            )),
        }
    }

    /// The name of the request that extends it already, or comes first: of two that are open, the one
    /// that has its place or was made earlier. Everybody who looks sees the same order.
    pub(crate) fn extends_already(&self, extended: &Extended<'_>, me: InLine<'_>) -> Option<&str> {
        if me.has_place {
            return None;
        }
        let of = &extended.request.object.metadata;
        let comes_first = |other: &&Attested<AccessRequest>| {
            let AccessRequest { metadata, spec, .. } = &other.object;
            let uid = metadata.uid.as_deref().unwrap_or_default();
            let Ok(attestation) = &other.attestation else { return false };
            let at = attestation.admitted_at.time();
            // One of the same name that is gone may have been extended, too.
            let is_about_it = spec.extends == of.name
                && metadata.namespace == of.namespace
                && extended.admitted_at().is_none_or(|made_at| at >= made_at);
            let is_open = || {
                let phase = other.object.status.as_ref().map(|status| status.phase);
                metadata.deletion_timestamp.is_none()
                    && !phase.unwrap_or_default().is_terminal()
                    && (has_place(&other.object) || (at, uid) < (me.requested_at, me.uid))
            };
            uid != me.uid && is_about_it && (self.was_given(uid) || is_open())
        };
        self.requests.iter().find(comes_first)?.object.metadata.name.as_deref()
    }

    /// Whether a request has got its right.
    fn was_given(&self, request_uid: &str) -> bool {
        let of_request = |grant: &&Grant| grant.spec.request.uid == request_uid;
        self.grants.iter().find(of_request).is_some_and(|grant| !was_never_given(grant))
    }
}

impl Extended<'_> {
    fn admitted_at(&self) -> Option<DateTime<Utc>> {
        let attestation = self.request.attestation.as_ref().ok()?;
        Some(attestation.admitted_at.time())
    }
}

fn is_named(request: &Attested<AccessRequest>, namespace: &str, name: &str) -> bool {
    let metadata = &request.object.metadata;
    metadata.name.as_deref() == Some(name) && metadata.namespace.as_deref() == Some(namespace)
}
