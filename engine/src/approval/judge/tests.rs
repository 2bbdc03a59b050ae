use chrono::TimeDelta;
use lapse_crds::{
    AccessRequestStatus, Approval, ApprovalOrder, Escalation, Permission, PolicyMode, RequestPhase,
    RequestTarget,
};
use rstest::rstest;

use super::*;
use crate::role::RoleRules;
use crate::testing::life::duties;
use crate::testing::{edit_in, group, local, person, policy, request_spec, settings, stage, user};

struct Case {
    verdict: Verdict,
    duration: Option<GrantDuration>,
    decider: Identity,
    request: AccessRequest,
    requester: Identity,
    policy: Result<Policy, String>,
    statements: Vec<Statement>,
    duties: Duties,
    names_uid: bool,
    may_approve: bool,
    kept_by: Option<&'static str>,
    may_deny: bool,
    now: DateTime<Utc>,
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

impl Default for Case {
    fn default() -> Self {
        let mut request = AccessRequest::new("fix-checkout", request_spec());
        request.metadata.uid = Some("uid-1".into());
        Self {
            verdict: Verdict::Approve,
            duration: None,
            decider: person("bob", &["shop-managers"]),
            request,
            requester: person("alice", &["shop-developers"]),
            policy: Ok(Policy::compile(&policy("shop-debug"), &settings()).unwrap()),
            statements: vec![],
            duties: Duties::default(),
            names_uid: false,
            may_approve: true,
            kept_by: None,
            may_deny: false,
            now: time(1),
        }
    }
}

impl Case {
    fn judge(&self) -> Result<String, String> {
        let decision = AccessDecisionSpec {
            request: RequestTarget { name: "fix-checkout".into(), uid: Some("uid-1".into()) },
            verdict: self.verdict,
            duration: self.duration,
            outcome: None,
            comment: None,
            origin: None,
            decider: None,
            policy: None,
            rules_hash: None,
            rules: vec![],
        };
        judge(&Judgement {
            decision: &decision,
            decider: &self.decider,
            request: &self.request,
            requester: &self.requester,
            requested_at: time(0),
            target: &edit_in(&["shop"]),
            policy: &self.policy,
            statements: &Statements::of(&self.statements),
            role: &Ok(RoleRules::default()),
            duties: &self.duties,
            names_uid: self.names_uid,
            may_approve: self.may_approve,
            kept_by: self.kept_by,
            may_deny: self.may_deny,
            now: self.now,
        })
        .map_err(|refusal| refusal.to_string())
    }

    fn said(&mut self, verdict: Verdict, who: Identity) {
        self.statements.push(Statement {
            decider: who,
            verdict,
            duration: None,
            outcome: None,
            comment: None,
            policy: self.policy.as_ref().ok().map(|policy| policy.reference().clone()),
            rules_hash: Some(RoleRules::default().hash()),
            rules: vec![],
            at: time(0),
        });
    }
}

#[test]
fn an_acceptance_says_what_was_decided() {
    insta::assert_snapshot!(Case::default().judge().unwrap(), @"you approved alice's request for ClusterRole edit in shop for 1h (request UID uid-1)");
    let shorter = Case { duration: "30m".parse().ok(), ..Case::default() };
    insta::assert_snapshot!(shorter.judge().unwrap(), @"you approved alice's request for ClusterRole edit in shop for 30m (request UID uid-1)");
}

#[rstest]
#[case::own_request(|c: &mut Case| c.decider = person("alice", &["shop-managers"]))]
#[case::not_an_approver(|c: &mut Case| c.decider = person("mallory", &["shop-developers"]))]
#[case::without_the_verb(|c: &mut Case| c.may_approve = false)]
#[case::too_late(|c: &mut Case| c.now = time(0) + TimeDelta::hours(24))]
#[case::too_long(|c: &mut Case| c.duration = "9h".parse().ok())]
#[case::twice(|c: &mut Case| {
    c.policy = Ok(Policy::compile(&dual(), &settings()).unwrap());
    c.said(Verdict::Approve, person("bob", &["shop-managers"]));
})]
#[case::stage_is_full(|c: &mut Case| {
    c.policy = Ok(Policy::compile(&dual(), &settings()).unwrap());
    c.said(Verdict::Approve, person("ben", &["shop-managers"]));
})]
#[case::complete(|c: &mut Case| c.said(Verdict::Approve, person("ben", &["shop-managers"])))]
#[case::denied(|c: &mut Case| c.said(Verdict::Deny, person("olga", &[])))]
#[case::ended(|c: &mut Case| c.said(Verdict::End, person("alice", &[])))]
#[case::over(|c: &mut Case| c.request.status = Some(AccessRequestStatus {
    phase: RequestPhase::Ended, ..AccessRequestStatus::default()
}))]
#[case::self_service(|c: &mut Case| c.policy = Ok(Policy::compile(&self_service(), &settings()).unwrap()))]
#[case::before_escalation(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.escalation = Some(directors())));
    c.decider = person("dora", &["directors"]);
})]
#[case::not_open_yet(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| {
        approval.stages = dual().spec.approval.unwrap().stages;
        approval.order = ApprovalOrder::Sequential;
    }));
    c.decider = person("olga", &[]);
})]
#[case::by_impersonation(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.impersonation = Permission::Forbid));
})]
#[case::without_the_uid(|c: &mut Case| c.policy = Ok(approved_by(|approval| approval.require_uid = true)))]
#[case::emergency(|c: &mut Case| c.request.spec.emergency = true)]
#[case::policy_is_gone(|c: &mut Case| c.policy = Err("There is no JitPolicy shop-debug.".into()))]
#[case::holds_what_is_kept_apart(|c: &mut Case| c.duties = duties("bob", "carol"))]
#[case::approved_what_is_kept_apart(|c: &mut Case| c.duties = duties("carol", "bob"))]
fn refuses_to_approve(#[case] change: fn(&mut Case)) {
    let mut case = Case::default();
    change(&mut case);
    let name = std::thread::current().name().unwrap().rsplit("::").next().unwrap().to_owned();
    insta::assert_snapshot!(name, case.judge().unwrap_err());
}

