//! What is let through, and what a stolen token would try.

mod hosts;
mod records;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use lapse_crds::{
    AccessDecision, AccessRequest, EXPIRES_AT, GRANT_FINALIZER, GRANT_LABEL, Grant, GrantPhase,
    GrantRef, GrantStatus, MANAGED_BY_LAPSE, RbacKind, RequestPhase, Verdict,
};
use rstest::rstest;

use self::records::{DAY, may_go};
use super::*;
use crate::Read;
use crate::attest::Attested;
use crate::grant::{self as grant_observed, ObjectSpec};
use crate::request::{self, Observed};
use crate::retention::Retentions;
use crate::target::Place;
use crate::testing::life::{
    self, APPROVED_AT, active, approved, asked, bob, intact, marked, pending, role, time,
    unattested,
};
use crate::testing::{cluster_role, person, policy, user};

/// The Grant as the controller sends it for what is observed, by its own clock.
fn sent(observed: &Observed, now: i64) -> Grant {
    *request::decide(observed, time(now)).create.unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Unconfirmed>) -> String {
    match result.unwrap_err() {
        Unconfirmed::Refused(why) => why,
        Unconfirmed::Unknown(why) => panic!("unknown: {why}"),
    }
}

#[test]
fn the_grant_that_follows_is_let_through_as_long_as_its_request_stands() {
    let grant = sent(&approved(), APPROVED_AT + 1);
    for now in [APPROVED_AT, APPROVED_AT + 60, APPROVED_AT + 3599] {
        super::grant(approved(), &grant, time(now)).unwrap();
    }
    let late = super::grant(approved(), &grant, time(APPROVED_AT + 3600));
    assert!(refusal(late).contains("it expired"));
}

/// A second controller may have been faster: then the API server says that the name is taken.
#[test]
fn that_one_stands_already_is_for_the_api_server_to_say() {
    let grant = sent(&approved(), APPROVED_AT + 1);
    let observed = Observed { grant: Read::Found(marked()), ..approved() };
    super::grant(observed, &grant, time(APPROVED_AT + 1)).unwrap();
}

/// The clock of the controller is behind that of the webhook that stamped the approval.
#[rstest]
#[case::by_seconds(3, true)]
#[case::by_as_much_as_may_be(APPROVED_AT, true)]
#[case::by_more(APPROVED_AT + 1, false)]
fn a_start_by_a_clock_that_is_behind_is_within_bounds(#[case] behind: i64, #[case] passes: bool) {
    let grant = sent(&approved(), APPROVED_AT - behind);
    assert_eq!(grant.spec.starts_at.time(), time(APPROVED_AT - behind));
    let judged = super::grant(approved(), &grant, time(APPROVED_AT));
    assert_eq!(judged.is_ok(), passes, "{judged:?}");
}

/// It was asked for a start that has come by the controller's clock only.
#[test]
fn a_start_may_have_come_by_the_other_clock_alone() {
    let mut observed = approved();
    observed.request.object.spec.start_time = Some(time(600).into());
    let grant = sent(&observed, 600);
    super::grant(observed.clone(), &grant, time(595)).unwrap();
    let early = super::grant(observed, &grant, time(500));
    assert!(refusal(early).contains("It starts at"));
}

