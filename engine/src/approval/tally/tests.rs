use lapse_crds::{Approval, Escalation, Identity, JitPolicy, Permission, Subject, Verdict};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::duties::Duties;
use crate::policy::Policy;
use crate::role::RoleRules;
use crate::testing::life::duties;
use crate::testing::{group, person, policy, settings, stage, user};

const NOW: i64 = 1000;

fn approved(who: &str, groups: &[&str], at: i64) -> Statement {
    Statement {
        decider: person(who, groups),
        verdict: Verdict::Approve,
        duration: None,
        outcome: None,
        comment: None,
        policy: Some(compiled(vec![]).reference().clone()),
        rules_hash: Some(RoleRules::default().hash()),
        rules: vec![],
        at: DateTime::from_timestamp(at, 0).unwrap(),
    }
}

fn with_stages(stages: Vec<Stage>) -> JitPolicy {
    let mut policy = policy("shop-debug");
    policy.spec.approval = Some(Approval { stages, ..Approval::default() });
    policy
}

fn compiled(stages: Vec<Stage>) -> Policy {
    Policy::compile(&with_stages(stages), &settings()).unwrap()
}

fn tally(policy: &Policy, requester: &Identity, said: &[Statement]) -> Progress {
    tally_among(policy, requester, said, &Duties::default())
}

fn tally_among(
    policy: &Policy,
    requester: &Identity,
    said: &[Statement],
    duties: &Duties,
) -> Progress {
    let requested_at = DateTime::from_timestamp(0, 0).unwrap();
    let role = RoleRules::default();
    let basis = Basis { policy, requester, requested_at, role: Some(&role), duties };
    progress(&basis, &Statements::of(said), DateTime::from_timestamp(NOW, 0).unwrap())
}

