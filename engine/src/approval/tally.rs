//! Who counts in which stage, and whether that is enough.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapse_crds::{ApprovalOrder, GrantDuration, Stage, StageStatus};

use super::{Basis, Statement, Statements};
use crate::policy::describe;
use crate::seats;

/// How far an approval is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stages, and who counts in each.
    pub stages: Vec<StageStatus>,
    /// When the approval was complete; `None` while it is not.
    pub completed_at: Option<DateTime<Utc>>,
    /// The shortest duration that an approver set.
    pub duration: Option<GrantDuration>,
    /// Whether anybody approved the duration that was asked for, by setting none.
    pub as_asked: bool,
    /// Who is still to approve, in words; empty once complete.
    pub waiting_for: String,
    /// The same in few words, for lists: it says how many only where that is more than one.
    pub in_brief: String,
    /// When the escalation approvers were asked, too: the request was not approved by then.
    pub escalated_at: Option<DateTime<Utc>>,
    /// The approvals that no longer hold, or do not count at this time, in words.
    pub void: Option<String>,
}

/// Counts the approvals of a request, at this time.
///
/// Nobody counts twice, nobody for an own request unless the policy says so, and nobody who takes part in
/// a policy that is kept apart. Such a person is left out before anybody is seated, so that somebody else
/// who approved takes the seat, whoever was first.
#[must_use]
pub fn progress(basis: &Basis<'_>, statements: &Statements, now: DateTime<Utc>) -> Progress {
    let rules = basis.rules();
    let mut counted: Vec<&Statement> = Vec::new();
    let mut void: BTreeMap<&str, String> = BTreeMap::new();
    for statement in statements.approvals() {
        // Before the question who may approve: a change of the policy may have changed the answer,
        // and the request says so.
        if let Err(why) = basis.holds(statement) {
            let why = format!("no longer counts: {why}");
            void.insert(&statement.decider.username, why);
        } else if basis.counts(statement) {
            match basis.is_free(&statement.decider) {
                Ok(()) => counted.push(statement),
                Err(why) => {
                    let why = format!("does not count for now: {why}");
                    void.insert(&statement.decider.username, why);
                }
            }
        }
    }
    // Who approved again has nothing left to do.
    void.retain(|who, _| !counted.iter().any(|statement| statement.decider.username == *who));
    let completed = (1..=counted.len()).find(|count| is_complete(basis, &counted[..*count]));
    let completed_at = completed.map(|count| counted[count - 1].at);
    let assigned = assign(basis, &counted);
    let was_open = |at: &DateTime<Utc>| now >= *at && completed_at.is_none_or(|done| done >= *at);
    let escalated_at = rules.escalates_at(basis.requested_at).filter(was_open);
    Progress {
        waiting_for: waiting_for(basis, &assigned, escalated_at.is_some(), |count| {
            format!("{count} of ")
        }),
        in_brief: waiting_for(basis, &assigned, escalated_at.is_some(), |count| match count {
            1 => String::new(),
            more => format!("{more} of "),
        }),
        stages: rules
            .stages
            .iter()
            .zip(assigned)
            .map(|(stage, approved_by)| StageStatus {
                name: stage.name.clone(),
                required: stage.required,
                approved_by: approved_by.into_iter().map(ToOwned::to_owned).collect(),
            })
            .collect(),
        completed_at,
        duration: counted.iter().filter_map(|statement| statement.duration).min(),
        as_asked: counted.iter().any(|statement| statement.duration.is_none()),
        escalated_at,
        void: describe_void(&void),
    }
}

fn describe_void(void: &BTreeMap<&str, String>) -> Option<String> {
    let sentences: Vec<String> =
        void.iter().map(|(who, why)| format!("The approval by {who} {why}.")).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Whether these approvals complete every stage.
fn is_complete(basis: &Basis<'_>, counted: &[&Statement]) -> bool {
    let assigned = assign(basis, counted);
    basis.rules().stages.iter().zip(&assigned).all(|(stage, who)| is_full(stage, who))
}

fn is_full(stage: &Stage, who: &[&str]) -> bool {
    who.len() >= stage.required as usize
}

/// Who counts in which stage, each person once.
fn assign<'a>(basis: &Basis<'_>, counted: &[&'a Statement]) -> Vec<Vec<&'a str>> {
    let mut assigned = match basis.rules().order {
        ApprovalOrder::Parallel => in_parallel(basis, counted),
        ApprovalOrder::Sequential => in_sequence(basis, counted),
    };
    for names in &mut assigned {
        names.sort_unstable();
    }
    assigned
}

/// All stages are open: people sit where the most stages are complete.
fn in_parallel<'a>(basis: &Basis<'_>, counted: &[&'a Statement]) -> Vec<Vec<&'a str>> {
    let stages = &basis.rules().stages;
    let mut people: BTreeMap<&'a str, Vec<bool>> = BTreeMap::new();
    for statement in counted {
        // Whoever approves again may have become an approver of another stage since.
        let seats = people.entry(&statement.decider.username).or_insert(vec![false; stages.len()]);
        for (fits, stage) in seats.iter_mut().zip(stages) {
            *fits |= basis.fits(stage, &statement.decider, statement.at);
        }
    }
    let (names, fits): (Vec<&str>, Vec<Vec<bool>>) = people.into_iter().unzip();
    let required: Vec<u32> = stages.iter().map(|stage| stage.required).collect();
    let name = |person: usize| names[person];
    let seated = seats::assign(&required, &fits);
    seated.into_iter().map(|people| people.into_iter().map(name).collect()).collect()
}

/// One stage is open at a time: an approval counts in the stage that was open when it was given.
fn in_sequence<'a>(basis: &Basis<'_>, counted: &[&'a Statement]) -> Vec<Vec<&'a str>> {
    let stages = &basis.rules().stages;
    let mut assigned: Vec<Vec<&str>> = vec![Vec::new(); stages.len()];
    for statement in counted {
        let who = statement.decider.username.as_str();
        let Some(open) = first_open(stages, &assigned) else { break };
        let is_known = assigned.iter().any(|names| names.contains(&who));
        if !is_known && basis.fits(&stages[open], &statement.decider, statement.at) {
            assigned[open].push(who);
        }
    }
    assigned
}

fn first_open(stages: &[Stage], assigned: &[Vec<&str>]) -> Option<usize> {
    stages.iter().zip(assigned).position(|(stage, who)| !is_full(stage, who))
}

fn waiting_for(
    basis: &Basis<'_>,
    assigned: &[Vec<&str>],
    escalated: bool,
    how_many_of: fn(usize) -> String,
) -> String {
    let rules = basis.rules();
    let too = rules.describe_escalation().filter(|_| escalated);
    let too = too.map(|who| format!(", or {who}")).unwrap_or_default();
    let mut open = rules.stages.iter().zip(assigned).filter(|(stage, who)| !is_full(stage, who));
    let missing = |(stage, who): (&Stage, &Vec<&str>)| {
        let count = stage.required as usize - who.len();
        format!("{}{}{too}", how_many_of(count), describe(&stage.approvers))
    };
    match rules.order {
        ApprovalOrder::Parallel => open.map(missing).collect::<Vec<_>>().join("; "),
        ApprovalOrder::Sequential => {
            let now = open.next().map(missing);
            let then: Vec<String> = open.map(missing).collect();
            match (now, then.is_empty()) {
                (Some(now), true) => now,
                (Some(now), false) => format!("{now}; then {}", then.join("; then ")),
                (None, _) => String::new(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