#[rstest]
#[case::another_person(|grant: &mut Grant| grant.spec.subject = user("mallory"), "spec.subject")]
#[case::for_longer(|grant: &mut Grant| grant.spec.expires_at = time(9999).into(), "spec.expiresAt")]
#[case::from_later(|grant: &mut Grant| grant.spec.starts_at = time(60).into(), "spec.startsAt")]
#[case::another_role(
    |grant: &mut Grant| grant.spec.target.kubernetes.as_mut().unwrap().role = Some(cluster_role("admin")),
    "spec.target"
)]
#[case::elsewhere(
    |grant: &mut Grant| grant.spec.target.kubernetes.as_mut().unwrap().namespaces = vec!["bank".into()],
    "spec.target"
)]
#[case::everywhere(
    |grant: &mut Grant| grant.spec.target.kubernetes.as_mut().unwrap().cluster_wide = true,
    "spec.target"
)]
#[case::by_an_older_policy(|grant: &mut Grant| grant.spec.policy.generation = 0, "spec.policy")]
#[case::of_another_request(|grant: &mut Grant| grant.spec.request.uid = "uid-0".into(), "spec.request")]
#[case::approved_by_others(|grant: &mut Grant| grant.spec.approved_by = vec!["olga".into()], "spec.approvedBy")]
#[case::as_an_emergency(|grant: &mut Grant| grant.spec.emergency = true, "spec.emergency")]
#[case::for_another_ticket(|grant: &mut Grant| grant.spec.ticket = Some("INC1".into()), "spec.ticket")]
#[case::for_other_rules(|grant: &mut Grant| grant.spec.rules_hash = role("*").hash(), "spec.rulesHash")]
#[case::with_rules(|grant: &mut Grant| grant.spec.rules = vec![], "spec.rules")]
#[case::without_the_mark_of_its_holder(|grant: &mut Grant| grant.spec.session = None, "spec.session")]
#[case::under_another_name(|grant: &mut Grant| grant.metadata.name = Some("other".into()), "metadata.name")]
#[case::that_would_not_wait(|grant: &mut Grant| grant.metadata.finalizers = None, "metadata.finalizers")]
#[case::that_stays(
    |grant: &mut Grant| grant.metadata.finalizers = Some(vec![GRANT_FINALIZER.into(), "x/y".into()]),
    "metadata.finalizers"
)]
#[case::with_an_owner(
    |grant: &mut Grant| grant.metadata.owner_references = Some(vec![OwnerReference::default()]),
    "metadata.ownerReferences"
)]
#[case::with_a_label_of_lapse(
    |grant: &mut Grant| grant.metadata.labels = Some([(GRANT_LABEL.into(), "x".into())].into()),
    "metadata.labels"
)]
fn another_grant_than_was_approved_is_refused(#[case] change: fn(&mut Grant), #[case] field: &str) {
    let mut grant = sent(&approved(), APPROVED_AT + 1);
    change(&mut grant);
    let why = refusal(super::grant(approved(), &grant, time(APPROVED_AT + 1)));
    assert_eq!(why, format!("{field} is not what was approved"));
}

fn with_status(change: impl FnOnce(&mut lapse_crds::AccessRequestStatus)) -> Observed {
    let mut observed = approved();
    change(observed.request.object.status.get_or_insert_default());
    observed
}

#[rstest]
#[case::nobody_approved(asked(), "It waits for 1 of")]
#[case::the_requester_approved({
    let mut observed = asked();
    observed.says(life::decision(Verdict::Approve, person("alice", &["shop-developers"]), 5));
    observed
}, "It waits for")]
#[case::a_forged_approval({
    let mut observed = asked();
    observed.says(unattested(life::decision(Verdict::Approve, bob(), APPROVED_AT)));
    observed
}, "It waits for")]
#[case::denied({
    let mut observed = approved();
    observed.says(life::decision(Verdict::Deny, bob(), APPROVED_AT + 1));
    observed
}, "Denied by bob")]
#[case::withdrawn({
    let mut observed = approved();
    observed.says(life::decision(Verdict::End, person("alice", &["shop-developers"]), 11));
    observed
}, "Withdrawn by alice")]
#[case::a_forged_request({
    let observed = approved();
    Observed { request: unattested(observed.request.clone()), ..observed }
}, "The request is not accepted")]
#[case::over(with_status(|status| status.phase = RequestPhase::Ended), "the request is Ended")]
#[case::granted_before(
    with_status(|status| status.grant = Some(GrantRef { name: "g".into(), uid: "g-1".into() })),
    "the request is Ended"
)]
#[case::the_policy_has_changed({
    let mut observed = approved();
    observed.policy_becomes(|_| {});
    observed
}, "It waits for")]
#[case::the_role_has_gained({
    let observed = approved();
    Observed { role: Read::Found(role("get delete")), ..observed }
}, "It waits for")]
fn nothing_is_given_that_nobody_approved(#[case] observed: Observed, #[case] words: &str) {
    let grant = sent(&approved(), APPROVED_AT + 1);
    let why = refusal(super::grant(observed, &grant, time(APPROVED_AT + 2)));
    assert!(why.contains(words), "{why}");
}

