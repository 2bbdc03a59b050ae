//! Which policy decides a request, and why the others do not.

use chrono::{DateTime, Utc};
use lapse_crds::{Candidate, Identity, PolicyMode, PolicyRef};

use super::{Ban, Bans, NotFromThere, Policies, Policy, PolicyState, RolesKnown, Rule, describe};
use crate::origin::Provenance;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;

/// How many policies that do not decide are shown on a request.
const SHOWN_CANDIDATES: usize = 16;

/// Which policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The policy that decides, or why none lets the request pass.
    pub policy: Result<&'a Policy, String>,
    /// The Deny policy that decides against the request, if one does.
    pub denied_by: Option<&'a PolicyRef>,
    /// When a Deny policy will be in force that matches it, if none is when the right would start.
    pub banned_from: Option<DateTime<Utc>>,
    /// The others, and why they do not decide.
    pub candidates: Vec<Candidate>,
}

/// What a request asks, as far as policies are selected by it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The policy that it names, if it names one.
    pub policy: Option<&'a str>,
    /// Who asks.
    pub requester: &'a Identity,
    /// Where it was made.
    pub provenance: &'a Provenance,
    /// For what, spelled out.
    pub target: &'a ResolvedTarget,
    /// Whether it is an emergency, which not every policy gives anything in.
    pub emergency: bool,
    /// What is known of where it would hold.
    pub known: &'a Surroundings,
    /// The rules of the roles that bear on it.
    pub roles: RolesKnown<'a>,
    /// When the right would start.
    pub at: DateTime<Utc>,
}

/// Finds the policy that decides: a Deny policy that matches, whatever else there is; then the policy
/// that the request names; without a name, the matching one with the lowest priority number, ties by
/// name.
#[must_use]
pub fn select<'a>(policies: &'a Policies, asked: Asked<'_>) -> Selection<'a> {
    let Asked { policy, requester, provenance: _, target, emergency: _, known, roles, at } = asked;
    let bans = Bans::on(policies, requester, target, known, roles);
    let banned_from = bans.return_at(at);
    if let Some(ban) = bans.in_force(at) {
        return Selection {
            policy: Err(format!("{} Ask its owner.", ban.message(requester))),
            denied_by: Some(ban.reference()),
            banned_from,
            candidates: Vec::new(),
        };
    }
    let (policy, candidates) = match policy {
        Some(name) => {
            (named(policies, name), describe_candidates(audited(policies, asked, name), 0))
        }
        None => by_priority(policies, asked),
    };
    Selection { policy, denied_by: None, banned_from, candidates }
}

fn named<'a>(policies: &'a Policies, name: &str) -> Result<&'a Policy, String> {
    let Some(state) = policies.get(name) else {
        return Err(format!(
            "There is no JitPolicy {name}; `kubectl jit policies` lists those that are for you. Name one of them, or \
             leave spec.policy out."
        ));
    };
    match &state.compiled {
        _ if state.mode == PolicyMode::Disabled => Err(DISABLED.to_owned()),
        Ok(Rule::Allow(policy)) => Ok(policy),
        Ok(Rule::Deny(_)) => Err(format!(
            "JitPolicy {name} is a Deny policy; nothing can be requested under it. Name another, or leave spec.policy \
             out."
        )),
        Err(error) => Err(format!(
            "JitPolicy {name} cannot decide requests until its owner fixes it: {error}"
        )),
    }
}

const DISABLED: &str = "Just-in-time requests are disabled.";

fn by_priority<'a>(
    policies: &'a Policies,
    asked: Asked<'_>,
) -> (Result<&'a Policy, String>, Vec<Candidate>) {
    let mut matching = Vec::new();
    let mut candidates = Vec::new();
    let own = policies.of(asked.requester);
    let askable = own.values().filter(|state| state.is_askable()).count();
    for state in own.values() {
        match suitability(state, asked) {
            Some(Ok(policy)) => matching.push(policy),
            Some(Err(why)) => candidates.push(why.of(&state.name)),
            None => {}
        }
    }
    matching.sort_by_key(|policy| (policy.priority, policy.name()));
    let mut matching = matching.into_iter();
    let decides = matching.next();
    if let Some(decides) = decides {
        candidates.extend(matching.map(|policy| {
            let (first, second) = (decides.priority, policy.priority);
            let why = if first == second {
                format!("both have priority {first}, and its name is first in alphabetical order")
            } else {
                format!("its priority is {first}, this one's is {second}")
            };
            let reason = format!("{} comes first: {why}", decides.name());
            Unsuitable::Almost(reason).of(policy.name())
        }));
    }
    let policy = decides.ok_or_else(|| {
        let when = if asked.emergency { " in an emergency" } else { "" };
        format!(
            "No policy lets {} request {}{when}; status.candidates says why for each. Request something that a policy \
             offers, or ask the owners of the policies.",
            asked.requester.username, asked.target
        )
    });
    // Of the policies that are for others, only so many are looked at as are shown.
    let others =
        policies.iter().filter(|state| state.is_askable() && !own.contains_key(&*state.name));
    let shown = others.take(SHOWN_CANDIDATES.saturating_sub(candidates.len()));
    let shown: Vec<(u8, Candidate)> =
        shown.filter_map(|state| Some(suitability(state, asked)?.err()?.of(&state.name))).collect();
    let rest = (policies.askable() - askable).saturating_sub(shown.len());
    candidates.extend(shown);
    (policy, describe_candidates(candidates, rest))
}

