//! What happened to a request, in the order of time.

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{
    ATTESTATION, AccessDecision, AccessRequest, ConditionStatus, RequestPhase, Timestamp, Verdict,
    created_at,
};
use lapse_engine::attest::Attestation;
use lapse_engine::identity::describe;

use super::{requester, target};
use crate::output::plain;

/// The lines of the history, the oldest first. `decisions` are those about this request, of whatever request of its
/// name they are.
pub(crate) fn history(request: &AccessRequest, decisions: &[AccessDecision]) -> Vec<String> {
    let uid = request.metadata.uid.as_deref();
    let mut events: Vec<(DateTime<Utc>, String)> = Vec::new();
    if let Some(at) = admitted_at(&request.metadata) {
        events.push((at, format!("{} requested {}", requester(request), target(request))));
    }
    for decision in decisions.iter().filter(|decision| decision.spec.request.uid.as_deref() == uid)
    {
        if let Some(at) = admitted_at(&decision.metadata) {
            events.push((at, said(decision)));
        }
    }
    let status = request.status.clone().unwrap_or_default();
    let was_given = matches!(status.phase, RequestPhase::Active | RequestPhase::Ended);
    if let Some(start) = status.starts_at.filter(|_| was_given) {
        events.push((start.time(), "access started".to_owned()));
    }
    if let Some(escalated) = status.approval.as_ref().and_then(|approval| approval.escalated_at) {
        events.push((
            escalated.time(),
            "nobody had answered: the escalation approvers may approve, too".to_owned(),
        ));
    }
    match (status.ended_at, status.end_reason) {
        (Some(at), Some(reason)) => events.push((at.time(), format!("access ended: {reason}"))),
        _ if status.phase.is_terminal() => {
            let last = status
                .conditions
                .iter()
                .filter(|condition| condition.status == ConditionStatus::False)
                .max_by_key(|condition| condition.last_transition_time);
            events.extend(last.map(|condition| {
                let told = format!("{}: {}", status.phase, plain(&condition.message));
                (condition.last_transition_time.time(), told)
            }));
        }
        _ => {}
    }
    events.sort_by_key(|(at, _)| *at);
    let written = |at| Timestamp::new(at).to_the_second();
    events.into_iter().map(|(at, told)| format!("{}  {told}", written(at))).collect()
}

/// When an object was admitted, to the microsecond: what happens within a second keeps its order. It is only shown, so
/// whether the attestation holds is not asked.
fn admitted_at(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let attestation = metadata.annotations.as_ref().and_then(|all| all.get(ATTESTATION));
    let attestation = attestation.and_then(|text| serde_json::from_str::<Attestation>(text).ok());
    attestation.map(|attestation| attestation.admitted_at.time()).or_else(|| created_at(metadata))
}

fn said(decision: &AccessDecision) -> String {
    let spec = &decision.spec;
    let who = spec.decider.as_ref().map(describe);
    let what = match (spec.verdict, spec.duration, spec.outcome) {
        (Verdict::Approve, Some(duration), _) => format!("approved it for {duration}"),
        (Verdict::Approve, None, _) => "approved it".to_owned(),
        (Verdict::Deny, ..) => "denied it".to_owned(),
        (Verdict::End, ..) => "ended it".to_owned(),
        (Verdict::Review, _, Some(outcome)) => format!("reviewed it: {outcome}"),
        (Verdict::Review, _, None) => "reviewed it".to_owned(),
    };
    let comment = spec.comment.as_deref().map(|comment| format!(" ({})", plain(comment)));
    let who = plain(who.as_deref().unwrap_or("?"));
    format!("{who} {what}{}", comment.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decision(at: &str, spec: &Value) -> AccessDecision {
        let mut decision = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": "fix-x", "creationTimestamp": at},
            "spec": {"request": {"name": "fix", "uid": "u"}, "decider": {"username": "bob"}},
        });
        for (field, value) in spec.as_object().unwrap() {
            decision["spec"][field] = value.clone();
        }
        serde_json::from_value(decision).unwrap()
    }

    #[test]
    fn who_ended_it_on_a_host_is_not_taken_for_who_showed_credentials() {
        let decider = json!({
            "username": "alice", "endpointUser": {"endpoint": "web-1", "localUser": "al"},
        });
        let end = decision("2026-01-01T00:00:00Z", &json!({"verdict": "End", "decider": decider}));
        assert_eq!(said(&end), "alice (local user al of Endpoint web-1) ended it");
    }

    #[test]
    fn a_history_tells_who_did_what_in_its_order() {
        let request = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "fix", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "requester": {"username": "alice"},
            },
            "status": {
                "phase": "Ended", "startsAt": "2026-01-01T00:02:00.000000Z", "endedAt": "2026-01-01T00:10:00.000000Z",
                "endReason": "Revoked",
                "approval": {"stages": [], "escalatedAt": "2026-01-01T00:01:00.000000Z"},
            },
        });
        let request = serde_json::from_value(request).unwrap();
        let decisions = [
            decision("2026-01-01T00:03:00Z", &json!({"verdict": "End"})),
            decision("2026-01-01T00:01:30Z", &json!({"verdict": "Approve"})),
            decision(
                "2026-01-01T00:01:59Z",
                &json!({"verdict": "Approve", "duration": "30m", "comment": "Only that"}),
            ),
            decision("2026-01-01T00:09:00Z", &json!({"verdict": "Deny"})),
            decision("2026-01-01T00:11:00Z", &json!({"verdict": "Review", "outcome": "Justified"})),
            decision(
                "2026-01-01T00:12:00Z",
                &json!({"verdict": "Approve", "request": {"name": "fix", "uid": "other"}}),
            ),
        ];
        insta::assert_snapshot!(history(&request, &decisions).join("\n"), @r"
        2026-01-01T00:00:00Z  alice requested edit in shop
        2026-01-01T00:01:00Z  nobody had answered: the escalation approvers may approve, too
        2026-01-01T00:01:30Z  bob approved it
        2026-01-01T00:01:59Z  bob approved it for 30m (Only that)
        2026-01-01T00:02:00Z  access started
        2026-01-01T00:03:00Z  bob ended it
        2026-01-01T00:09:00Z  bob denied it
        2026-01-01T00:10:00Z  access ended: Revoked
        2026-01-01T00:11:00Z  bob reviewed it: Justified
        ");
    }
}