fn count(stages: Vec<Stage>, said: &[Statement]) -> Progress {
    let alice = person("alice", &["shop-developers"]);
    tally(&compiled(stages), &alice, said)
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
    assert_eq!(progress.waiting_for, "1 of group shop-managers; 1 of user olga");
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
    insta::assert_snapshot!(progress.void.unwrap(), @"The approval by bob no longer counts: JitPolicy shop-debug has changed since.");
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

fn policy_with(change: impl FnOnce(&mut Approval)) -> Policy {
    let stages = vec![managers(1), stage("owner", 1, vec![user("olga"), group("shop-managers")])];
    let mut policy = with_stages(stages);
    change(policy.spec.approval.as_mut().unwrap());
    Policy::compile(&policy, &settings()).unwrap()
}

#[test]
fn in_sequence_only_the_open_stage_counts() {
    let policy = policy_with(|approval| approval.order = ApprovalOrder::Sequential);
    let alice = person("alice", &[]);
    let olga = |at| approved("olga", &[], at);
    let bob = |at| approved("bob", &["shop-managers"], at);

    let progress = tally(&policy, &alice, &[]);
    insta::assert_snapshot!(progress.waiting_for, @"1 of group shop-managers; then 1 of user olga, group shop-managers");
    let early = tally(&policy, &alice, &[olga(1)]);
    assert_eq!(early.stages[1].approved_by, Vec::<String>::new(), "her stage was not open");
    let early = tally(&policy, &alice, &[olga(1), bob(2)]);
    insta::assert_snapshot!(early.waiting_for, @"1 of user olga, group shop-managers");
    let done = tally(&policy, &alice, &[bob(1), olga(2)]);
    assert_eq!(done.completed_at, DateTime::from_timestamp(2, 0));
    // Bob sits in the first stage; a second word of his is not a second person.
    assert_eq!(tally(&policy, &alice, &[bob(1), bob(2)]).completed_at, None);
}

#[test]
fn escalation_approvers_count_once_nobody_has_answered() {
    let policy = policy_with(|approval| {
        let after = "10m".parse().unwrap();
        approval.escalation = Some(Escalation { after, approvers: vec![group("directors")] });
    });
    let alice = person("alice", &[]);
    let directors =
        |at| [approved("dora", &["directors"], at), approved("dan", &["directors"], at)];
    assert_eq!(tally(&policy, &alice, &directors(599)).completed_at, None);
    let progress = tally(&policy, &alice, &directors(600));
    assert_eq!(progress.completed_at, DateTime::from_timestamp(600, 0));
    assert_eq!(progress.escalated_at, DateTime::from_timestamp(600, 0));
    insta::assert_snapshot!(tally(&policy, &alice, &[]).waiting_for, @"1 of group shop-managers, or group directors; 1 of user olga, group shop-managers, or group directors");
    // What was approved in time was never escalated.
    let managers = [approved("bob", &["shop-managers"], 1), approved("olga", &[], 2)];
    assert_eq!(tally(&policy, &alice, &managers).escalated_at, None);
}

#[test]
fn an_own_approval_counts_where_the_policy_says_so() {
    let said = [approved("alice", &["shop-managers"], 1), approved("olga", &[], 2)];
    let alice = person("alice", &["shop-managers"]);
    assert_eq!(tally(&policy_with(|_| {}), &alice, &said).completed_at, None);
    let own = policy_with(|approval| approval.self_approval = Permission::Allow);
    assert_eq!(tally(&own, &alice, &said).completed_at, DateTime::from_timestamp(2, 0));
}

#[test]
fn an_approval_without_a_credential_counts_where_impersonation_may() {
    let alice = person("alice", &[]);
    let said = [approved("bob", &["shop-managers"], 1), approved("olga", &[], 2)];
    assert!(tally(&policy_with(|_| {}), &alice, &said).completed_at.is_some());
    let strict = policy_with(|approval| approval.impersonation = Permission::Forbid);
    assert_eq!(tally(&strict, &alice, &said).completed_at, None);
    let known = said.map(|mut statement| {
        statement.decider.credential_id = Some("X509SHA256=1".to_owned());
        statement
    });
    assert!(tally(&strict, &alice, &known).completed_at.is_some());
}

/// Who is engaged elsewhere takes no seat from those who are not, whoever approved first.
#[rstest]
#[case(1, 2)]
#[case(2, 1)]
fn who_is_engaged_elsewhere_does_not_count(#[case] bob: i64, #[case] ben: i64) {
    let said = [approved("bob", &["shop-managers"], bob), approved("ben", &["shop-managers"], ben)];
    let policy = compiled(vec![managers(1)]);
    let alice = person("alice", &["shop-developers"]);
    let engaged = |said: &[Statement], holder: &str, approver: &str| {
        tally_among(&policy, &alice, said, &duties(holder, approver))
    };
    for (holder, approver) in [("bob", "carol"), ("carol", "bob")] {
        let progress = engaged(&said, holder, approver);
        assert_eq!(progress.stages[0].approved_by, ["ben"]);
        assert_eq!(progress.completed_at, DateTime::from_timestamp(ben, 0));
        assert_eq!(engaged(&said[..1], holder, approver).completed_at, None);
    }
    let void = engaged(&said[..1], "bob", "carol").void.unwrap();
    let expected = "The approval by bob does not count for now: bob holds access under JitPolicy shop-payments";
    assert!(void.starts_with(expected), "{void}");
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
        prop_assume!(Policy::compile(&with_stages(stages.clone()), &settings()).is_ok());
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
        prop_assume!(Policy::compile(&with_stages(stages.clone()), &settings()).is_ok());
        let said: Vec<Statement> = who
            .iter()
            .enumerate()
            .map(|(at, n)| approved(PEOPLE[*n], &[], i64::try_from(at).unwrap()))
            .collect();
        let reversed: Vec<Statement> = said.iter().rev().cloned().collect();
        prop_assert_eq!(count(stages.clone(), &said), count(stages, &reversed));
    }
}

#[test]
fn whoever_approves_again_counts_by_all_that_they_have_been() {
    let owners = stage("owner", 1, vec![user("bob"), user("dave")]);
    let said =
        [approved("bob", &[], 1), approved("bob", &["shop-managers"], 2), approved("dave", &[], 3)];
    let progress = count(vec![managers(1), owners.clone()], &said);
    assert_eq!(progress.completed_at, DateTime::from_timestamp(3, 0));
    // Twice the same person is one person.
    assert_eq!(count(vec![managers(1), owners], &said[..2]).completed_at, None);
}
