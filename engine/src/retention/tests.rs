//! What goes when, and what never goes.

use lapse_crds::{
    AccessRequestStatus, Condition, ConditionStatus, EndReason, GrantPhase, GrantStatus,
    RequestPhase, ReviewStatus, Verdict,
};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::testing::life::{
    EXPIRES_AT, GRANT_UID, REQUEST_UID, asked, bob, decision, deleted_at, reference, time, written,
};
use crate::testing::policy;

/// When the right of the fixture was verified to be gone.
const ENDED_AT: i64 = EXPIRES_AT + 1;
const DAY: i64 = 24 * 3600;

/// The policies, requests and Grants of a cluster; a test changes the part that it is about.
#[derive(Clone, Debug)]
struct World {
    policies: Vec<Result<JitPolicy, ObjectMeta>>,
    requests: Vec<Result<AccessRequest, ObjectMeta>>,
    grants: Vec<Result<Grant, ObjectMeta>>,
}

fn listed<K>(objects: &[Result<K, ObjectMeta>]) -> Vec<Listed<'_, K>> {
    objects.iter().map(Result::as_ref).collect()
}

impl World {
    /// Alice's request and its Grant, which have ended; the policy keeps them for a day.
    fn ended() -> Self {
        let mut policy = policy("shop-debug");
        policy.spec.retention = "24h".parse().ok();
        let mut grant = written();
        grant.status = Some(GrantStatus {
            phase: GrantPhase::Ended,
            ended_at: Some(time(ENDED_AT).into()),
            ..GrantStatus::default()
        });
        let request = finished(RequestPhase::Ended, Some(ENDED_AT));
        Self { policies: vec![Ok(policy)], requests: vec![Ok(request)], grants: vec![Ok(grant)] }
    }

    fn policy(&mut self) -> &mut JitPolicy {
        self.policies[0].as_mut().unwrap()
    }

    fn request(&mut self) -> &mut AccessRequest {
        self.requests[0].as_mut().unwrap()
    }

    fn grant(&mut self) -> &mut Grant {
        self.grants[0].as_mut().unwrap()
    }

    fn grant_becomes(&mut self, phase: GrantPhase) {
        self.grant().status.as_mut().unwrap().phase = phase;
    }

    fn retentions(&self) -> Retentions {
        Retentions::of(listed(&self.policies))
    }

    fn observed(&self) -> Observed<'_> {
        Observed {
            requests: listed(&self.requests),
            grants: listed(&self.grants),
            retentions: self.retentions(),
        }
    }

    /// What is due at this time, in words.
    fn due(&self, now: i64) -> Vec<&'static str> {
        let words = |record: &Record<'_>| match record {
            Record::Request(_, None) => "request",
            Record::Request(_, Some(_)) => "request and grant",
            Record::Grant(_) => "grant",
        };
        decide(&self.observed(), time(now)).due.iter().map(words).collect()
    }
}

fn finished(phase: RequestPhase, ended_at: Option<i64>) -> AccessRequest {
    let mut request = asked().request.object;
    let condition = |r#type: &str, at: i64| Condition {
        r#type: r#type.to_owned(),
        status: ConditionStatus::False,
        reason: "Test".into(),
        message: String::new(),
        last_transition_time: time(at).into(),
        observed_generation: None,
    };
    request.status = Some(AccessRequestStatus {
        phase,
        policy: Some(reference(1)),
        ended_at: ended_at.map(|at| time(at).into()),
        conditions: vec![condition("Approved", 60), condition("Evaluated", 30)],
        ..AccessRequestStatus::default()
    });
    request
}

#[test]
fn goes_when_the_retention_of_its_policy_has_passed() {
    let world = World::ended();
    let due_at = ENDED_AT + DAY;
    assert_eq!(world.due(due_at - 1), Vec::<&str>::new());
    assert_eq!(decide(&world.observed(), time(0)).wake_at, Some(time(due_at)));
    assert_eq!(world.due(due_at), ["request and grant"]);
    assert_eq!(decide(&world.observed(), time(due_at)).wake_at, None);
}

