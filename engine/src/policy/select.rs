//! Which policy decides a request, and why the others do not.

use chrono::{DateTime, Utc};
use lapse_crds::{Candidate, Identity, PolicyMode, PolicyRef};

use super::{Ban, Bans, Policy, PolicyState, RolesKnown, Rule, describe};
use crate::target::{Namespaces, ResolvedTarget};

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
    /// For what, spelled out.
    pub target: &'a ResolvedTarget,
    /// Whether it is an emergency, which not every policy gives anything in.
    pub emergency: bool,
    /// The namespaces of the target.
    pub namespaces: &'a Namespaces,
    /// The rules of the roles that bear on it.
    pub roles: RolesKnown<'a>,
    /// When the right would start.
    pub at: DateTime<Utc>,
}

/// Finds the policy that decides: a Deny policy that matches, whatever else there is; then the policy
/// that the request names; without a name, the matching one with the lowest priority number, ties by
/// name.
#[must_use]
pub fn select<'a>(policies: &'a [PolicyState], asked: Asked<'_>) -> Selection<'a> {
    let Asked { policy, requester, target, emergency: _, namespaces, roles, at } = asked;
    let bans = Bans::on(policies, requester, target, namespaces, roles);
    let banned_from = bans.return_at(at);
    if let Some(ban) = bans.in_force(at) {
        return Selection {
            policy: Err(format!("{} Ask its owner.", ban.message())),
            denied_by: Some(ban.reference()),
            banned_from,
            candidates: Vec::new(),
        };
    }
    let (policy, candidates) = match policy {
        Some(name) => (named(policies, name), audited(policies, asked, name)),
        None => by_priority(policies, asked),
    };
    Selection { policy, denied_by: None, banned_from, candidates: describe_candidates(candidates) }
}

fn named<'a>(policies: &'a [PolicyState], name: &str) -> Result<&'a Policy, String> {
    let Some(state) = policies.iter().find(|state| state.name == name) else {
        return Err(format!(
            "There is no JitPolicy {name}; see `kubectl get jitpolicies`, or leave spec.policy out."
        ));
    };
    match &state.compiled {
        _ if state.mode == PolicyMode::Disabled => Err(DISABLED.to_owned()),
        Ok(Rule::Allow(policy)) => Ok(policy),
        Ok(Rule::Deny(_)) => Err(format!(
            "JitPolicy {name} denies; nothing can be asked for under it. Name another, or leave \
             spec.policy out."
        )),
        Err(error) => Err(format!(
            "JitPolicy {name} cannot decide requests until its owner mends it: {error}"
        )),
    }
}

const DISABLED: &str = "Just-in-time requests are disabled.";

fn by_priority<'a>(
    policies: &'a [PolicyState],
    asked: Asked<'_>,
) -> (Result<&'a Policy, String>, Vec<(u8, Candidate)>) {
    let mut matching = Vec::new();
    let mut candidates = Vec::new();
    for state in policies {
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
                format!("both have priority {first}, and its name is the first by the alphabet")
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
            "No policy lets {} ask for {}{when}; status.candidates says why for each. Ask for something \
             that a policy offers, or ask the owners of the policies.",
            asked.requester.username, asked.target
        )
    });
    (policy, candidates)
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
    let Asked { requester, target, emergency, namespaces, .. } = asked;
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
    } else if !policy.offers(target, namespaces) {
        Err(Unsuitable::Elsewhere(format!("it does not offer {target}")))
    } else if emergency && policy.emergency().is_none() {
        Err(Unsuitable::Elsewhere("it offers no emergency access".to_owned()))
    } else {
        Ok(policy)
    }
}

const ONLY_AUDITS: &str = "it only audits";

fn would_allow(policy: &Policy, asked: Asked<'_>) -> String {
    let stages = &policy.approval().stages;
    if stages.is_empty() || asked.emergency {
        return "it would allow it without approval".to_owned();
    }
    let who: Vec<String> = stages.iter().map(|stage| describe(&stage.approvers)).collect();
    format!("it would allow it with the approval of {}", who.join("; "))
}

fn would_deny(state: &PolicyState, ban: &Ban, asked: Asked<'_>) -> Option<String> {
    let Asked { requester, target, namespaces, roles, at, .. } = asked;
    let is_audit = state.mode == PolicyMode::Audit && ban.is_in_force(at);
    let denies = is_audit && ban.matches(requester, target, namespaces, roles);
    denies.then(|| format!("{ONLY_AUDITS}; it would deny it"))
}

