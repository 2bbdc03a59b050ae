//! One right that was held.

use kube::ResourceExt as _;
use lapse_crds::{AccessRequest, Grant, Timestamp};
use lapse_engine::identity::{describe, holder};
use lapse_engine::target::ResolvedTarget;
use serde::Serialize;

use super::records::Done;
use super::usage::Usage;

/// One right that was held.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) grant: String,
    pub(super) namespace: String,
    pub(super) request: String,
    pub(super) holder: String,
    pub(super) target: String,
    pub(super) policy: String,
    pub(super) reason: String,
    pub(super) ticket: String,
    pub(super) emergency: bool,
    pub(super) approved_by: Vec<String>,
    pub(super) started_at: String,
    pub(super) ended_at: String,
    pub(super) end_reason: String,
    pub(super) review: String,
    pub(super) reviewed_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<Done>,
}

impl Row {
    pub(super) fn of(
        grant: &Grant,
        request: Option<&AccessRequest>,
        (usage, record): (Option<Usage>, Option<Done>),
    ) -> Self {
        let spec = &grant.spec;
        let status = grant.status.clone().unwrap_or_default();
        let target = ResolvedTarget::resolve(&spec.target, &spec.request.namespace);
        let review = status.review.as_ref();
        let outcome = review.map(|review| match review.outcome {
            Some(outcome) => outcome.to_string(),
            None => "Due".to_owned(),
        });
        let written = |at: Timestamp| at.to_the_second();
        Self {
            grant: grant.name_any(),
            namespace: spec.request.namespace.clone(),
            request: spec.request.name.clone(),
            holder: held_by(grant, request),
            target: target.map(|target| target.to_string()).unwrap_or_default(),
            policy: spec.policy.name.clone(),
            reason: request.and_then(|request| request.spec.reason.clone()).unwrap_or_default(),
            ticket: spec.ticket.clone().unwrap_or_default(),
            emergency: spec.emergency,
            approved_by: spec.approved_by.clone(),
            started_at: status.activated_at.map(written).unwrap_or_default(),
            ended_at: status.ended_at.map(written).unwrap_or_default(),
            end_reason: status.end_reason.map(|reason| reason.to_string()).unwrap_or_default(),
            review: outcome.unwrap_or_default(),
            reviewed_by: review.and_then(|review| review.reviewed_by.clone()).unwrap_or_default(),
            usage,
            record,
        }
    }
}

/// Who held it. Who asked on a host is told apart from who showed credentials: only that host says who they are.
fn held_by(grant: &Grant, request: Option<&AccessRequest>) -> String {
    let requester = request.and_then(|request| request.spec.requester.as_ref());
    match requester.filter(|requester| requester.endpoint_user.is_some()) {
        Some(requester) => describe(requester),
        None => grant.spec.username.clone().unwrap_or_else(|| holder(grant)),
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::AccessRequestSpec;
    use serde_json::{Value, json};

    use super::super::usage::tests::grant;
    use super::*;

    fn held_after(requester: &Value) -> String {
        let spec = json!({
            "target": {"endpoint": {"name": "web-1", "localUser": "al", "admin": {}}}, "requester": requester,
        });
        let spec: AccessRequestSpec = serde_json::from_value(spec).unwrap();
        held_by(&grant(&json!([])), Some(&AccessRequest::new("fix", spec)))
    }

    #[test]
    fn who_asked_on_a_host_is_not_taken_for_who_showed_credentials() {
        assert_eq!(held_after(&json!({"username": "alice"})), "alice");
        let there = json!({
            "username": "alice", "endpointUser": {"endpoint": "web-1", "localUser": "al"},
        });
        assert_eq!(held_after(&there), "alice (local user al of Endpoint web-1)");
    }
}
