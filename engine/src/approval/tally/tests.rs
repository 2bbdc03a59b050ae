use lapse_crds::{Approval, JitPolicy, Subject, Verdict};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::testing::{group, person, policy, settings, stage, user};

const HASH: &str = "sha256:role";

fn approved(who: &str, groups: &[&str], at: i64) -> Statement {
    Statement {
        decider: person(who, groups),
        verdict: Verdict::Approve,
        duration: None,
        comment: None,
        policy: Some(compiled(vec![]).reference().clone()),
        rules_hash: Some(HASH.into()),
        at: DateTime::from_timestamp(at, 0).unwrap(),
    }
}

fn with_stages(stages: Vec<Stage>) -> JitPolicy {
    let mut policy = policy("shop-debug");
    policy.spec.approval = Some(Approval { stages, timeout: None });
    policy
}

fn compiled(stages: Vec<Stage>) -> Policy {
    Policy::compile(&with_stages(stages), &settings()).unwrap()
}

fn count(stages: Vec<Stage>, said: &[Statement]) -> Progress {
    let alice = person("alice", &["shop-developers"]);
    progress(&compiled(stages), &alice, Some(HASH), &Statements::of(said))
}

fn managers(required: u32) -> Stage {
    stage("manager", required, vec![group("shop-managers")])
}

#[test]
fn one_manager_is_enough_for_one() {
    let progress = count(vec![managers(1)], &[approved("bob", &["shop-managers"], 7)]);
    assert_eq!(progress.completed_at, DateTime::from_timestamp(7, 0));
    assert_eq!(progress.stages[0].approved_by, ["bob"]);
    assert_eq!(progress.waiting_for, "");
}

#[test]
fn says_who_is_missing() {
    let stages = vec![managers(2), stage("owner", 1, vec![user("olga")])];
    let progress = count(stages, &[approved("bob", &["shop-managers"], 7)]);
    assert_eq!(progress.completed_at, None);
    assert_eq!(progress.waiting_for, "1 of group shop-managers; 1 of olga");
}

#[test]
fn nobody_counts_twice_or_for_an_own_request() {
    let bob = approved("bob", &["shop-managers"], 1);
    let alice = approved("alice", &["shop-managers"], 2);
    let progress = count(vec![managers(2)], &[bob.clone(), bob, alice]);
    assert_eq!(progress.completed_at, None);
    assert_eq!(progress.stages[0].approved_by, ["bob"]);
}

/// Olga fits both stages and came first, bob fits one: first come, first seated would leave the
/// second stage empty.
#[rstest]
#[case(1, 2)]
#[case(2, 1)]
fn people_are_seated_so_that_most_stages_are_complete(#[case] olga: i64, #[case] bob: i64) {
    let stages = vec![managers(1), stage("owner", 1, vec![user("olga")])];
    let said =
        [approved("olga", &["shop-managers"], olga), approved("bob", &["shop-managers"], bob)];
    let progress = count(stages, &said);
    assert_eq!(progress.completed_at, DateTime::from_timestamp(2, 0));
    assert_eq!(progress.stages[0].approved_by, ["bob"]);
    assert_eq!(progress.stages[1].approved_by, ["olga"]);
}

#[test]
fn a_whole_stage_comes_before_two_half_ones() {
    let stages = vec![managers(3), stage("owner", 2, vec![user("olga"), user("bob")])];
    let said = [approved("olga", &["shop-managers"], 1), approved("bob", &["shop-managers"], 2)];
    let progress = count(stages, &said);
    assert_eq!(progress.stages[1].approved_by, ["bob", "olga"]);
    assert_eq!(progress.waiting_for, "3 of group shop-managers");
}

#[test]
fn the_shortest_duration_applies_and_one_out_of_bounds_does_not_count() {
    let set = |who: &str, duration: &str, at| Statement {
        duration: duration.parse().ok(),
        ..approved(who, &["shop-managers"], at)
    };
    let stages = || vec![managers(2)];
    let progress = count(stages(), &[set("bob", "2h", 1), set("olga", "30m", 2)]);
    assert_eq!(progress.duration, "30m".parse().ok());
    let progress = count(stages(), &[set("bob", "9h", 1), set("olga", "30m", 2)]);
    assert_eq!(progress.completed_at, None);
}

