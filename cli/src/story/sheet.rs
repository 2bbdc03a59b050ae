//! A request on one page, for who asked and for who decides.

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use lapse_crds::{
    AccessRequest, CheckOutcome, CheckStatus, Conditions as _, Grant, RequestPhase, ReviewStatus,
    created_at,
};
use lapse_engine::endpoint::DRIFTED;

use super::{requester, target, time_left, waiting_for, why};
use crate::countdown::moment;
use crate::output::{phase, phase_of, plain};

/// How wide the names of the lines are.
const WIDTH: usize = 11;

/// The lines of a page, each with its name.
struct Page(Vec<String>);

impl Page {
    fn line(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.0.push(format!("{name:WIDTH$}{text}"));
        }
    }
}

/// Where a request stands, and what it says.
pub(crate) fn sheet(request: &AccessRequest, now: DateTime<Utc>) -> Vec<String> {
    let spec = &request.spec;
    let status = request.status.clone().unwrap_or_default();
    let mut page = Page(Vec::new());
    let left = time_left(request, now);
    let stands = [phase(phase_of(request)), left].join(", ");
    let name = format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any());
    page.line("Request", &name);
    page.line("Phase", stands.trim_end_matches(", "));
    page.line("Why", &why(request).filter(|_| is_telling(request)).unwrap_or_default());
    page.line("Waits for", &waiting_for(request));
    let asked = created_at(&request.metadata).map(|at| moment(at, now)).unwrap_or_default();
    page.line("Requester", &format!("{}, {asked}", requester(request)));
    let emergency = if spec.emergency { " in an emergency" } else { "" };
    let asked_for = spec.duration.map(|duration| format!(" for {duration}")).unwrap_or_default();
    page.line("Access", &format!("{}{asked_for}{emergency}", target(request)));
    page.line("Reason", &plain(spec.reason.as_deref().unwrap_or_default()));
    page.line("Ticket", &plain(spec.ticket.as_deref().unwrap_or_default()));
    page.line("Extends", spec.extends.as_deref().unwrap_or_default());
    page.line("Policy", status.policy.as_ref().map_or("", |policy| &policy.name));
    for stage in status.approval.iter().flat_map(|approval| &approval.stages) {
        let by: Vec<String> = stage.approved_by.iter().map(|name| plain(name)).collect();
        let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
        let approved =
            format!("{} {} of {}{by}", stage.name, stage.approved_by.len(), stage.required);
        page.line("Approval", &approved);
    }
    if let (Some(start), RequestPhase::Scheduled | RequestPhase::Active | RequestPhase::Ended) =
        (status.starts_at, status.phase)
    {
        page.line("Starts", &moment(start.time(), now));
    }
    page.line("Expires", &status.expires_at.map(|at| moment(at.time(), now)).unwrap_or_default());
    let ended = status.ended_at.map(|at| {
        let reason = status.end_reason.map(|reason| format!(", {reason}")).unwrap_or_default();
        format!("{}{reason}", moment(at.time(), now))
    });
    page.line("Ended", &ended.unwrap_or_default());
    page.line(
        "Review",
        &status.review.as_ref().map(|review| reviewed(review, now)).unwrap_or_default(),
    );
    page.0
}

/// What the checks say that matters to who decides or waits.
pub(crate) fn remarks(request: &AccessRequest) -> Vec<String> {
    let mut page = Page(Vec::new());
    let checks = request.status.iter().flat_map(|status| &status.checks);
    for CheckStatus { name, outcome, message } in checks.filter(|check| is_remarkable(check)) {
        page.line("Check", &format!("{name:?} {outcome:?}: {}", plain(message)));
    }
    page.0
}

/// What its holder changed on a host that outlasts a right, as far as its Grant says.
pub(crate) fn drift(grant: &Grant) -> Vec<String> {
    let mut page = Page(Vec::new());
    let status = grant.status.as_ref();
    if let Some(drifted) = status.and_then(|status| status.conditions.condition(DRIFTED)) {
        page.line("Drift", &format!("{}: {}", drifted.reason, plain(&drifted.message)));
    }
    page.0
}

/// Whether the phase does not say everything.
fn is_telling(request: &AccessRequest) -> bool {
    !matches!(phase_of(request), RequestPhase::Active | RequestPhase::Scheduled)
}

/// What passed says nothing that matters here; but the risk of the role is for who decides.
fn is_remarkable(check: &CheckStatus) -> bool {
    matches!(check.outcome, CheckOutcome::Fail | CheckOutcome::Pending)
        || (check.name == lapse_crds::CheckName::Risk && check.outcome == CheckOutcome::Pass)
}

fn reviewed(review: &ReviewStatus, now: DateTime<Utc>) -> String {
    match (review.outcome, &review.reviewed_by) {
        (Some(outcome), Some(by)) => format!("{outcome}, by {}", plain(by)),
        _ => format!("due by {}", moment(review.due_by.time(), now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outlasts_a_right_is_told() {
        let grant = |conditions: serde_json::Value| -> Grant {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "shop-fix-0a"},
                "spec": {
                    "request": {"namespace": "shop", "name": "fix", "uid": "r"},
                    "policy": {"name": "p", "uid": "p", "generation": 1},
                    "subject": {"kind": "User", "name": "alice"},
                    "target": {"endpoint": {"name": "web-1", "admin": {}}}, "rulesHash": "h",
                    "startsAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-01T01:00:00Z",
                },
                "status": {"phase": "Ended", "conditions": conditions},
            }))
            .unwrap()
        };
        let drifted = serde_json::json!([{
            "type": "Drifted", "status": "True", "reason": "LeftBehind", "message": "a cron job\u{1b}",
            "lastTransitionTime": "2026-01-01T01:00:01Z",
        }]);
        assert_eq!(drift(&grant(drifted)), ["Drift      LeftBehind: a cron job\u{fffd}"]);
        assert_eq!(drift(&grant(serde_json::json!([]))), [""; 0]);
    }
}
