//! What decisions about other requests need to know of one.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, RequestPhase};

use super::has_place;
use crate::attest::Attested;

/// A request in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the request, as its fields do"
)]
pub struct RequestSummary {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The user name of who asks.
    pub requester: String,
    /// When it was admitted; `None` if its attestation is worth nothing.
    pub admitted_at: Option<DateTime<Utc>>,
    /// The name of the policy that decides, or that it names.
    pub policy: Option<String>,
    /// The request that it extends.
    pub extends: Option<String>,
    /// Whether it is an emergency.
    pub emergency: bool,
    /// Where it stands.
    pub phase: RequestPhase,
    /// Whether anything was ever said of it.
    pub was_reported: bool,
    /// Whether it has its place in the limits of its policy.
    pub has_place: bool,
    /// Whether somebody deleted it.
    pub is_deleted: bool,
}

impl RequestSummary {
    /// Summarises a request.
    #[must_use]
    pub fn of(attested: &Attested<AccessRequest>) -> Self {
        let AccessRequest { metadata, spec, status } = &attested.object;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let status = status.as_ref();
        let decides = status.and_then(|status| status.policy.as_ref()).map(|policy| &policy.name);
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            requester: spec.requester.as_ref().map(|who| who.username.clone()).unwrap_or_default(),
            admitted_at: attested.attestation.as_ref().ok().map(|a| a.admitted_at.time()),
            policy: decides.or(spec.policy.as_ref()).cloned(),
            extends: spec.extends.clone(),
            emergency: spec.emergency,
            phase: status.map(|status| status.phase).unwrap_or_default(),
            was_reported: status.and_then(|status| status.observed_generation) >= Some(0),
            has_place: has_place(&attested.object),
            is_deleted: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether it can bear on another of the same person. One that is over takes no place, and only what has
    /// extended another is still looked at then.
    #[must_use]
    pub fn bears(&self) -> bool {
        !self.phase.is_terminal() || self.extends.is_some()
    }
}
