//! Which policy decides a request, and why the others do not.

use lapse_crds::{AccessRequestSpec, Candidate, Identity, JitPolicy, PolicyMode};

use super::{Policy, PolicyError, PolicyErrorReason};
use crate::Settings;
use crate::target::ResolvedTarget;

/// How many policies that do not decide are shown on a request.
const SHOWN_CANDIDATES: usize = 16;

/// A policy of the cluster: compiled, or known to be unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyState {
    /// The name of the policy.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it is switched off, which counts even when nothing else in it can be used.
    pub is_disabled: bool,
    /// The policy, or what is wrong with it.
    pub compiled: Result<Policy, PolicyError>,
}

impl PolicyState {
    /// The state of a policy that was read.
    #[must_use]
    pub fn of(policy: &JitPolicy, settings: &Settings) -> Self {
        Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            uid: policy.metadata.uid.clone().unwrap_or_default(),
            is_disabled: policy.spec.mode == PolicyMode::Disabled,
            compiled: Policy::compile(policy, settings),
        }
    }

    /// The state of a policy that cannot be decoded.
    #[must_use]
    pub fn unreadable(name: String, uid: String, why: &str) -> Self {
        let message = format!("JitPolicy {name} cannot be read: {why}");
        let error = PolicyError { reason: PolicyErrorReason::Unreadable, message };
        Self { name, uid, is_disabled: false, compiled: Err(error) }
    }
}

/// Which policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The policy that decides, or why none does.
    pub policy: Result<&'a Policy, String>,
    /// The others, and why they do not.
    pub candidates: Vec<Candidate>,
}

/// Finds the policy that decides: the one that the request names; without a name, the matching one
/// with the lowest priority number, ties by name.
#[must_use]
pub fn select<'a>(
    policies: &'a [PolicyState],
    spec: &AccessRequestSpec,
    requester: &Identity,
    target: &ResolvedTarget,
) -> Selection<'a> {
    match &spec.policy {
        Some(name) => Selection { policy: named(policies, name), candidates: Vec::new() },
        None => by_priority(policies, requester, target),
    }
}

fn named<'a>(policies: &'a [PolicyState], name: &str) -> Result<&'a Policy, String> {
    let Some(state) = policies.iter().find(|state| state.name == name) else {
        return Err(format!(
            "There is no JitPolicy {name}; see `kubectl get jitpolicies`, or leave spec.policy out."
        ));
    };
    match &state.compiled {
        _ if state.is_disabled => Err(DISABLED.to_owned()),
        Ok(policy) => Ok(policy),
        Err(error) => Err(format!(
            "JitPolicy {name} cannot decide requests until its owner mends it: {error}"
        )),
    }
}

const DISABLED: &str = "Just-in-time requests are disabled.";

fn by_priority<'a>(
    policies: &'a [PolicyState],
    requester: &Identity,
    target: &ResolvedTarget,
) -> Selection<'a> {
    let mut matching = Vec::new();
    let mut candidates = Vec::new();
    for state in policies {
        match suitability(state, requester, target) {
            Ok(policy) => matching.push(policy),
            Err(reason) => candidates.push(Candidate { policy: state.name.clone(), reason }),
        }
    }
    matching.sort_by_key(|policy| (policy.priority, policy.name()));
    let mut matching = matching.into_iter();
    let decides = matching.next();
    if let Some(decides) = decides {
        candidates.extend(matching.map(|policy| Candidate {
            policy: policy.name().to_owned(),
            reason: format!(
                "{} comes first: its priority is {}, this one's is {}",
                decides.name(),
                decides.priority,
                policy.priority
            ),
        }));
    }
    candidates.sort_by(|a, b| a.policy.cmp(&b.policy));
    let policy = decides.ok_or_else(|| {
        format!(
            "No policy lets {} ask for {target}; status.candidates says why for each. Ask for \
             something that a policy offers, or ask the owners of the policies.",
            requester.username
        )
    });
    Selection { policy, candidates: describe_candidates(candidates) }
}

fn suitability<'a>(
    state: &'a PolicyState,
    requester: &Identity,
    target: &ResolvedTarget,
) -> Result<&'a Policy, String> {
    if state.is_disabled {
        return Err(DISABLED.to_owned());
    }
    let policy = state.compiled.as_ref().map_err(|error| format!("it is not ready: {error}"))?;
    if !policy.allows_requester(requester) {
        Err(format!("{} is not among its requesters", requester.username))
    } else if !policy.offers(target) {
        Err(format!("it does not offer {target}"))
    } else {
        Ok(policy)
    }
}

/// Keeps the first 16 and counts the rest.
#[must_use]
pub fn describe_candidates(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
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
    use rstest::rstest;

    use super::*;
    use crate::testing::{edit_in, person, policy, request_spec, settings};

    fn states(policies: &[(&str, i32)]) -> Vec<PolicyState> {
        let state = |&(name, priority): &(&str, i32)| {
            let mut policy = policy(name);
            policy.spec.priority = priority;
            PolicyState::of(&policy, &settings())
        };
        policies.iter().map(state).collect()
    }

    fn selected(policies: &[PolicyState], who: &Identity) -> Result<String, String> {
        let spec = AccessRequestSpec { policy: None, ..request_spec() };
        let selection = select(policies, &spec, who, &edit_in(&["shop"]));
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
    fn says_why_none_does() {
        let states = states(&[("shop-debug", 100)]);
        let mallory = person("mallory", &[]);
        let spec = AccessRequestSpec { policy: None, ..request_spec() };
        let selection = select(&states, &spec, &mallory, &edit_in(&["shop"]));
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
        let spec = AccessRequestSpec { policy: None, ..request_spec() };
        let states = states(&list);
        let selection = select(&states, &spec, &person("mallory", &[]), &edit_in(&["shop"]));
        assert_eq!(selection.candidates.len(), 17);
        assert_eq!(selection.candidates[16].reason, "and 4 more policies");
    }
}
