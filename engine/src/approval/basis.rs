//! What an approval is about, and who may give it.

use chrono::{DateTime, Utc};
use lapse_crds::{Identity, Stage};

use super::Statement;
use crate::duties::Duties;
use crate::identity;
use crate::policy::{ApprovalRules, Policy};
use crate::role::RoleRules;

/// What the approvals of a request are counted by.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The policy that decides.
    pub policy: &'a Policy,
    /// Who asks.
    pub requester: &'a Identity,
    /// When it was asked.
    pub requested_at: DateTime<Utc>,
    /// The rules of the role, if they could be read.
    pub role: Option<&'a RoleRules>,
    /// Who is engaged in the policies that are kept apart from this one.
    pub duties: &'a Duties,
}

impl<'a> Basis<'a> {
    pub(super) fn rules(&self) -> &'a ApprovalRules {
        self.policy.approval()
    }

    /// Whether the request was escalated by this time, unless it was approved before.
    fn is_escalated(&self, at: DateTime<Utc>) -> bool {
        self.rules().escalates_at(self.requested_at).is_some_and(|escalates| at >= escalates)
    }

    /// Whether this person may approve in this stage, at this time.
    pub(super) fn fits(&self, stage: &Stage, who: &Identity, at: DateTime<Utc>) -> bool {
        identity::matches_any(who, &stage.approvers)
            || (self.is_escalated(at) && self.is_escalation_approver(who))
    }

    fn is_escalation_approver(&self, who: &Identity) -> bool {
        let escalation = self.rules().escalation.as_ref();
        escalation.is_some_and(|escalation| identity::matches_any(who, &escalation.approvers))
    }

    /// Whether this person may approve in any stage, at this time.
    pub(super) fn may_approve(&self, who: &Identity, at: DateTime<Utc>) -> bool {
        let is_own = identity::may_be_same(who, self.requester);
        (self.rules().self_approval || !is_own)
            && self.rules().stages.iter().any(|stage| self.fits(stage, who, at))
    }

    /// Whether this person may say no: every approver may, an escalation approver from the beginning,
    /// and a reviewer of emergencies. An own request is taken back, not denied. Who may be its requester, and need not be, could
    /// not take it back either: root of a host, who says what its local users are called, must not choose who says no.
    pub(super) fn may_deny(&self, who: &Identity) -> bool {
        let stages = &self.rules().stages;
        who.username != self.requester.username
            && (self.is_escalation_approver(who)
                || self.is_reviewer(who)
                || stages.iter().any(|stage| identity::matches_any(who, &stage.approvers)))
    }

    fn is_reviewer(&self, who: &Identity) -> bool {
        let emergency = self.policy.emergency();
        emergency.is_some_and(|rules| identity::matches_any(who, &rules.reviewers))
    }

    /// Whether the credential of this person is good enough for an approval.
    pub(super) fn accepts_credential(&self, who: &Identity) -> bool {
        self.rules().impersonation || who.credential_id.is_some()
    }

    /// Whether an approval counts at all: who gave it, how, and for how long.
    pub(super) fn counts(&self, statement: &Statement) -> bool {
        self.may_approve(&statement.decider, statement.at)
            && self.accepts_credential(&statement.decider)
            && self.is_within_bounds(statement)
    }

    /// What keeps this person from approving at this time: nobody takes part in both of two policies
    /// that are kept apart.
    pub(super) fn is_free(&self, who: &Identity) -> Result<(), String> {
        match self.duties.engagement(&who.username) {
            None => Ok(()),
            Some(engagement) => Err(format!(
                "{}, and nobody may hold or approve access under both that policy and JitPolicy {} \
                 (separationOfDuties)",
                engagement.of(&who.username),
                self.policy.name()
            )),
        }
    }

    /// Whether the duration that an approver set lies within the bounds of the policy.
    pub(super) fn is_within_bounds(&self, statement: &Statement) -> bool {
        let bounds = self.policy.duration();
        statement.duration.is_none_or(|set| set >= bounds.min && set <= bounds.max)
    }

    /// Whether an approval holds for what is to be decided now, or why not. It holds for one content:
    /// the policy as it stood, and the rules of the role, which may have lost some since and gained none.
    pub(super) fn holds(&self, statement: &Statement) -> Result<(), String> {
        let upon = statement.policy.as_ref();
        if upon.is_none_or(|upon| upon.name != self.policy.name()) {
            return Err(format!("JitPolicy {} decides now", self.policy.name()));
        }
        if upon != Some(self.policy.reference()) {
            return Err(format!("JitPolicy {} has changed since", self.policy.name()));
        }
        let Some(role) = self.role else {
            return Err("the rules of the role are not known".to_owned());
        };
        match role.widened_since(statement.kept()) {
            Some(widened) => Err(format!("the role {widened}")),
            None => Ok(()),
        }
    }
}
