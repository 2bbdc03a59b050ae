//! What people said about one request, as far as it can be trusted.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AccessDecision, GrantDuration, Identity, PolicyRef, RecordedRules, ReviewOutcome, Verdict,
    created_at,
};

use crate::attest::Attested;
use crate::role::Kept;

/// For how long after a decision was made its key may be one that is still to be published. A key is published before
/// anything is signed with it, and seen within a minute. Whoever writes a decision with a made-up key, past admission,
/// holds up its request for so long and no longer.
const KEY_PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Why it is not known what was said about this request, if it is not: somebody has just said something, and the key
/// that signed it is not known yet. It may be a Deny, so nothing is given meanwhile.
pub(crate) fn not_verified_yet(
    request_uid: &str,
    decisions: &[Attested<AccessDecision>],
    now: DateTime<Utc>,
) -> Option<String> {
    decisions.iter().find_map(|decision| {
        let Attested { object, attestation } = decision;
        let error = attestation.as_ref().err().filter(|error| error.may_pass())?;
        let is_about = object.spec.request.uid.as_deref() == Some(request_uid);
        let created = created_at(&object.metadata)?;
        (is_about && (now - created).abs() <= KEY_PATIENCE).then(|| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            format!("AccessDecision {name} cannot be verified yet: {error}")
        })
    })
}

/// A decision about the request, stamped at admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who said it.
    pub decider: Identity,
    /// What was said.
    pub verdict: Verdict,
    /// The duration that an approver set.
    pub duration: Option<GrantDuration>,
    /// What a reviewer found.
    pub outcome: Option<ReviewOutcome>,
    /// Why, in the decider's words.
    pub comment: Option<String>,
    /// The policy that was decided upon.
    pub policy: Option<PolicyRef>,
    /// The hash of the rules of the role that was decided upon.
    pub rules_hash: Option<String>,
    /// The rules themselves, unless they were too large.
    pub rules: Vec<RecordedRules>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Statement {
    /// What was kept of the rules of the role.
    #[must_use]
    pub fn kept(&self) -> Kept<'_> {
        Kept { hash: self.rules_hash.as_deref(), rules: &self.rules }
    }
}

/// Everything that people said about one request, in the order in which they said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements(Vec<Statement>);

impl Statements {
    /// Takes the decisions that carry a valid attestation and name this request by its UID. A nonce
    /// counts once, so that a copy of a decision is not another decision.
    #[must_use]
    pub fn about(request_uid: &str, decisions: &[Attested<AccessDecision>]) -> Self {
        let mut nonces = BTreeSet::new();
        let mut attested: Vec<_> = decisions
            .iter()
            .filter_map(|d| Some((&d.object.spec, d.attestation.as_ref().ok()?)))
            .filter(|(spec, _)| spec.request.uid.as_deref() == Some(request_uid))
            .collect();
        // The nonce breaks ties, so that the order in which objects are listed does not matter.
        attested.sort_by_key(|(_, attestation)| (attestation.admitted_at, &attestation.nonce));
        let statements = attested
            .into_iter()
            .filter_map(|(spec, attestation)| {
                nonces.insert(&attestation.nonce).then_some(())?;
                Some(Statement {
                    decider: spec.decider.clone()?,
                    verdict: spec.verdict,
                    duration: spec.duration,
                    outcome: spec.outcome,
                    comment: spec.comment.clone(),
                    policy: spec.policy.clone(),
                    rules_hash: spec.rules_hash.clone(),
                    rules: spec.rules.clone(),
                    at: attestation.admitted_at.time(),
                })
            })
            .collect();
        Self(statements)
    }

    /// The same, and one statement more.
    pub(super) fn with(&self, statement: Statement) -> Self {
        Self(self.0.iter().cloned().chain([statement]).collect())
    }

    /// Statements as if they had been read from decisions.
    #[cfg(test)]
    pub(crate) fn of(statements: &[Statement]) -> Self {
        let mut statements = statements.to_vec();
        statements.sort_by(|a, b| (a.at, &a.decider.username).cmp(&(b.at, &b.decider.username)));
        Self(statements)
    }

    /// The first Deny. Whether its decider may deny was judged at admission, before it was signed.
    #[must_use]
    pub fn denial(&self) -> Option<&Statement> {
        self.0.iter().find(|statement| statement.verdict == Verdict::Deny)
    }

    /// The first End by the requester.
    #[must_use]
    pub fn end(&self, requester: &Identity) -> Option<&Statement> {
        self.0.iter().find(|statement| {
            statement.verdict == Verdict::End && statement.decider.username == requester.username
        })
    }

    /// Whether the person of this name has ended it.
    #[must_use]
    pub fn end_of(&self, username: &str) -> bool {
        self.0.iter().any(|statement| {
            statement.verdict == Verdict::End && statement.decider.username == username
        })
    }

    /// The first Review, and what it found, by anybody but the person whose emergency it was.
    #[must_use]
    pub fn review(&self, holder: &str) -> Option<(&Statement, ReviewOutcome)> {
        let mut reviews = self.0.iter().filter(|statement| {
            statement.verdict == Verdict::Review && statement.decider.username != holder
        });
        reviews.find_map(|statement| Some((statement, statement.outcome?)))
    }

    /// The approvals, valid or void.
    pub fn approvals(&self) -> impl Iterator<Item = &Statement> {
        self.0.iter().filter(|statement| statement.verdict == Verdict::Approve)
    }
}
