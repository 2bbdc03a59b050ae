use lapse_crds::{Permission, ReviewOutcome, ReviewStatus};
use rstest::rstest;

use super::*;
use crate::testing::life::{active_emergency, carol, review};
use crate::testing::{emergency, person, policy, service_account, settings};

struct Case {
    grant: Grant,
    decider: Identity,
    policy: Option<Policy>,
    statements: Statements,
    may_review: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            grant: active_emergency().grant,
            decider: carol(),
            policy: Some(compiled(|_| {})),
            statements: Statements::default(),
            may_review: false,
        }
    }
}

fn compiled(change: impl FnOnce(&mut lapse_crds::JitPolicySpec)) -> Policy {
    let mut policy = policy("shop-debug");
    policy.spec.emergency = Some(emergency());
    change(&mut policy.spec);
    Policy::compile(&policy, &settings()).unwrap()
}

impl Case {
    fn judge(&self) -> Result<String, String> {
        let judged = judge_review(&Review {
            outcome: ReviewOutcome::Justified,
            decider: &self.decider,
            grant: &self.grant,
            policy: self.policy.as_ref(),
            statements: &self.statements,
            may_review: self.may_review,
        });
        judged.map_err(|refusal| refusal.to_string())
    }

    fn forbid_impersonation(&mut self) {
        self.policy = Some(compiled(|spec| {
            spec.approval.as_mut().unwrap().impersonation = Permission::Forbid;
        }));
    }
}

#[test]
fn an_acceptance_says_what_was_reviewed() {
    insta::assert_snapshot!(Case::default().judge().unwrap(), @"reviewed as Justified: alice held ClusterRole edit in shop in an emergency from 2026-11-18T11:06:50.000000Z to 2026-11-18T12:06:50.000000Z (request UID uid-1)");
}

#[rstest]
#[case::own(|c: &mut Case| c.decider = person("alice", &["security"]))]
#[case::not_a_reviewer(|c: &mut Case| c.decider = person("bob", &["shop-managers"]))]
#[case::the_verb_is_not_enough(|c: &mut Case| {
    c.decider = person("bob", &[]);
    c.may_review = true;
})]
#[case::policy_is_gone(|c: &mut Case| c.policy = None)]
#[case::policy_names_nobody(|c: &mut Case| c.policy = Some(compiled(|spec| spec.emergency = None)))]
#[case::policy_is_gone_and_own(|c: &mut Case| {
    c.policy = None;
    c.may_review = true;
    c.decider = person("alice", &[]);
})]
#[case::no_emergency(|c: &mut Case| c.grant.spec.review_by = None)]
#[case::never_given(|c: &mut Case| {
    c.grant.status.as_mut().unwrap().phase = lapse_crds::GrantPhase::Ended;
})]
#[case::recorded(|c: &mut Case| c.grant.status.as_mut().unwrap().review = Some(ReviewStatus {
    due_by: c.grant.spec.review_by.unwrap(),
    reviewed_by: Some("cyril".into()),
    outcome: Some(ReviewOutcome::Unjustified),
}))]
#[case::a_moment_ago(|c: &mut Case| {
    let said = review(ReviewOutcome::Unjustified, person("cyril", &["security"]), 30);
    c.statements = Statements::about("uid-1", &[said]);
})]
#[case::by_impersonation(Case::forbid_impersonation)]
fn refuses(#[case] change: fn(&mut Case)) {
    let mut case = Case::default();
    change(&mut case);
    let name = std::thread::current().name().unwrap().rsplit("::").next().unwrap().to_owned();
    insta::assert_snapshot!(name, case.judge().unwrap_err());
}

#[rstest]
#[case::with_the_verb_when_the_policy_is_gone(|c: &mut Case| {
    c.policy = None;
    c.may_review = true;
    c.decider = person("olga", &[]);
})]
#[case::with_the_verb_when_it_names_nobody(|c: &mut Case| {
    c.policy = Some(compiled(|spec| spec.emergency = None));
    c.may_review = true;
})]
#[case::own_credentials(|c: &mut Case| {
    c.forbid_impersonation();
    c.decider.credential_id = Some("JTI=1".into());
})]
#[case::an_own_review_does_not_count(|c: &mut Case| {
    let said = review(ReviewOutcome::Justified, person("alice", &["security"]), 30);
    c.statements = Statements::about("uid-1", &[said]);
})]
fn accepts(#[case] change: fn(&mut Case)) {
    let mut case = Case::default();
    change(&mut case);
    assert!(case.judge().is_ok(), "{:?}", case.judge());
}

/// A certificate may carry the name of the service account whose emergency it was.
#[test]
fn a_service_account_reviews_nothing_of_its_own() {
    let mut case =
        Case { decider: person("system:serviceaccount:ci:bot", &["security"]), ..Case::default() };
    case.grant.spec.subject = service_account("ci", "bot");
    assert!(case.judge().unwrap_err().contains("nobody may review their own emergency"));
    case.grant.spec.subject = service_account("ci", "other");
    assert!(case.judge().is_ok());
}
