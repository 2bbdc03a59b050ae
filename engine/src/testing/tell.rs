//! Plans in words, for snapshots: one line for each thing that a person would notice.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use lapse_crds::Condition;

use super::life::time;
use crate::grant::{Action, Warning};
use crate::waiting::{RECONCILING, STALLED};
use crate::{grant, request};

/// A plan for a request.
pub(crate) fn request(plan: &request::Plan) -> String {
    let mut text = String::new();
    match &plan.status {
        Some(status) => {
            line(&mut text, &format!("{}", status.phase));
            if let Some(reason) = status.end_reason {
                line(&mut text, &format!("because {reason}"));
            }
            conditions(&mut text, &status.conditions);
        }
        None => line(&mut text, "(nothing new)"),
    }
    if let Some(notice) = &plan.notice {
        let kind = if notice.warning { "Warning" } else { "Normal" };
        line(&mut text, &format!("event {kind} {}: {}", notice.reason, notice.message));
    }
    if let Some(grant) = &plan.create {
        let spec = &grant.spec;
        let from = seconds(spec.starts_at.time());
        let to = seconds(spec.expires_at.time());
        line(&mut text, &format!("grants {from} to {to}"));
    }
    wakes(&mut text, plan.wake_at);
    text
}

/// A plan for a grant.
pub(crate) fn grant(plan: &grant::Plan) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        let action = match action {
            Action::Create(binding) => format!("create {}", binding.describe()),
            Action::Delete { object, uid } => format!("delete {} ({uid})", object.describe()),
            Action::Stop { started, grace_seconds: Some(grace_s) } => {
                format!("stop {started} within {grace_s} s")
            }
            Action::Stop { started, grace_seconds: None } => format!("stop {started}"),
            Action::RemoveFinalizer => "let the grant go".to_owned(),
        };
        line(&mut text, &action);
    }
    match &plan.status {
        Some(status) => {
            line(&mut text, &format!("{}", status.phase));
            if let Some(reason) = status.end_reason {
                line(&mut text, &format!("because {reason}"));
            }
            conditions(&mut text, &status.conditions);
        }
        None => line(&mut text, "(nothing new)"),
    }
    if let Some(Warning { event, notice }) = &plan.warning {
        let kind = if notice.warning { "Warning" } else { "Normal" };
        line(&mut text, &format!("event {event} {kind} {}: {}", notice.reason, notice.message));
    }
    wakes(&mut text, plan.wake_at);
    text
}

fn conditions(text: &mut String, conditions: &[Condition]) {
    // What tools that wait are told follows from the phase.
    let told = [RECONCILING, STALLED];
    for condition in conditions.iter().filter(|known| !told.contains(&&*known.r#type)) {
        let Condition { r#type, status, reason, message, .. } = condition;
        line(text, &format!("{type}={status:?} {reason}: {message}"));
    }
}

fn wakes(text: &mut String, wake_at: Option<DateTime<Utc>>) {
    if let Some(at) = wake_at {
        line(text, &format!("looks again at {}", seconds(at)));
    }
}

/// Seconds since alice asked.
fn seconds(at: DateTime<Utc>) -> String {
    format!("{} s", (at - time(0)).num_seconds())
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
