//! The status of a request, built one statement at a time.

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequest, AccessRequestStatus, ApprovalStatus, Condition, ConditionStatus,
    Conditions as _, RequestPhase,
};

use super::columns::{Told, columns};
use super::decide::{APPROVED, EVALUATED, GRANTED};
use super::evaluate::Chosen;
use super::follow::ENDED;
use super::{Evaluation, Plan};
use crate::grant::REVIEWED;
use crate::notice::Notice;
use crate::outside;
use crate::waiting::{self, Progress};
use crate::words::{clip, clipped};

/// Where a condition stands among the others, whichever came first.
fn position(r#type: &str) -> usize {
    let order = [EVALUATED, APPROVED, GRANTED, ENDED, REVIEWED];
    order.iter().position(|known| *known == r#type).unwrap_or(order.len())
}

/// How far a request in this phase is. What its requester took back is as it was asked to be.
fn progress(phase: RequestPhase) -> Progress {
    match phase {
        RequestPhase::Pending | RequestPhase::Scheduled => Progress::UnderWay,
        RequestPhase::Denied | RequestPhase::TimedOut | RequestPhase::Failed => Progress::Failed,
        RequestPhase::Active | RequestPhase::Withdrawn | RequestPhase::Ended => Progress::Done,
    }
}

/// The status of a request as it is being written.
pub(super) struct Writer<'a> {
    request: &'a AccessRequest,
    now: DateTime<Utc>,
    told: Told,
    pub(super) status: AccessRequestStatus,
}

impl<'a> Writer<'a> {
    pub(super) fn new(request: &'a AccessRequest, now: DateTime<Utc>) -> Self {
        let mut status = request.status.clone().unwrap_or_default();
        status.observed_generation = request.metadata.generation;
        Self { request, now, told: Told::default(), status }
    }

    /// Says what policies and people say.
    pub(super) fn evaluation(mut self, evaluation: &Evaluation) -> Self {
        let chosen = evaluation.policy.as_ref();
        let decides = chosen.map(|chosen| &chosen.policy).or(evaluation.denied_by.as_ref());
        self.status.policy = decides.cloned();
        self.status.candidates.clone_from(&evaluation.candidates);
        self.status.checks = evaluation.report.clone().into_status();
        // A policy can name more than a message may hold; a status that the schema refuses would say
        // nothing at all.
        self.status.candidates.iter_mut().for_each(|candidate| clip(&mut candidate.reason));
        self.status.checks.iter_mut().for_each(|check| clip(&mut check.message));
        self.status.approval =
            chosen.filter(|chosen| chosen.unasked.is_none()).map(|chosen| ApprovalStatus {
                stages: chosen.progress.stages.clone(),
                waiting_for: Some(chosen.progress.waiting_for.clone()).filter(|w| !w.is_empty()),
                escalated_at: chosen.progress.escalated_at.map(Into::into),
            });
        let waiting =
            self.status.approval.as_mut().and_then(|approval| approval.waiting_for.as_mut());
        waiting.into_iter().for_each(clip);
        self.told.waiting_for = chosen.map(|chosen| chosen.progress.in_brief.clone());
        self
    }

    /// Says who decided, for lists.
    pub(super) fn by(mut self, who: &str) -> Self {
        self.told.reason = Some(format!("by {who}"));
        self
    }

    pub(super) fn condition(
        mut self,
        r#type: &str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
    ) -> Self {
        self.status.conditions.set_condition(Condition {
            r#type: r#type.to_owned(),
            status,
            reason: reason.to_owned(),
            message: clipped(message),
            last_transition_time: self.now.into(),
            observed_generation: self.request.metadata.generation,
        });
        self
    }

    /// Takes back what was said of a start: an approval that completed it no longer holds.
    pub(super) fn unscheduled(mut self) -> Self {
        self.status.starts_at = None;
        self.status.expires_at = None;
        self
    }

    /// A plan that only says where the request stands.
    pub(super) fn stands(mut self, phase: RequestPhase, wake_at: Option<DateTime<Utc>>) -> Plan {
        self.status.phase = phase;
        let progress = progress(phase);
        let generation = self.request.metadata.generation;
        let message = format!("The request is {phase}.");
        let conditions = &mut self.status.conditions;
        waiting::tell(conditions, progress, &phase.to_string(), &message, generation, self.now);
        self.status.conditions.sort_by_key(|condition| position(&condition.r#type));
        Plan { create: None, status: self.changed(), notice: None, wake_at }
    }

    /// A plan of a request that waits for its approval. For whom, and that it was escalated, is told once: when the
    /// status says so for the first time.
    pub(super) fn waits(self, chosen: &Chosen, wake_at: Option<DateTime<Utc>>) -> Plan {
        let known = self.request.status.as_ref().and_then(|status| status.approval.as_ref());
        let is_told = known.is_some_and(|approval| approval.escalated_at.is_some());
        let is_escalated = chosen.progress.escalated_at.is_some() && !is_told;
        let waiting_for = &chosen.progress.waiting_for;
        let notice = if is_escalated {
            Some(("Escalated", format!("Nobody has answered in time: it waits for {waiting_for}.")))
        } else if known.is_none() {
            Some(("Waiting", format!("It waits for {waiting_for}.")))
        } else {
            None
        };
        let notice = notice.map(|(reason, message)| Notice {
            warning: false,
            reason: reason.to_owned(),
            message,
        });
        Plan { notice, ..self.stands(RequestPhase::Pending, wake_at) }
    }

    /// A plan that tells people about a new phase.
    pub(super) fn becomes(
        mut self,
        phase: RequestPhase,
        reason: &str,
        message: &str,
        wake_at: Option<DateTime<Utc>>,
    ) -> Plan {
        let warning = matches!(phase, RequestPhase::Denied | RequestPhase::Failed);
        let known = self.request.status.as_ref().map(|status| status.phase);
        let notice = (known.unwrap_or_default() != phase).then(|| Notice {
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
        if phase.is_terminal() && self.status.grant.is_none() {
            self = self.unscheduled();
        }
        if phase.is_terminal()
            && let Some(approval) = &mut self.status.approval
        {
            approval.waiting_for = None;
        }
        Plan { notice, ..self.stands(phase, wake_at) }
    }

    /// The status, if it says anything new. What lists show follows from the rest, so it is no reason to write.
    fn changed(self) -> Option<AccessRequestStatus> {
        let Self { request, told, mut status, .. } = self;
        if let Some(known) = &request.status {
            outside::keep_texts(&known.conditions, &mut status.conditions);
            outside::keep_texts_of_checks(&known.checks, &mut status.checks);
        }
        let columns = columns(request, &status, told);
        (request.status.as_ref() != Some(&status))
            .then_some(AccessRequestStatus { columns: Some(columns), ..status })
    }
}