#[rstest]
#[case::after_escalation(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.escalation = Some(directors())));
    c.decider = person("dora", &["directors"]);
    c.now = time(1800);
})]
#[case::own_request(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.self_approval = Permission::Allow));
    c.decider = person("alice", &["shop-managers"]);
})]
#[case::with_a_credential(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.impersonation = Permission::Forbid));
    c.decider.credential_id = Some("JTI=1".into());
})]
#[case::with_the_uid(|c: &mut Case| {
    c.policy = Ok(approved_by(|approval| approval.require_uid = true));
    c.names_uid = true;
})]
fn lets_approve(#[case] change: fn(&mut Case)) {
    let mut case = Case::default();
    change(&mut case);
    assert_eq!(case.judge().map(|said| said.starts_with("you approved ")), Ok(true));
}

fn approved_by(change: fn(&mut Approval)) -> Policy {
    let mut policy = policy("shop-debug");
    change(policy.spec.approval.as_mut().unwrap());
    Policy::compile(&policy, &settings()).unwrap()
}

fn directors() -> Escalation {
    Escalation { after: "30m".parse().unwrap(), approvers: vec![group("directors")] }
}

#[test]
fn an_escalation_approver_may_deny_from_the_beginning() {
    let case = Case {
        verdict: Verdict::Deny,
        policy: Ok(approved_by(|approval| approval.escalation = Some(directors()))),
        decider: person("dora", &["directors"]),
        ..Case::default()
    };
    assert!(case.judge().is_ok(), "{:?}", case.judge());
}

fn dual() -> lapse_crds::JitPolicy {
    let mut policy = policy("shop-debug");
    let approval = policy.spec.approval.as_mut().unwrap();
    approval.stages.push(stage("owner", 1, vec![user("olga")]));
    policy
}

fn self_service() -> lapse_crds::JitPolicy {
    let mut policy = policy("shop-debug");
    policy.spec.approval = None;
    policy.spec.mode = PolicyMode::Enforce;
    policy
}

#[rstest]
#[case("bob", &["shop-managers"], false, true)]
#[case("carol", &["security"], true, true)]
#[case("carol", &["security"], false, false)]
#[case("alice", &["shop-managers"], false, false)]
fn approvers_and_holders_of_the_verb_deny(
    #[case] who: &str,
    #[case] groups: &[&str],
    #[case] may_deny: bool,
    #[case] accepted: bool,
) {
    let decider = person(who, groups);
    let case = Case { verdict: Verdict::Deny, decider, may_deny, ..Case::default() };
    assert_eq!(case.judge().is_ok(), accepted, "{:?}", case.judge());
}