/// Why a policy does not decide, the nearest to deciding first.
enum Unsuitable {
    /// It would decide, were it not for another or its mode.
    Almost(String),
    /// It does not offer what is asked for.
    Elsewhere(String),
    /// It is for other people, or for nobody.
    Others(String),
}

impl Unsuitable {
    fn of(self, policy: &str) -> (u8, Candidate) {
        let (rank, reason) = match self {
            Self::Almost(reason) => (0, reason),
            Self::Elsewhere(reason) => (1, reason),
            Self::Others(reason) => (2, reason),
        };
        (rank, Candidate { policy: policy.to_owned(), reason })
    }
}

/// Whether a policy can decide a request that names none, or why not. A Deny policy that does not deny
/// is no candidate.
fn suitability<'a>(
    state: &'a PolicyState,
    asked: Asked<'_>,
) -> Option<Result<&'a Policy, Unsuitable>> {
    if let Ok(Rule::Deny(ban)) = &state.compiled {
        return would_deny(state, ban, asked).map(|why| Err(Unsuitable::Almost(why)));
    }
    Some(allowed(state, asked).and_then(|policy| match state.mode {
        PolicyMode::Audit => {
            Err(Unsuitable::Almost(format!("{ONLY_AUDITS}; {}", would_allow(policy, asked))))
        }
        PolicyMode::Enforce | PolicyMode::Disabled => Ok(policy),
    }))
}

fn allowed<'a>(state: &'a PolicyState, asked: Asked<'_>) -> Result<&'a Policy, Unsuitable> {
    let Asked { requester, provenance, target, emergency, known, .. } = asked;
    if state.mode == PolicyMode::Disabled {
        return Err(Unsuitable::Others(DISABLED.to_owned()));
    }
    let policy = match &state.compiled {
        Ok(Rule::Allow(policy)) => policy,
        Ok(Rule::Deny(_)) => return Err(Unsuitable::Others("it denies".to_owned())),
        Err(error) => return Err(Unsuitable::Others(format!("it is not ready: {error}"))),
    };
    if !policy.allows_requester(requester) {
        let why = format!("{} is not among its requesters", requester.username);
        Err(Unsuitable::Others(why))
    } else if !policy.offers(target, known) {
        Err(Unsuitable::Elsewhere(format!("it does not offer {target}")))
    } else if emergency && policy.emergency().is_none() {
        Err(Unsuitable::Elsewhere("it offers no emergency access".to_owned()))
    } else if let Err(NotFromThere::Refused(_)) = policy.accepts_from(provenance) {
        let from = policy.describe_workstations().unwrap_or_default();
        Err(Unsuitable::Almost(format!("it accepts requests only from the workstations {from}")))
    } else {
        // Where that is not known, it may be the one that decides, which its check says.
        Ok(policy)
    }
}

const ONLY_AUDITS: &str = "it is in audit mode";

fn would_allow(policy: &Policy, asked: Asked<'_>) -> String {
    let stages = &policy.approval().stages;
    if stages.is_empty() || asked.emergency {
        return "it would allow it without approval".to_owned();
    }
    let who: Vec<String> = stages.iter().map(|stage| describe(&stage.approvers)).collect();
    format!("it would allow it with the approval of {}", who.join("; "))
}

fn would_deny(state: &PolicyState, ban: &Ban, asked: Asked<'_>) -> Option<String> {
    let Asked { requester, target, known, roles, at, .. } = asked;
    let is_audit = state.mode == PolicyMode::Audit && ban.is_in_force(at);
    let denies = is_audit && ban.matches(requester, target, known, roles);
    denies.then(|| format!("{ONLY_AUDITS}; it would deny it"))
}

/// The policies on trial beside the one that a request names, as far as they match.
fn audited(policies: &Policies, asked: Asked<'_>, name: &str) -> Vec<(u8, Candidate)> {
    if policies.on_trial().is_empty() {
        return Vec::new();
    }
    let own = policies.of(asked.requester);
    let on_trial =
        own.into_values().filter(|state| state.mode == PolicyMode::Audit && state.name != name);
    let candidate = |state: &PolicyState| match suitability(state, asked)? {
        Err(why @ Unsuitable::Almost(_)) => Some(why.of(&state.name)),
        Ok(_) | Err(_) => None,
    };
    on_trial.filter_map(candidate).collect()
}

/// Keeps the 16 that are the nearest to deciding, and counts the others and those that were not looked at.
fn describe_candidates(mut ranked: Vec<(u8, Candidate)>, unseen: usize) -> Vec<Candidate> {
    ranked.sort_by(|(a, first), (b, second)| (a, &first.policy).cmp(&(b, &second.policy)));
    let mut candidates: Vec<Candidate> =
        ranked.into_iter().map(|(_, candidate)| candidate).collect();
    let rest = candidates.len().saturating_sub(SHOWN_CANDIDATES) + unseen;
    if rest > 0 {
        candidates.truncate(SHOWN_CANDIDATES);
        let reason = format!("and {rest} more policies");
        candidates.push(Candidate { policy: String::new(), reason });
    }
    candidates
}

#[cfg(test)]
mod tests;