#[test]
fn an_approval_of_something_else_is_void() {
    let mut older = approved("bob", &["shop-managers"], 1);
    older.policy.as_mut().unwrap().generation = 0;
    let progress = count(vec![managers(1)], &[older]);
    insta::assert_snapshot!(progress.void.unwrap(), @"The approval by bob no longer holds: JitPolicy shop-debug has changed since.");
    assert_eq!(progress.completed_at, None);

    let widened = Statement {
        rules_hash: Some("sha256:other".into()),
        ..approved("bob", &["shop-managers"], 1)
    };
    let again = approved("bob", &["shop-managers"], 2);
    assert_eq!(count(vec![managers(1)], std::slice::from_ref(&widened)).completed_at, None);
    let progress = count(vec![managers(1)], &[widened, again]);
    assert_eq!(progress.completed_at, DateTime::from_timestamp(2, 0));
}

const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

fn any_stages() -> impl Strategy<Value = Vec<Stage>> {
    let approvers = prop::collection::btree_set(0..PEOPLE.len(), 1..PEOPLE.len());
    let shape = (1..3u32, approvers);
    prop::collection::vec(shape, 1..4).prop_map(|stages| {
        let named = stages.into_iter().enumerate().map(|(index, (required, approvers))| {
            let required = required.min(u32::try_from(approvers.len()).unwrap());
            let approvers: Vec<Subject> = approvers.into_iter().map(|n| user(PEOPLE[n])).collect();
            stage(&format!("s{index}"), required, approvers)
        });
        named.collect()
    })
}

/// The reference: tries every way of giving each person one seat or none.
fn can_complete(stages: &[Stage], people: &[&str], free: &mut Vec<u32>) -> bool {
    let Some((person, rest)) = people.split_first() else {
        return free.iter().all(|seats| *seats == 0);
    };
    if can_complete(stages, rest, free) {
        return true;
    }
    (0..stages.len()).any(|index| {
        if free[index] == 0 || !stages[index].approvers.contains(&user(person)) {
            return false;
        }
        free[index] -= 1;
        let complete = can_complete(stages, rest, free);
        free[index] += 1;
        complete
    })
}

proptest! {
    #[test]
    fn is_complete_exactly_when_people_can_be_seated(
        stages in any_stages(),
        who in prop::collection::vec(0..PEOPLE.len(), 0..8),
    ) {
        let said: Vec<Statement> = who
            .iter()
            .enumerate()
            .map(|(at, n)| approved(PEOPLE[*n], &[], i64::try_from(at).unwrap()))
            .collect();
        let mut people: Vec<&str> = who.iter().map(|n| PEOPLE[*n]).filter(|p| *p != "alice").collect();
        people.sort_unstable();
        people.dedup();
        let mut free: Vec<u32> = stages.iter().map(|stage| stage.required).collect();
        let expected = can_complete(&stages, &people, &mut free);
        let progress = count(stages.clone(), &said);
        let filled = progress.stages.iter().all(|s| s.approved_by.len() == s.required as usize);
        prop_assert_eq!(filled, expected);
        prop_assert_eq!(progress.completed_at.is_some(), expected);

        let mut seated: Vec<&String> = progress.stages.iter().flat_map(|s| &s.approved_by).collect();
        let seats = seated.len();
        seated.sort();
        seated.dedup();
        prop_assert_eq!(seated.len(), seats, "somebody counts twice");
        prop_assert!(seated.iter().all(|who| *who != "alice"), "the requester counts");
    }

    #[test]
    fn the_order_of_listing_is_irrelevant(
        stages in any_stages(),
        who in prop::collection::vec(0..PEOPLE.len(), 0..8).prop_shuffle(),
    ) {
        let said: Vec<Statement> = who
            .iter()
            .enumerate()
            .map(|(at, n)| approved(PEOPLE[*n], &[], i64::try_from(at).unwrap()))
            .collect();
        let reversed: Vec<Statement> = said.iter().rev().cloned().collect();
        prop_assert_eq!(count(stages.clone(), &said), count(stages, &reversed));
    }
}