#[test]
fn who_may_not_approve_for_other_duties_may_deny_and_end() {
    let apart = || duties("alice", "bob");
    let case = Case { verdict: Verdict::Deny, duties: apart(), ..Case::default() };
    assert!(case.judge().is_ok(), "{:?}", case.judge());
    let decider = person("alice", &[]);
    let case = Case { verdict: Verdict::End, duties: apart(), decider, ..Case::default() };
    assert!(case.judge().is_ok(), "{:?}", case.judge());
}

#[test]
fn who_holds_a_right_that_allows_approving_says_no_and_not_yes() {
    let held = || Case { kept_by: Some("ops-fix-1234567890"), ..Case::default() };
    insta::assert_snapshot!(held().judge().unwrap_err(), @"bob holds Grant ops-fix-1234567890, which also allows approving; until it ends, bob cannot approve anything. End it first, or let somebody else approve");
    let case = Case { verdict: Verdict::Deny, ..held() };
    assert!(case.judge().is_ok(), "{:?}", case.judge());
}

#[test]
fn only_the_requester_ends() {
    let alice = person("alice", &[]);
    let case = Case { verdict: Verdict::End, decider: alice, ..Case::default() };
    insta::assert_snapshot!(case.judge().unwrap(), @"you ended your own request for ClusterRole edit in shop (request UID uid-1)");
    let case = Case { verdict: Verdict::End, ..Case::default() };
    insta::assert_snapshot!(case.judge().unwrap_err(), @"only its requester, alice, may end request fix-checkout; an approver revokes it with verdict Deny");
}

/// What is refused in one way each, and what is said of an approval that is not the last.
#[test]
fn other_answers() {
    let mut audited = policy("shop-debug");
    audited.spec.mode = PolicyMode::Audit;
    let deny = |change: fn(&mut Case)| {
        let mut case = Case { verdict: Verdict::Deny, ..Case::default() };
        change(&mut case);
        case.judge()
    };
    let dual_case =
        Case { policy: Ok(Policy::compile(&dual(), &settings()).unwrap()), ..Case::default() };
    let answers = [
        Case { policy: Ok(Policy::compile(&audited, &settings()).unwrap()), ..Case::default() }
            .judge(),
        Case { kept_by: Some("shop-fix-1234567890"), ..Case::default() }.judge(),
        Case { verdict: Verdict::Review, ..Case::default() }.judge(),
        dual_case.judge(),
        deny(|_| {}),
        deny(|c| c.decider = person("mallory", &[])),
        deny(|c| c.decider = person("alice", &[])),
        deny(|c| {
            c.decider = person("mallory", &[]);
            c.policy = Err("There is no JitPolicy shop-debug.".into());
        }),
        Case { verdict: Verdict::End, ..Case::default() }.judge(),
    ];
    let lines =
        answers.map(|answer| answer.unwrap_or_else(|refusal| format!("refused: {refusal}")));
    insta::assert_snapshot!(lines.join("\n"));
}

/// Whoever asks on a host is whose local user they are, and may be who is called the same in the cluster.
#[rstest]
#[case::by_the_endpoint(
    "alice",
    "alice",
    "alice created request fix-checkout; nobody may approve their own request",
    false
)]
#[case::by_their_name(
    "al",
    "alice",
    "request fix-checkout was created by alice (local user al of Endpoint ws-1), who may be al; nobody may approve their own request",
    true
)]
#[case::of_nobody(
    "al",
    "lapse:endpoint:ws-1:al",
    "request fix-checkout was created by lapse:endpoint:ws-1:al (local user al of Endpoint ws-1), who may be al; nobody may approve their own request",
    true
)]
fn nobody_approves_what_they_asked_for_on_a_host(
    #[case] decider: &str,
    #[case] requester: &str,
    #[case] expected: &str,
    #[case] may_deny: bool,
) {
    let decider = person(decider, &["shop-managers"]);
    let requester = local("ws-1", "al", requester);
    let mut case = Case { decider, requester, ..Case::default() };
    assert_eq!(case.judge().unwrap_err(), expected);
    // What is theirs for sure they withdraw. Whoever is only called like a local user could not, and says no.
    case.verdict = Verdict::Deny;
    assert_eq!(case.judge().is_ok(), may_deny, "{:?}", case.judge());
    case.verdict = Verdict::End;
    assert_eq!(case.judge().is_ok(), !may_deny, "{:?}", case.judge());
    case.verdict = Verdict::Deny;
    case.decider = person("bob", &["shop-managers"]);
    assert!(case.judge().is_ok());
    case.verdict = Verdict::Approve;
    assert!(case.judge().is_ok());
}