#[rstest]
#[case::decisions(Observed { decisions: Read::Failed("down".into()), ..approved() })]
#[case::policies(Observed { policies: Read::Failed("down".into()), ..approved() })]
#[case::role(Observed { role: Read::Failed("down".into()), ..approved() })]
#[case::peers(Observed { peers: Read::Failed("down".into()), ..approved() })]
#[case::grant(Observed { grant: Read::Failed("down".into()), ..approved() })]
#[case::namespace({
    let mut observed = approved();
    observed.surroundings.namespaces.insert("shop".into(), Read::Failed("down".into()));
    observed
})]
fn what_cannot_be_looked_up_is_not_known(#[case] observed: Observed) {
    let grant = sent(&approved(), APPROVED_AT + 1);
    let judged = super::grant(observed, &grant, time(APPROVED_AT + 1));
    assert_eq!(judged, Err(Unconfirmed::Unknown("down".into())));
}

/// The marker of the holder, in the namespace of Lapse, is an object of the grant like any other.
#[test]
fn the_marker_of_a_grant_is_let_through() {
    let observed = life::pending_by(marked(), &["shop"]);
    let marker = observed.objects[0].0.clone();
    let place = Place { namespace: Some("lapse-system".into()) };
    let judged = object(observed, RbacKind::RoleBinding, &place, &marker.name, time(11));
    assert_eq!(judged, Ok(marker));
}

fn shop() -> Place {
    Place { namespace: Some("shop".into()) }
}

fn binding(observed: grant_observed::Observed, now: i64) -> Result<ObjectSpec, Unconfirmed> {
    let name = observed.objects[0].0.name.clone();
    object(observed, RbacKind::RoleBinding, &shop(), &name, time(now))
}

#[test]
fn the_binding_of_a_grant_that_is_pending_is_let_through() {
    let expected = pending().objects[0].0.clone();
    assert_eq!(binding(pending(), APPROVED_AT + 2), Ok(expected.clone()));
    // A second controller may have been faster: then the API server says that the name is taken.
    let mut there = pending();
    there.objects[0].1 = Read::Found(intact(&expected, "there"));
    assert_eq!(binding(there, APPROVED_AT + 2), Ok(expected));
}

#[rstest]
#[case::another_place(RbacKind::RoleBinding, Some("bank"), None)]
#[case::cluster_wide(RbacKind::ClusterRoleBinding, None, None)]
#[case::a_role(RbacKind::Role, Some("shop"), None)]
#[case::another_name(RbacKind::RoleBinding, Some("shop"), Some("lapse:other"))]
fn no_other_object_is_let_through(
    #[case] kind: RbacKind,
    #[case] namespace: Option<&str>,
    #[case] name: Option<&str>,
) {
    let observed = pending();
    let own = observed.objects[0].0.name.clone();
    let place = Place { namespace: namespace.map(Into::into) };
    let judged = object(observed, kind, &place, name.unwrap_or(&own), time(APPROVED_AT + 2));
    assert_eq!(refusal(judged), "no such object belongs to the grant");
}

#[rstest]
#[case::held_already(active(), "the grant is Active")]
#[case::revoked({
    let mut observed = pending();
    observed.says(life::decision(Verdict::Deny, bob(), APPROVED_AT + 1));
    observed
}, "Denied by bob")]
#[case::its_request_is_over({
    let mut observed = pending();
    observed.request_is_over();
    observed
}, "The request is over")]
#[case::its_request_is_gone({
    let observed = pending();
    grant_observed::Observed { request: Read::Missing, ..observed }
}, "The request was deleted")]
#[case::being_deleted({
    let mut observed = pending();
    observed.grant.metadata.deletion_timestamp = Some(life::deleted_at());
    observed
}, "The grant was deleted")]
#[case::ended({
    let mut observed = pending();
    let phase = GrantPhase::Ended;
    observed.grant.status = Some(GrantStatus { phase, ..GrantStatus::default() });
    observed
}, "the grant is Ended")]
#[case::the_request_had_another({
    let mut observed = pending();
    let Read::Found(request) = &mut observed.request else { panic!() };
    let grant = GrantRef { name: "g".into(), uid: "g-1".into() };
    request.status.get_or_insert_default().grant = Some(grant);
    observed
}, "by another Grant")]
fn nothing_is_made_for_a_grant_that_is_not_to_be_given(
    #[case] observed: grant_observed::Observed,
    #[case] words: &str,
) {
    let why = refusal(binding(observed, APPROVED_AT + 2));
    assert!(why.contains(words), "{why}");
}

