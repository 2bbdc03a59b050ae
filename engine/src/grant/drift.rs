//! What was changed on a host under a grant, and outlasts it, as the agent says.
//!
//! That the right is gone is one thing, what its holder left behind another: the first is the condition `Ended`, the second
//! `Drifted`. A host is compared with what it was before when the right is gone, which may take a while, and is awaited no
//! longer than a day.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    ComparedGrant, ConditionStatus, DriftFinding, EndpointTarget, GrantStatus, Timestamp,
};

use super::Observed;
use super::decide::{LOOK_AGAIN, condition};
use super::host::facts;
use crate::Read;
use crate::elevation::Elevation;
use crate::endpoint::DRIFTED;
use crate::lifetime::{COMPARING, comparing_on};
use crate::order::DriftReport;

/// For how long after its end a host is awaited that has not said what it found.
const AWAITED: TimeDelta = TimeDelta::days(1);

/// The host of a grant by which somebody may act as root.
fn watched(observed: &Observed) -> Option<&EndpointTarget> {
    let target = observed.grant.spec.target.endpoint.as_ref()?;
    Elevation::of(target)?.gives_root().then_some(target)
}

/// What the agent says, as far as it is of this grant.
struct Said<'a> {
    host: &'a str,
    findings: Vec<DriftFinding>,
    compared: Option<ComparedGrant>,
}

impl<'a> Said<'a> {
    fn of(observed: &Observed, host: &'a str, report: DriftReport) -> Self {
        let name = observed.grant.metadata.name.as_deref().unwrap_or_default();
        let is_own = |finding: &DriftFinding| finding.grants.iter().any(|grant| grant == name);
        let mut compared = report.compared.into_iter();
        Self {
            host,
            compared: compared.find(|compared| compared.grant == name),
            findings: report.findings.into_iter().filter(is_own).collect(),
        }
    }

    /// How many changes there are, and how many of them were undone. The list of an agent has room for some of them alone.
    fn count(&self) -> (usize, usize) {
        let listed = self.findings.len();
        let undone = self.findings.iter().filter(|finding| finding.reverted).count();
        match &self.compared {
            Some(of) => (of.found as usize, of.reverted as usize),
            None => (listed, undone),
        }
    }

    /// What it comes to: status, reason and message of the condition. `None` if nothing was found, and nobody has compared
    /// anything yet.
    fn verdict(&self) -> Option<(ConditionStatus, &'static str, String)> {
        let host = self.host;
        let unseen = self.compared.as_ref().and_then(|of| of.unseen.as_deref());
        let unseen = unseen.map(|what| format!(" Not looked at: {what}.")).unwrap_or_default();
        let (found, undone) = self.count();
        if found == 0 {
            self.compared.as_ref()?;
            let message = format!(
                "Endpoint {host} was compared with what it was before: nothing is left.{unseen}"
            );
            return Some((ConditionStatus::False, "Clean", message));
        }
        let first = self.findings.first().map_or_else(
            || "`lapse-agent drift show` lists them on the host".to_owned(),
            |first| format!("the first: {} {}", first.path, first.change),
        );
        let reason = if undone >= found { "Reverted" } else { "LeftBehind" };
        let message = format!(
            "Changes on Endpoint {host} that would outlast it: {found}, of which undone: {undone}; {first}.{unseen}"
        );
        Some((ConditionStatus::True, reason, message))
    }
}

fn set(
    observed: &Observed,
    status: &mut GrantStatus,
    (value, reason, message): (ConditionStatus, &str, String),
    now: DateTime<Utc>,
) {
    condition(status, &observed.grant, DRIFTED, value, reason, message, now);
}

/// Takes down what was found while the right is held.
pub(super) fn note(observed: &Observed, status: &mut GrantStatus, now: DateTime<Utc>) {
    let Some(EndpointTarget { name, .. }) = watched(observed) else { return };
    let report = facts(observed).and_then(|facts| facts.found().and_then(|facts| facts.drift()));
    let said = report.map(|report| Said::of(observed, name, report));
    if let Some(verdict) = said.and_then(|said| said.verdict()) {
        set(observed, status, verdict, now);
    }
}

/// Takes down that the host of a right which has just ended is to be compared with what it was before, or what came of
/// that. When to look again at the latest, if that is to be.
pub(super) fn begin(
    observed: &Observed,
    status: &mut GrantStatus,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let EndpointTarget { name, .. } = watched(observed)?;
    // An agent of an earlier release does not look for it.
    let report = facts(observed)?.found()?.drift()?;
    let said = Said::of(observed, name, report);
    if said.compared.is_some() {
        set(observed, status, said.verdict()?, now);
        return None;
    }
    let mut message =
        format!("The agent of Endpoint {name} compares the host with what it was before.");
    if let Some((_, _, found)) = said.verdict() {
        message = format!("{message} {found}");
    }
    set(observed, status, (ConditionStatus::Unknown, COMPARING, message), now);
    Some(now + AWAITED)
}

/// Takes down what came of the comparison of a host. When to look again at the latest, if that is to be.
pub(super) fn outlook(
    observed: &Observed,
    status: &mut GrantStatus,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let host = comparing_on(&observed.grant)?;
    let until = status.ended_at.map_or(now, Timestamp::time) + AWAITED;
    let report = match facts(observed)? {
        // No event follows.
        Read::Failed(_) if now < until => return Some((now + LOOK_AGAIN).min(until)),
        Read::Failed(_) | Read::Missing => None,
        Read::Found(facts) => facts.drift(),
    };
    let said = report.map(|report| Said::of(observed, host, report));
    match said {
        Some(said) if said.compared.is_some() => {
            set(observed, status, said.verdict()?, now);
            None
        }
        Some(_) if now < until => Some(until),
        said => {
            let found = said.and_then(|said| said.verdict());
            let found = found.map(|(_, _, found)| format!(" {found}")).unwrap_or_default();
            let message = format!(
                "Endpoint {host} was not compared with what it was before: its agent is gone, was replaced or removed, \
                 is of a release that does not do so, or has not done so within a day.{found}"
            );
            set(observed, status, (ConditionStatus::Unknown, "NotCompared", message), now);
            None
        }
    }
}
