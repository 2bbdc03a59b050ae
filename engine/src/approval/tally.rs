//! Who counts in which stage, and whether that is enough.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapse_crds::{GrantDuration, Identity, Stage, StageStatus};

use super::{Statement, Statements};
use crate::identity;
use crate::policy::{Policy, describe};

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
    /// The approvals that no longer hold, in words.
    pub void: Option<String>,
}

/// Counts the approvals of a request.
///
/// An approval holds for one content: the policy as it stood, and the rules of the role as they were.
/// Nobody counts twice, and nobody counts for an own request.
#[must_use]
pub fn progress(
    policy: &Policy,
    requester: &Identity,
    rules_hash: Option<&str>,
    statements: &Statements,
) -> Progress {
    let mut people: BTreeMap<&str, &Statement> = BTreeMap::new();
    let mut counted: Vec<&Statement> = Vec::new();
    let mut void: BTreeMap<&str, String> = BTreeMap::new();
    let mut completed_at = None;
    for statement in statements.approvals() {
        // Before the question who may approve: a change of the policy may have changed the answer,
        // and the request says so.
        if let Err(why) = holds(policy, rules_hash, statement) {
            void.insert(&statement.decider.username, why);
            continue;
        }
        if !may_count(policy, requester, &statement.decider) || !in_bounds(policy, statement) {
            continue;
        }
        counted.push(statement);
        people.entry(&statement.decider.username).or_insert(statement);
        if completed_at.is_none() && is_complete(policy.stages(), &people) {
            completed_at = Some(statement.at);
        }
    }
    let assigned = assign(policy.stages(), &people);
    // Who approved again has nothing left to do.
    void.retain(|who, _| !people.contains_key(who));
    Progress {
        waiting_for: waiting_for(policy.stages(), &assigned),
        stages: policy
            .stages()
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
        void: describe_void(&void),
    }
}

/// Whether this person is an approver of any stage, and not the requester.
pub(super) fn may_count(policy: &Policy, requester: &Identity, who: &Identity) -> bool {
    who.username != requester.username
        && policy.stages().iter().any(|stage| identity::matches_any(who, &stage.approvers))
}

/// Whether the duration that an approver set lies within the bounds of the policy.
pub(super) fn in_bounds(policy: &Policy, statement: &Statement) -> bool {
    let bounds = policy.duration();
    statement.duration.is_none_or(|set| set >= bounds.min && set <= bounds.max)
}

fn describe_void(void: &BTreeMap<&str, String>) -> Option<String> {
    let sentences: Vec<String> = void
        .iter()
        .map(|(who, why)| format!("The approval by {who} no longer holds: {why}."))
        .collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn holds(policy: &Policy, rules_hash: Option<&str>, statement: &Statement) -> Result<(), String> {
    let upon = statement.policy.as_ref();
    if upon.is_none_or(|upon| upon.name != policy.name()) {
        return Err(format!("JitPolicy {} decides now", policy.name()));
    }
    if upon != Some(policy.reference()) {
        return Err(format!("JitPolicy {} has changed since", policy.name()));
    }
    if rules_hash.is_none() || statement.rules_hash.as_deref() != rules_hash {
        return Err("the rules of the role have changed since".to_owned());
    }
    Ok(())
}

/// Whether everybody who approved, counted once each, completes every stage.
fn is_complete(stages: &[Stage], people: &BTreeMap<&str, &Statement>) -> bool {
    let assigned = assign(stages, people);
    stages.iter().zip(&assigned).all(|(stage, who)| who.len() >= stage.required as usize)
}

/// Assigns people to stages so that the most stages are complete. A policy has at most eight stages,
/// so every set of them can be tried, the larger and earlier first: for each, a bipartite matching
/// (augmenting paths, as in Ford–Fulkerson) says whether there are people enough. Whoever is left
/// fills stages that stay incomplete.
fn assign<'a>(stages: &[Stage], people: &BTreeMap<&'a str, &Statement>) -> Vec<Vec<&'a str>> {
    let eligible: Vec<(&'a str, Vec<bool>)> = people
        .iter()
        .map(|(name, statement)| {
            let fits = |stage: &Stage| identity::matches_any(&statement.decider, &stage.approvers);
            (*name, stages.iter().map(fits).collect())
        })
        .collect();
    let mut choices: Vec<u32> = (0..1u32 << stages.len()).collect();
    choices.sort_by_key(|choice| (std::cmp::Reverse(choice.count_ones()), *choice));
    let mut seats = Seats::default();
    for choice in choices {
        seats = Seats::new(stages, |stage| choice & (1 << stage) != 0);
        let placed = (0..eligible.len()).filter(|person| seats.place(&eligible, *person)).count();
        if placed == seats.len() {
            break;
        }
    }
    // Everybody keeps a seat in a complete stage; the rest take seats in the others.
    seats.extend(stages);
    for person in 0..eligible.len() {
        if !seats.taken_by(person) {
            seats.place(&eligible, person);
        }
    }
    let mut assigned = vec![Vec::new(); stages.len()];
    for (stage, person) in seats.0.iter().filter_map(|seat| Some((seat.stage, seat.person?))) {
        assigned[stage].push(eligible[person].0);
    }
    for names in &mut assigned {
        names.sort_unstable();
    }
    assigned
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    stage: usize,
    person: Option<usize>,
}

/// The places that the stages of a set have, and who sits there.
#[derive(Debug, Default)]
struct Seats(Vec<Seat>);

impl Seats {
    fn new(stages: &[Stage], included: impl Fn(usize) -> bool) -> Self {
        let seats = stages.iter().enumerate().filter(|(stage, _)| included(*stage)).flat_map(
            |(stage, rule)| (0..rule.required).map(move |_| Seat { stage, person: None }),
        );
        Self(seats.collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the seats of the stages that have none yet.
    fn extend(&mut self, stages: &[Stage]) {
        let missing = Self::new(stages, |stage| !self.0.iter().any(|seat| seat.stage == stage));
        self.0.extend(missing.0);
    }

    fn taken_by(&self, person: usize) -> bool {
        self.0.iter().any(|seat| seat.person == Some(person))
    }

    /// Seats a person, moving others to other seats where that makes room.
    fn place(&mut self, eligible: &[(&str, Vec<bool>)], person: usize) -> bool {
        let mut visited = vec![false; self.0.len()];
        self.augment(eligible, person, &mut visited)
    }

    fn augment(
        &mut self,
        eligible: &[(&str, Vec<bool>)],
        person: usize,
        visited: &mut [bool],
    ) -> bool {
        for seat in 0..self.0.len() {
            if visited[seat] || !eligible[person].1[self.0[seat].stage] {
                continue;
            }
            visited[seat] = true;
            let free = match self.0[seat].person {
                None => true,
                Some(other) => self.augment(eligible, other, visited),
            };
            if free {
                self.0[seat].person = Some(person);
                return true;
            }
        }
        false
    }
}

fn waiting_for(stages: &[Stage], assigned: &[Vec<&str>]) -> String {
    let open: Vec<String> = stages
        .iter()
        .zip(assigned)
        .filter_map(|(stage, who)| {
            let missing = (stage.required as usize).checked_sub(who.len()).filter(|n| *n > 0)?;
            Some(format!("{missing} of {}", describe(&stage.approvers)))
        })
        .collect();
    open.join("; ")
}

#[cfg(test)]
mod tests;
