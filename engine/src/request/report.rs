//! The status of a request, built one statement at a time.

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequest, AccessRequestStatus, ApprovalStatus, Condition, ConditionStatus,
    Conditions as _, RequestPhase,
};

use super::{Evaluation, Notice, Plan};

/// The status of a request as it is being written.
pub(super) struct Writer<'a> {
    request: &'a AccessRequest,
    now: DateTime<Utc>,
    pub(super) status: AccessRequestStatus,
}

impl<'a> Writer<'a> {
    pub(super) fn new(request: &'a AccessRequest, now: DateTime<Utc>) -> Self {
        let mut status = request.status.clone().unwrap_or_default();
        status.observed_generation = request.metadata.generation;
        Self { request, now, status }
    }

    /// Says what policies and people say.
    pub(super) fn evaluation(mut self, evaluation: &Evaluation) -> Self {
        let chosen = evaluation.policy.as_ref();
        self.status.policy = chosen.map(|chosen| chosen.policy.clone());
        self.status.candidates.clone_from(&evaluation.candidates);
        self.status.checks = evaluation.report.clone().into_status();
        self.status.approval =
            chosen.filter(|chosen| !chosen.self_service).map(|chosen| ApprovalStatus {
                stages: chosen.progress.stages.clone(),
                waiting_for: Some(chosen.progress.waiting_for.clone()).filter(|w| !w.is_empty()),
            });
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
            message: message.to_owned(),
            last_transition_time: self.now.into(),
            observed_generation: self.request.metadata.generation,
        });
        self
    }

    /// A plan that only says where the request stands.
    pub(super) fn stands(mut self, phase: RequestPhase, wake_at: Option<DateTime<Utc>>) -> Plan {
        self.status.phase = phase;
        Plan { create: None, status: self.changed(), notice: None, wake_at }
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
        if phase.is_terminal()
            && let Some(approval) = &mut self.status.approval
        {
            approval.waiting_for = None;
        }
        Plan { notice, ..self.stands(phase, wake_at) }
    }

    fn changed(self) -> Option<AccessRequestStatus> {
        (self.request.status.as_ref() != Some(&self.status)).then_some(self.status)
    }
}
