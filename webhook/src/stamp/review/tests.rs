use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, now};

/// The Grant of an emergency of alice that is over.
fn emergency(uid: &str, starts_at: &str) -> Grant {
    serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1",
        "kind": "Grant",
        "metadata": {"name": grant_name("shop", "fix-checkout", uid), "uid": format!("g-{uid}")},
        "spec": {
            "request": {"namespace": "shop", "name": "fix-checkout", "uid": uid},
            "policy": {"name": "shop-debug", "uid": "p-1", "generation": 3},
            "subject": {"kind": "User", "name": "alice"},
            "target": {"kubernetes": {
                "role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["shop"],
            }},
            "startsAt": starts_at,
            "expiresAt": "2026-11-21T11:00:00Z",
            "emergency": true,
            "reviewBy": "2026-11-22T10:00:00Z",
            "rulesHash": "sha256:role",
        },
        "status": {"phase": "Ended", "endReason": "Expired"},
    }))
    .unwrap()
}

fn reviewed(mut grant: Grant) -> Grant {
    let review =
        json!({"dueBy": "2026-11-22T10:00:00Z", "reviewedBy": "carol", "outcome": "Justified"});
    grant.status.as_mut().unwrap().review = serde_json::from_value(review).unwrap();
    grant
}

fn summaries(grants: &[Grant]) -> Vec<Arc<GrantSummary>> {
    grants.iter().map(|grant| Arc::new(GrantSummary::of(grant))).collect()
}

const EARLY: &str = "2026-11-21T09:00:00Z";
const LATE: &str = "2026-11-21T10:00:00Z";

#[rstest]
#[case::none(vec![], None)]
#[case::one(vec![emergency("r-1", EARLY)], Some("r-1"))]
#[case::the_one_that_waits(vec![emergency("r-1", EARLY), reviewed(emergency("r-2", LATE))], Some("r-1"))]
#[case::the_latest_reviewed(vec![reviewed(emergency("r-2", LATE)), reviewed(emergency("r-1", EARLY))], Some("r-2"))]
fn of_several_of_a_name_the_one_that_waits_is_meant(
    #[case] grants: Vec<Grant>,
    #[case] expected: Option<&str>,
) {
    let picked = pick(summaries(&grants), "fix-checkout").unwrap();
    assert_eq!(picked.as_ref().map(|grant| &*grant.request.uid), expected);
}

#[test]
fn two_that_wait_are_told_apart_by_their_uid() {
    let grants = vec![emergency("r-1", EARLY), emergency("r-2", LATE)];
    let error = pick(summaries(&grants), "fix-checkout").unwrap_err().to_string();
    assert_eq!(
        error,
        "2 emergencies named fix-checkout await review; set spec.request.uid to one of r-1 (of alice, from \
         2026-11-21T09:00:00.000000Z), r-2 (of alice, from 2026-11-21T10:00:00.000000Z)"
    );
}

fn policy() -> Policy {
    let policy = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1",
        "kind": "JitPolicy",
        "metadata": {"name": "shop-debug", "uid": "p-1", "generation": 4},
        "spec": {
            "requesters": [{"kind": "User", "name": "alice"}],
            "targets": [],
            "emergency": {
                "maxDuration": "1h",
                "review": {"within": "24h", "reviewers": [{"kind": "Group", "name": "security"}]},
            },
        },
    }));
    Policy::compile(&policy.unwrap(), &testing::settings()).unwrap()
}

fn case(policy: Option<Policy>, may_review: bool) -> ReviewCase {
    let (outcome, statements) = (ReviewOutcome::Justified, Statements::default());
    ReviewCase { outcome, grant: emergency("r-1", EARLY), policy, statements, may_review }
}

fn person(name: &str, groups: &[&str]) -> Identity {
    let groups: Value = json!(groups);
    serde_json::from_value(json!({"username": name, "groups": groups})).unwrap()
}

#[rstest]
#[case::a_reviewer("carol", &["security"], case(Some(policy()), false), Ok("reviewed as Justified: alice held"))]
#[case::own("alice", &["security"], case(Some(policy()), false), Err("nobody may review their own emergency"))]
#[case::not_a_reviewer("bob", &[], case(Some(policy()), true), Err("its reviewers are group security"))]
#[case::the_policy_is_gone("bob", &[], case(None, false), Err("jitpolicies/shop-debug, which bob does not"))]
#[case::with_the_verb("bob", &[], case(None, true), Ok("reviewed as Justified"))]
#[case::with_the_verb_and_own("alice", &[], case(None, true), Err("nobody may review their own emergency"))]
fn reviewers_review(
    #[case] who: &str,
    #[case] groups: &[&str],
    #[case] case: ReviewCase,
    #[case] expected: Result<&str, &str>,
) {
    let said = case.judge(&person(who, groups));
    match (&said, expected) {
        (Ok(said), Ok(expected)) => assert!(said.starts_with(expected), "{said}"),
        (Err(NotAdmitted::Forbidden(why)), Err(expected)) => {
            assert!(why.contains(expected), "{why}");
        }
        _ => panic!("{said:?}"),
    }
}

/// A review is about the right as it was given, not about what the policy has become.
#[test]
fn what_was_given_is_what_is_reviewed() {
    let case = case(Some(policy()), false);
    let Upon { uid, policy, rules_hash, rules } = case.upon();
    assert_eq!((uid, policy.unwrap().generation), ("r-1", 3));
    assert_eq!((rules_hash.as_deref(), rules), (Some("sha256:role"), vec![]));
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_refuses() {
    let (keys, key_set) = testing::keys(now());
    let admission = testing::admission(keys, key_set);
    for uid in [None, Some("r-1".to_owned())] {
        let about = RequestTarget { name: "fix-checkout".into(), uid };
        let error = find(admission.reader(), "shop", &about).await.unwrap_err();
        assert!(matches!(error, NotAdmitted::Failed(_)), "{error:?}");
    }
}
