use lapse_crds::{JitPolicySpec, PolicyEffect, PolicyTarget, Workstations};
use rstest::rstest;

use super::*;
use crate::Read;
use crate::origin::Workplace;
use crate::policy::BannedRoles;
use crate::testing::{edit_in, group, person, policy, settings};

fn states(policies: &[(&str, i32)]) -> Policies {
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

fn select_for<'a>(policies: &'a Policies, who: &Identity) -> Selection<'a> {
    select_from(policies, who, &Provenance::Unsaid)
}

fn select_from<'a>(
    policies: &'a Policies,
    who: &Identity,
    provenance: &Provenance,
) -> Selection<'a> {
    let (target, known) = (edit_in(&["shop"]), Surroundings::default());
    let asked = Asked {
        policy: None,
        requester: who,
        provenance,
        target: &target,
        emergency: false,
        known: &known,
        roles: NOTHING_KNOWN,
        at: now(),
    };
    select(policies, asked)
}

fn selected(policies: &Policies, who: &Identity) -> Result<String, String> {
    let selection = select_for(policies, who);
    selection.policy.map(|policy| policy.name().to_owned())
}

#[rstest]
#[case(&[("b", 100), ("a", 200)], "b")]
#[case(&[("b", 100), ("a", 100)], "a")]
#[case(&[("a", 200), ("b", 100), ("c", 50)], "c")]
fn the_lowest_priority_decides(#[case] policies: &[(&str, i32)], #[case] expected: &str) {
    let alice = person("alice", &["shop-developers"]);
    let states = states(policies);
    assert_eq!(selected(&states, &alice).unwrap(), expected);
}

#[test]
fn says_whether_the_priority_or_the_name_decided() {
    let alice = person("alice", &["shop-developers"]);
    let all = states(&[("b", 100), ("a", 100), ("c", 200)]);
    let candidates = select_for(&all, &alice).candidates;
    let reasons: Vec<&str> = candidates.iter().map(|candidate| &*candidate.reason).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    a comes first: both have priority 100, and its name is first in alphabetical order
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
        spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
    })
}

#[test]
fn a_deny_policy_wins_whatever_else_there_is() {
    let alice = person("alice", &["shop-developers"]);
    let mut all = states(&[("shop-debug", 0)]);
    all.insert(freeze("freeze", PolicyMode::Enforce));
    let selection = select_for(&all, &alice);
    assert_eq!(selection.denied_by.unwrap().name, "freeze");
    insta::assert_snapshot!(selection.policy.unwrap_err(), @"JitPolicy freeze denies it: The shop is frozen until Monday. Ask its owner.");
    // Neither a name nor anybody else changes that.
    let target = edit_in(&["shop"]);
    let named = Asked {
        policy: Some("shop-debug"),
        requester: &alice,
        provenance: &Provenance::Unsaid,
        target: &target,
        emergency: false,
        known: &Surroundings::default(),
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
        all.insert(freeze("freeze", mode));
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
    all.insert(with("trial", |spec| {
        spec.priority = 1;
        spec.mode = PolicyMode::Audit;
    }));
    all.insert(with("other-trial", |spec| {
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
    trial: it is in audit mode; it would allow it with the approval of group shop-managers
    other-trial: alice is not among its requesters
    ");
}

/// A policy for another place is none for this request, and the next one decides.
#[rstest]
#[case::there(Provenance::Proven(Workplace { endpoint: "ws-1".into(), ..Workplace::default() }), "paw")]
#[case::elsewhere(Provenance::Proven(Workplace { endpoint: "web-1".into(), ..Workplace::default() }), "shop-debug")]
#[case::anywhere(Provenance::Unsaid, "shop-debug")]
#[case::not_known(Provenance::Unknown("timeout".into()), "paw")]
fn a_policy_with_workstations_decides_what_is_asked_there(
    #[case] provenance: Provenance,
    #[case] expected: &str,
) {
    let alice = person("alice", &["shop-developers"]);
    let mut all = states(&[("shop-debug", 100)]);
    all.insert(with("paw", |spec| {
        spec.priority = 1;
        spec.workstations =
            Some(Workstations { names: vec!["ws-1".into()], ..Workstations::default() });
    }));
    let selection = select_from(&all, &alice, &provenance);
    assert_eq!(selection.policy.unwrap().name(), expected);
    if expected == "shop-debug" {
        insta::allow_duplicates! {
            insta::assert_snapshot!(selection.candidates[0].reason, @"it accepts requests only from the workstations ws-1");
        }
    }
}

#[test]
fn says_why_none_does() {
    let states = states(&[("shop-debug", 100)]);
    let mallory = person("mallory", &[]);
    let selection = select_for(&states, &mallory);
    insta::assert_snapshot!(selection.policy.unwrap_err(), @"No policy lets mallory request ClusterRole edit in shop; status.candidates says why for each. Request something that a policy offers, or ask the owners of the policies.");
    insta::assert_snapshot!(selection.candidates[0].reason, @"mallory is not among its requesters");
}

#[test]
fn a_policy_that_cannot_be_read_never_decides_and_is_shown() {
    let broken = PolicyState::unreadable("broken".into(), "u".into(), "missing field");
    let alice = person("alice", &["shop-developers"]);
    let mut states = states(&[("shop-debug", 100)]);
    states.insert(broken);
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
