//! What decisions about anything else need to know of a grant. Of one that is over that is a few words.

use std::sync::Arc;

use lapse_crds::{
    Conditions as _, Grant, GrantPhase, GrantSession, GrantStatus, RbacRef, RequestRef, Subject,
    Timestamp,
};

use crate::lifetime::{
    ENDED, awaits_review, comparing_on, has_ended, is_stopping, was_never_given,
};
use crate::target::ResolvedTarget;

/// A grant in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the grant, as its fields do"
)]
pub struct GrantSummary {
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// The request that it was given for.
    pub request: RequestRef,
    /// The name of the policy that gave it.
    pub policy: Arc<str>,
    /// The UID of that policy.
    pub policy_uid: Arc<str>,
    /// Who holds the right, or held it.
    pub subject: Arc<Subject>,
    /// When it starts.
    pub starts_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// When it took effect, if it did.
    pub activated_at: Option<Timestamp>,
    /// When it was verified to be gone, if it was.
    pub ended_at: Option<Timestamp>,
    /// Whether it was given in an emergency.
    pub is_emergency: bool,
    /// Whether somebody deleted it.
    pub is_deleted: bool,
    /// By when it is still to be reviewed, if it is.
    pub review_by: Option<Timestamp>,
    /// Whether it is over, and what was started under it is still to go.
    pub is_stopping: bool,
    /// The Endpoint of one that is over, if its host is still to be compared with what it was before.
    pub comparing_on: Option<Box<str>>,
    /// Whether it is over, and nobody had the right for a moment.
    pub was_never_given: bool,
    /// What matters while it is not over.
    pub live: Option<Box<LiveGrant>>,
}

/// What matters of a grant while it is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveGrant {
    /// Where it stands.
    pub phase: GrantPhase,
    /// Since when it is being taken back, if it is.
    pub ending_since: Option<Timestamp>,
    /// The right, spelled out; `None` if it has no kind, which the schema refuses.
    pub target: Option<ResolvedTarget>,
    /// What its policy said about the session.
    pub session: Option<GrantSession>,
    /// The ticket of its request.
    pub ticket: Option<String>,
    /// Whose approval counted.
    pub approved_by: Vec<String>,
    /// The bindings that it has recorded.
    pub bindings: Vec<RbacRef>,
}

impl LiveGrant {
    /// Whether it is held on a host, which ends it.
    #[must_use]
    pub fn is_on_host(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.scope.endpoint().is_some())
    }
}

impl GrantSummary {
    /// Summarises a grant.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        let Grant { metadata, spec, status } = grant;
        let status = status.as_ref();
        let live = || {
            Box::new(LiveGrant {
                phase: status.map(|status| status.phase).unwrap_or_default(),
                ending_since: status.and_then(ending_since),
                target: ResolvedTarget::resolve(&spec.target, &spec.request.namespace),
                session: spec.session.clone(),
                ticket: spec.ticket.clone(),
                approved_by: spec.approved_by.clone(),
                bindings: status.map(|status| status.bindings.clone()).unwrap_or_default(),
            })
        };
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            request: spec.request.clone(),
            policy: spec.policy.name.as_str().into(),
            policy_uid: spec.policy.uid.as_str().into(),
            subject: Arc::new(spec.subject.clone()),
            starts_at: spec.starts_at,
            expires_at: spec.expires_at,
            activated_at: status.and_then(|status| status.activated_at),
            ended_at: status.and_then(|status| status.ended_at),
            is_emergency: spec.emergency,
            is_deleted: metadata.deletion_timestamp.is_some(),
            review_by: awaits_review(grant),
            is_stopping: is_stopping(grant),
            comparing_on: comparing_on(grant).map(Into::into),
            was_never_given: was_never_given(grant),
            live: (!has_ended(grant)).then(live),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> GrantPhase {
        self.live.as_ref().map_or(GrantPhase::Ended, |live| live.phase)
    }

    /// Whether nothing will ever happen to it again: it is over, with what was started under it, its host was compared
    /// with what it was before, it was not deleted and awaits no review.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.live.is_none()
            && !self.is_deleted
            && !self.is_stopping
            && self.comparing_on.is_none()
            && self.review_by.is_none()
    }
}

/// Since when a right is being taken back, if it is.
fn ending_since(status: &GrantStatus) -> Option<Timestamp> {
    let ended = status.conditions.condition(ENDED)?;
    (status.phase == GrantPhase::Ending).then_some(ended.last_transition_time)
}