/// The policies on trial beside the one that a request names, as far as they match.
fn audited(policies: &[PolicyState], asked: Asked<'_>, name: &str) -> Vec<(u8, Candidate)> {
    let on_trial =
        policies.iter().filter(|state| state.mode == PolicyMode::Audit && state.name != name);
    let candidate = |state: &PolicyState| match suitability(state, asked)? {
        Err(why @ Unsuitable::Almost(_)) => Some(why.of(&state.name)),
        Ok(_) | Err(_) => None,
    };
    on_trial.filter_map(candidate).collect()
}

/// Keeps the 16 that are the nearest to deciding, and counts the rest.
fn describe_candidates(mut ranked: Vec<(u8, Candidate)>) -> Vec<Candidate> {
    ranked.sort_by(|(a, first), (b, second)| (a, &first.policy).cmp(&(b, &second.policy)));
    let mut candidates: Vec<Candidate> =
        ranked.into_iter().map(|(_, candidate)| candidate).collect();
    let rest = candidates.len().saturating_sub(SHOWN_CANDIDATES);
    if rest > 0 {
        candidates.truncate(SHOWN_CANDIDATES);
        let reason = format!("and {rest} more policies");
        candidates.push(Candidate { policy: String::new(), reason });
    }
    candidates
}

#[cfg(test)]
mod tests {
    use lapse_crds::{JitPolicySpec, PolicyEffect, PolicyTarget};
    use rstest::rstest;

    use super::*;
    use crate::Read;
    use crate::policy::BannedRoles;
    use crate::testing::{edit_in, group, person, policy, settings};