/// What bears on whether the right goes on is not read any more then.
#[test]
fn nothing_is_made_once_its_time_is_up() {
    let observed = pending();
    let unread = || Read::Failed("unread".into());
    let observed = grant_observed::Observed { decisions: unread(), ..observed };
    assert!(refusal(binding(observed, life::EXPIRES_AT)).contains("It expired"));
}

#[test]
fn a_look_that_failed_makes_nothing_known() {
    let observed = pending();
    let observed = grant_observed::Observed { decisions: Read::Failed("down".into()), ..observed };
    let judged = binding(observed, APPROVED_AT + 2);
    assert_eq!(judged, Err(Unconfirmed::Unknown("down".into())));
}

#[test]
fn what_other_admission_adds_is_left_alone_and_what_is_lapses_is_not() {
    let pairs = |pairs: &[(&str, &str)]| -> Option<BTreeMap<String, String>> {
        Some(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    };
    let expected = ObjectMeta {
        labels: pairs(&[(MANAGED_BY, MANAGED_BY_LAPSE), (GRANT_LABEL, "g")]),
        annotations: pairs(&[(EXPIRES_AT, "then")]),
        ..ObjectMeta::default()
    };
    let mut written = expected.clone();
    written.labels.as_mut().unwrap().insert("team".into(), "shop".into());
    written.annotations.as_mut().unwrap().insert("example.com/x".into(), "y".into());
    assert_eq!(difference(&expected, &written), None);
    let later = pairs(&[(EXPIRES_AT, "later")]);
    let later = ObjectMeta { annotations: later, ..written.clone() };
    assert_eq!(difference(&expected, &later), Some("metadata.annotations"));
    let foreign = ObjectMeta { labels: pairs(&[(GRANT_LABEL, "g")]), ..written.clone() };
    assert_eq!(difference(&expected, &foreign), Some("metadata.labels"));
    let elsewhere = ObjectMeta { namespace: Some("bank".into()), ..written };
    assert_eq!(difference(&expected, &elsewhere), Some("metadata.name"));
}

/// Why nothing is let through, in the words of the webhook's answer and of the log.
#[test]
fn refusals() {
    let mut over = approved();
    let mut denial = life::decision(Verdict::Deny, bob(), 20);
    denial.object.spec.comment = Some("Not now".into());
    over.says(denial);
    let sent = sent(&approved(), APPROVED_AT + 1);
    let name = pending().objects[0].0.name.clone();
    let confirmed = |decisions: Vec<Attested<AccessDecision>>, now: i64| {
        let (kind, place) = (RbacKind::RoleBinding, shop());
        let decisions = Read::Found(decisions);
        object_of_confirmed(&marked(), &decisions, "lapse-system", kind, &place, &name, time(now))
    };
    let unverified = life::of_unknown_key(life::decision(Verdict::Deny, bob(), 20), 20);
    assert!(matches!(confirmed(vec![unverified], 30), Err(Unconfirmed::Unknown(_))));
    let ended = life::decision(Verdict::End, person("alice", &["shop-developers"]), 20);
    let denied = life::decision(Verdict::Deny, bob(), 20);
    let lines = [
        refusal(super::grant(over, &sent, time(30))),
        refusal(confirmed(vec![], life::EXPIRES_AT)),
        refusal(confirmed(vec![denied], 30)),
        refusal(confirmed(vec![ended], 30)),
        refusal(binding(active(), 30)),
        refusal(binding(pending(), life::EXPIRES_AT)),
        refusal(may_go(&Read::Missing, &Read::Missing, DAY - 60)),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