#[rstest]
#[case::denied(RequestPhase::Denied)]
#[case::withdrawn(RequestPhase::Withdrawn)]
#[case::timed_out(RequestPhase::TimedOut)]
#[case::failed(RequestPhase::Failed)]
fn counts_from_the_last_change_where_no_right_ended(#[case] phase: RequestPhase) {
    let mut world = World::ended();
    world.grants.clear();
    *world.request() = finished(phase, None);
    assert_eq!(world.due(60 + DAY - 1), Vec::<&str>::new());
    assert_eq!(world.due(60 + DAY), ["request"]);
}

const MONTH: i64 = 30 * DAY;

#[rstest]
#[case::none_given(|world: &mut World| world.policy().spec.retention = None, Some(MONTH))]
#[case::gone(|world: &mut World| world.policies.clear(), Some(MONTH))]
#[case::made_anew(|world: &mut World| world.policy().metadata.uid = Some("another".into()), Some(MONTH))]
#[case::no_policy_decided(|world: &mut World| world.request().status.as_mut().unwrap().policy = None, Some(MONTH))]
#[case::not_ready(|world: &mut World| world.policy().spec.duration.as_mut().unwrap().max = "48h".parse().ok(), Some(DAY))]
#[case::disabled(|world: &mut World| world.policy().spec.mode = lapse_crds::PolicyMode::Disabled, Some(DAY))]
#[case::changed_since(|world: &mut World| world.policy().spec.retention = "1h".parse().ok(), Some(3600))]
#[case::unreadable(|world: &mut World| world.policies[0] = Err(world.policy().metadata.clone()), None)]
fn goes_by_the_policy_that_decided(#[case] change: fn(&mut World), #[case] retention: Option<i64>) {
    let mut world = World::ended();
    change(&mut world);
    let wake_at = decide(&world.observed(), time(0)).wake_at;
    assert_eq!(wake_at, retention.map(|seconds| time(ENDED_AT + seconds)));
}

#[rstest]
#[case::pending_request(|world: &mut World| *world.request() = finished(RequestPhase::Pending, None))]
#[case::active_request(|world: &mut World| *world.request() = finished(RequestPhase::Active, None))]
#[case::new_request(|world: &mut World| world.request().status = None)]
#[case::request_being_deleted(|world: &mut World| world.request().metadata.deletion_timestamp = Some(deleted_at()))]
#[case::request_that_cannot_be_decoded(|world: &mut World| world.requests[0] = Err(world.request().metadata.clone()))]
#[case::pending_grant(|world: &mut World| world.grant_becomes(GrantPhase::Pending))]
#[case::active_grant(|world: &mut World| world.grant_becomes(GrantPhase::Active))]
#[case::ending_grant(|world: &mut World| world.grant_becomes(GrantPhase::Ending))]
#[case::new_grant(|world: &mut World| world.grant().status = None)]
#[case::grant_that_cannot_be_decoded(|world: &mut World| world.grants[0] = Err(world.grant().metadata.clone()))]
fn stays_whatever_the_time(#[case] change: fn(&mut World)) {
    let mut world = World::ended();
    change(&mut world);
    let plan = decide(&world.observed(), time(1000 * DAY));
    assert_eq!(plan, Plan::default());
}

/// Wherever somebody is stopped, or a person deletes a part, the rest goes.
#[rstest]
#[case::nothing_done(|_: &mut World| {}, &["request and grant"])]
#[case::grant_being_deleted(|world: &mut World| world.grant().metadata.deletion_timestamp = Some(deleted_at()), &["request and grant"])]
#[case::grant_gone(|world: &mut World| world.grants.clear(), &["request"])]
#[case::request_gone(|world: &mut World| world.requests.clear(), &["grant"])]
#[case::request_made_anew(|world: &mut World| world.request().metadata.uid = Some("another".into()), &["request", "grant"])]
#[case::all_but_a_grant_being_deleted(|world: &mut World| {
    world.requests.clear();
    world.grant().metadata.deletion_timestamp = Some(deleted_at());
}, &[])]
fn goes_from_wherever_it_was_left(#[case] change: fn(&mut World), #[case] expected: &[&str]) {
    let mut world = World::ended();
    change(&mut world);
    let mut due = world.due(ENDED_AT + DAY);
    due.sort_unstable_by_key(|words| std::cmp::Reverse(*words));
    assert_eq!(due, expected);
}