    fn states(policies: &[(&str, i32)]) -> Vec<PolicyState> {
        let state = |&(name, priority): &(&str, i32)| {
            let mut policy = policy(name);
            policy.spec.priority = priority;
            PolicyState::of(&policy, &settings())
        };
        policies.iter().map(state).collect()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    const NOTHING_KNOWN: RolesKnown<'_> =
        RolesKnown { asked: &Read::Missing, banned: &BannedRoles::new() };

    fn select_for<'a>(policies: &'a [PolicyState], who: &Identity) -> Selection<'a> {
        let (target, namespaces) = (edit_in(&["shop"]), Namespaces::new());
        let asked = Asked {
            policy: None,
            requester: who,
            target: &target,
            emergency: false,
            namespaces: &namespaces,
            roles: NOTHING_KNOWN,
            at: now(),
        };
        select(policies, asked)
    }

    fn selected(policies: &[PolicyState], who: &Identity) -> Result<String, String> {
        let selection = select_for(policies, who);
        selection.policy.map(|policy| policy.name().to_owned())
    }

    #[rstest]
    #[case(&[("b", 100), ("a", 200)], "b")]
    #[case(&[("b", 100), ("a", 100)], "a")]
    #[case(&[("a", 200), ("b", 100), ("c", 50)], "c")]
    fn the_lowest_priority_decides(#[case] policies: &[(&str, i32)], #[case] expected: &str) {
        let alice = person("alice", &["shop-developers"]);
        let mut states = states(policies);
        assert_eq!(selected(&states, &alice).unwrap(), expected);
        states.reverse();
        assert_eq!(selected(&states, &alice).unwrap(), expected);
    }

    #[test]
    fn says_whether_the_priority_or_the_name_decided() {
        let alice = person("alice", &["shop-developers"]);
        let all = states(&[("b", 100), ("a", 100), ("c", 200)]);
        let candidates = select_for(&all, &alice).candidates;
        let reasons: Vec<&str> = candidates.iter().map(|candidate| &*candidate.reason).collect();
        insta::assert_snapshot!(reasons.join("\n"), @r"
        a comes first: both have priority 100, and its name is the first by the alphabet
        a comes first: its priority is 100, this one's is 200
        ");
    }

    fn with(name: &str, change: impl FnOnce(&mut JitPolicySpec)) -> PolicyState {
        let mut policy = policy(name);
        change(&mut policy.spec);
        PolicyState::of(&policy, &settings())
    }

    /// Everything is denied to the developers of the shop.
    fn freeze(name: &str, mode: PolicyMode) -> PolicyState {
        with(name, |spec| {
            spec.effect = PolicyEffect::Deny;
            spec.mode = mode;
            spec.description = Some("The shop is frozen until Monday.".into());
            spec.targets = vec![PolicyTarget { all: true, kubernetes: None }];
        })
    }

    #[test]
    fn a_deny_policy_wins_whatever_else_there_is() {
        let alice = person("alice", &["shop-developers"]);
        let mut all = states(&[("shop-debug", 0)]);
        all.push(freeze("freeze", PolicyMode::Enforce));
        let selection = select_for(&all, &alice);
        assert_eq!(selection.denied_by.unwrap().name, "freeze");
        insta::assert_snapshot!(selection.policy.unwrap_err(), @"JitPolicy freeze denies it: The shop is frozen until Monday. Ask its owner.");
        // Neither a name nor anybody else changes that.
        let target = edit_in(&["shop"]);
        let named = Asked {
            policy: Some("shop-debug"),
            requester: &alice,
            target: &target,
            emergency: false,
            namespaces: &Namespaces::new(),
            roles: NOTHING_KNOWN,
            at: now(),
        };
        assert!(select(&all, named).policy.is_err());
        assert!(select_for(&all, &person("bob", &["others"])).denied_by.is_none());
    }

    #[test]
    fn a_deny_policy_that_is_switched_off_or_on_trial_denies_nothing() {
        let alice = person("alice", &["shop-developers"]);
        for (mode, shown) in [(PolicyMode::Disabled, None), (PolicyMode::Audit, Some("freeze"))] {
            let mut all = states(&[("shop-debug", 0)]);
            all.push(freeze("freeze", mode));
            let selection = select_for(&all, &alice);
            assert_eq!(selection.policy.unwrap().name(), "shop-debug");
            let shown_now = selection.candidates.first().map(|candidate| &*candidate.policy);
            assert_eq!(shown_now, shown, "{mode:?}");
        }
    }

    #[test]
    fn a_policy_on_trial_never_decides_and_says_what_it_would() {
        let alice = person("alice", &["shop-developers"]);
        let mut all = states(&[("shop-debug", 100)]);
        all.push(with("trial", |spec| {
            spec.priority = 1;
            spec.mode = PolicyMode::Audit;
        }));
        all.push(with("other-trial", |spec| {
            spec.mode = PolicyMode::Audit;
            spec.requesters = vec![group("nobody")];
        }));
        let selection = select_for(&all, &alice);
        assert_eq!(selection.policy.unwrap().name(), "shop-debug");
        let reasons: Vec<String> = selection
            .candidates
            .iter()
            .map(|candidate| format!("{}: {}", candidate.policy, candidate.reason))
            .collect();
        insta::assert_snapshot!(reasons.join("\n"), @r"
        trial: it only audits; it would allow it with the approval of group shop-managers
        other-trial: alice is not among its requesters
        ");
    }

    #[test]
    fn says_why_none_does() {
        let states = states(&[("shop-debug", 100)]);
        let mallory = person("mallory", &[]);
        let selection = select_for(&states, &mallory);
        insta::assert_snapshot!(selection.policy.unwrap_err(), @"No policy lets mallory ask for ClusterRole edit in shop; status.candidates says why for each. Ask for something that a policy offers, or ask the owners of the policies.");
        insta::assert_snapshot!(selection.candidates[0].reason, @"mallory is not among its requesters");
    }

    #[test]
    fn a_policy_that_cannot_be_read_never_decides_and_is_shown() {
        let broken = PolicyState::unreadable("broken".into(), "u".into(), "missing field");
        let alice = person("alice", &["shop-developers"]);
        let mut states = states(&[("shop-debug", 100)]);
        states.push(broken);
        assert_eq!(selected(&states, &alice).unwrap(), "shop-debug");
    }

    #[test]
    fn the_seventeenth_candidate_is_a_count() {
        let names: Vec<String> = (0..20).map(|n| format!("p{n:02}")).collect();
        let list: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let states = states(&list);
        let selection = select_for(&states, &person("mallory", &[]));
        assert_eq!(selection.candidates.len(), 17);
        assert_eq!(selection.candidates[16].reason, "and 4 more policies");
    }
}