#[test]
fn the_oldest_goes_first() {
    let mut world = World::ended();
    let mut older = finished(RequestPhase::Denied, None);
    older.metadata.uid = Some("older".into());
    world.requests.push(Ok(older));
    assert_eq!(world.due(ENDED_AT + DAY), ["request", "request and grant"]);
}

#[test]
fn a_decision_whose_request_is_gone_goes_by_its_own_policy_and_age() {
    let retentions = World::ended().retentions();
    let mut deny = decision(Verdict::Deny, bob(), 60).object;
    assert_eq!(kept_until(&deny, &retentions), None, "it was never stored");
    deny.metadata.creation_timestamp = Some(deleted_at());
    let created = created_at(&deny.metadata).unwrap();
    assert_eq!(kept_until(&deny, &retentions), Some(created + TimeDelta::days(1)));
    deny.spec.policy = None;
    assert_eq!(kept_until(&deny, &retentions), Some(created + DEFAULT));
}

#[rstest]
#[case::its_own(Some(REQUEST_UID), false)]
#[case::another_of_its_name(Some("another"), true)]
#[case::never_stamped(None, false)]
fn a_decision_is_about_one_request(#[case] uid: Option<&str>, #[case] orphan: bool) {
    let mut deny = decision(Verdict::Deny, bob(), 60).object;
    deny.spec.request.uid = uid.map(ToOwned::to_owned);
    let request = asked().request.object;
    assert_eq!(is_orphan(&deny, &Read::Found(request), None), orphan);
    assert!(is_orphan(&deny, &Read::Missing, None));
    assert!(!is_orphan(&deny, &Read::Failed("timeout".into()), None));
}

/// An emergency that is over, which somebody reviewed at this time.
fn emergency(reviewed_at: Option<i64>) -> World {
    let mut world = World::ended();
    let mut review =
        ReviewStatus { due_by: time(ENDED_AT).into(), reviewed_by: None, outcome: None };
    let mut conditions = vec![];
    if let Some(at) = reviewed_at {
        review.reviewed_by = Some("carol".into());
        conditions.push(Condition {
            r#type: REVIEWED.into(),
            status: ConditionStatus::True,
            reason: "Justified".into(),
            message: String::new(),
            last_transition_time: time(at).into(),
            observed_generation: None,
        });
    }
    let grant = world.grant();
    grant.spec.review_by = Some(review.due_by);
    let status = grant.status.as_mut().unwrap();
    status.end_reason = Some(EndReason::Expired);
    status.review = Some(review.clone());
    status.conditions.clone_from(&conditions);
    let status = world.request().status.as_mut().unwrap();
    status.review = Some(review);
    status.conditions.extend(conditions);
    world
}

#[rstest]
#[case::with_its_request(false)]
#[case::when_its_request_was_deleted(true)]
fn an_emergency_stays_until_it_is_reviewed(#[case] request_is_gone: bool) {
    let at = |reviewed_at: Option<i64>, now: i64| {
        let mut world = emergency(reviewed_at);
        if request_is_gone {
            world.requests.clear();
        }
        let plan = decide(&world.observed(), time(now));
        (plan.due.len(), plan.wake_at)
    };
    assert_eq!(at(None, 1000 * DAY), (0, None));
    // A day from its review, as it was over a day from its end otherwise.
    let reviewed = ENDED_AT + 3 * DAY;
    assert_eq!(at(Some(reviewed), reviewed), (0, Some(time(reviewed + DAY))));
    assert_eq!(at(Some(reviewed), reviewed + DAY), (1, None));
    let early = ENDED_AT - 10;
    assert_eq!(at(Some(early), ENDED_AT + DAY), (1, None));
}

#[test]
fn what_was_said_of_an_emergency_stays_until_it_is_reviewed() {
    let said = decision(Verdict::Review, bob(), 60).object;
    for (mut world, is_orphan_then) in [(emergency(None), false), (emergency(Some(0)), true)] {
        assert_eq!(is_orphan(&said, &Read::Missing, Some(world.grant())), is_orphan_then);
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let phases = [
        RequestPhase::Pending,
        RequestPhase::Active,
        RequestPhase::Denied,
        RequestPhase::Failed,
        RequestPhase::Ended,
    ];
    let grants = [GrantPhase::Pending, GrantPhase::Active, GrantPhase::Ending, GrantPhase::Ended];
    let one = (
        prop::option::of(prop::sample::select(phases.to_vec())),
        prop::option::of(prop::sample::select(grants.to_vec())),
        0i64..2 * DAY,
        any::<[bool; 3]>(),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let mut world = World { requests: vec![], grants: vec![], ..World::ended() };
        for (index, (request, grant, at, [undecodable, anew, owes])) in all.into_iter().enumerate()
        {
            let uid = format!("{REQUEST_UID}-{index}");
            if let Some(phase) = request {
                let mut request = finished(phase, Some(at));
                request.metadata.uid = Some(if anew { format!("{uid}-anew") } else { uid.clone() });
                request.metadata.name = Some(format!("fix-{index}"));
                let metadata = request.metadata.clone();
                world.requests.push(if undecodable { Err(metadata) } else { Ok(request) });
            }
            if let Some(phase) = grant {
                let mut grant = World::ended().grant().clone();
                grant.metadata.uid = Some(format!("{GRANT_UID}-{index}"));
                grant.spec.request.uid = uid;
                let status = grant.status.as_mut().unwrap();
                (status.phase, status.ended_at) = (phase, Some(time(at).into()));
                status.end_reason = Some(EndReason::Expired);
                grant.spec.review_by = owes.then(|| time(at).into());
                world.grants.push(Ok(grant));
            }
        }
        world
    })
}

proptest! {
    #[test]
    fn only_what_is_over_goes_and_not_before_its_time(world in any_world(), now in 0..4 * DAY) {
        let long_ago = time(now - DAY);
        for record in decide(&world.observed(), time(now)).due {
            let grant = match record {
                Record::Request(request, grant) => {
                    let status = request.status.as_ref().unwrap();
                    prop_assert!(status.phase.is_terminal());
                    prop_assert!(status.ended_at.unwrap().time() <= long_ago);
                    let own = &request.metadata.uid;
                    prop_assert!(grant.is_none_or(|grant| Some(&grant.spec.request.uid) == own.as_ref()));
                    grant
                }
                Record::Grant(grant) => {
                    prop_assert!(grant.status.as_ref().unwrap().ended_at.unwrap().time() <= long_ago);
                    let known = listed(&world.requests);
                    prop_assert!(!known.iter().any(|known| uid(known) == Some(&grant.spec.request.uid)));
                    Some(grant)
                }
            };
            prop_assert!(grant.is_none_or(has_ended));
            prop_assert!(grant.is_none_or(|grant| grant.spec.review_by.is_none()));
        }
    }

    /// Who looks again when the plan says so, and deletes what is due, is left with what never goes.
    #[test]
    fn the_plan_wakes_for_everything(mut world in any_world()) {
        let mut now = time(0);
        loop {
            let plan = decide(&world.observed(), now);
            let mut gone: BTreeSet<String> = BTreeSet::new();
            for record in &plan.due {
                gone.extend(record.uid().map(ToOwned::to_owned));
                if let Record::Request(_, Some(grant)) = record {
                    gone.extend(grant.metadata.uid.clone());
                }
            }
            let wake_at = plan.wake_at;
            let is_gone = |metadata: &ObjectMeta| gone.contains(metadata.uid.as_ref().unwrap());
            world.requests.retain(|r| !is_gone(r.as_ref().map_or_else(|m| m, |r| &r.metadata)));
            world.grants.retain(|g| !is_gone(g.as_ref().map_or_else(|m| m, |g| &g.metadata)));
            match wake_at {
                Some(at) => now = at,
                None => break,
            }
        }
        let plan = decide(&world.observed(), time(1000 * DAY));
        prop_assert_eq!(plan, Plan::default());
    }
}
