//! What holds for every policy, every request and whatever people say.

use chrono::TimeDelta;
use lapse_crds::{
    AccessDecision, Approval, DurationBounds, GrantDuration, GrantPhase, JitPolicy, PolicyMode,
    PolicyRef, Stage, Subject, Verdict,
};
use proptest::prelude::*;

use crate::Read;
use crate::attest::{AttestationError, Attested};
use crate::identity;
use crate::request::{Observed, Plan, decide};
use crate::testing::life::{asked, decision, role, state, time, unattested, written};
use crate::testing::{group, person, policy, stage, user};

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Everything that a case is made of, with the policies as their owners wrote them.
#[derive(Clone, Debug)]
struct Case {
    policies: Vec<JitPolicy>,
    observed: Observed,
    now: i64,
}

fn any_duration() -> impl Strategy<Value = GrantDuration> {
    let edges = prop::sample::select(vec![299, 300, 28800, 28801]);
    let seconds = prop_oneof![1 => edges, 9 => 301..14_400u32];
    seconds.prop_map(|seconds| GrantDuration::from_seconds(seconds).unwrap())
}

/// Mostly the first.
fn any_generation() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(1), 1 => Just(2)]
}

fn any_stage() -> impl Strategy<Value = Stage> {
    let approvers = prop_oneof![
        1 => (0..PEOPLE.len()).prop_map(|n| user(PEOPLE[n])),
        1 => Just(group("managers")),
    ];
    (prop_oneof![3 => Just(1), 1 => Just(2u32)], prop::collection::vec(approvers, 1..4))
        .prop_map(|(required, approvers)| stage("s", required, approvers))
}

fn any_policy() -> impl Strategy<Value = JitPolicy> {
    let stages = prop::collection::vec(any_stage(), 0..3);
    let mode = prop_oneof![19 => Just(PolicyMode::Enforce), 1 => Just(PolicyMode::Disabled)];
    let max = prop_oneof![10 => Just("8h"), 1 => Just("30m"), 1 => Just("48h")];
    (stages, mode, max, any_generation(), 0..2i32, prop::bool::weighted(0.95)).prop_map(
        |(stages, mode, max, generation, priority, lets_alice_ask)| {
            let mut policy = policy("p");
            policy.metadata.generation = Some(generation);
            policy.spec.mode = mode;
            policy.spec.priority = priority;
            policy.spec.requesters = vec![user(if lets_alice_ask { "alice" } else { "erin" })];
            let bounds = DurationBounds { default: None, max: max.parse().ok(), min: None };
            policy.spec.duration = Some(bounds);
            policy.spec.approval = Some(Approval { stages, ..Approval::default() });
            policy
        },
    )
}

/// A decision by anybody, mostly about what there is, sometimes about something else.
fn any_decision() -> impl Strategy<Value = Attested<AccessDecision>> {
    let verdict = prop_oneof![60 => Just(Verdict::Approve), 1 => Just(Verdict::Deny), 1 => Just(Verdict::End)];
    let upon = prop_oneof![6 => Just(0), 1 => 1..3usize];
    let verbs = prop_oneof![8 => Just("get"), 2 => Just("get list"), 1 => Just("")];
    let content = (upon, any_generation(), verbs);
    let right = || prop::bool::weighted(0.95);
    let said = (prop::option::weighted(0.3, any_duration()), right(), right());
    (verdict, 0..PEOPLE.len(), prop::bool::weighted(0.8), 0..3000i64, content, said).prop_map(
        |(verdict, who, manages, at, (upon, generation, verbs), (duration, ours, attested))| {
            let groups: &[&str] = if manages { &["managers"] } else { &[] };
            let mut said = decision(verdict, person(PEOPLE[who], groups), at);
            let spec = &mut said.object.spec;
            spec.duration = duration;
            spec.policy = Some(reference(&format!("p{upon}"), generation));
            spec.rules_hash = Some(role(verbs).hash());
            spec.rules = role(verbs).to_keep();
            if !ours {
                spec.request.uid = Some("uid-2".into());
            }
            if attested { said } else { unattested(said) }
        },
    )
}

fn reference(name: &str, generation: i64) -> PolicyRef {
    PolicyRef { name: name.to_owned(), uid: format!("uid-of-{name}"), generation }
}

fn any_grant() -> impl Strategy<Value = Read<lapse_crds::Grant>> {
    let phase = prop_oneof![
        Just(GrantPhase::Pending),
        Just(GrantPhase::Active),
        Just(GrantPhase::Ending),
        Just(GrantPhase::Ended),
    ];
    let found = (phase, prop::bool::weighted(0.8)).prop_map(|(phase, ours)| {
        let mut grant = written();
        grant.status.get_or_insert_default().phase = phase;
        if !ours {
            grant.spec.request.uid = "uid-2".into();
        }
        Read::Found(grant)
    });
    prop_oneof![24 => Just(Read::Missing), 1 => Just(Read::Failed("timeout".into())), 2 => found]
}

fn any_case() -> impl Strategy<Value = Case> {
    let policies = prop_oneof![1 => Just(0), 9 => 1..3usize]
        .prop_flat_map(|count| prop::collection::vec(any_policy(), count));
    let decisions = prop::collection::vec(any_decision(), 0..10);
    let copies = prop::collection::vec(any::<prop::sample::Index>(), 0..2);
    let role = prop_oneof![
        28 => Just(Read::Found(role("get"))),
        1 => Just(Read::Missing),
        1 => Just(Read::Failed("timeout".to_owned())),
    ];
    let spec = (
        prop_oneof![Just(None), Just(Some("p0".to_owned()))],
        prop::option::weighted(0.95, any_duration()),
        prop::bool::weighted(0.95),
    );
    let now = prop_oneof![6 => 1000..4000i64, 2 => 0..20_000i64, 1 => 80_000..100_000i64];
    (policies, decisions, copies, role, spec, any_grant(), now).prop_map(
        |(mut policies, mut decisions, copies, role, (named, duration, attested), grant, now)| {
            for (index, policy) in policies.iter_mut().enumerate() {
                policy.metadata.name = Some(format!("p{index}"));
                policy.metadata.uid = Some(format!("uid-of-p{index}"));
            }
            // Every nonce is another, except that of a copy, whose content is signed and so the same.
            for (index, said) in decisions.iter_mut().enumerate() {
                if let Ok(attestation) = &mut said.attestation {
                    attestation.nonce = format!("{index}");
                }
            }
            for copy in copies {
                if !decisions.is_empty() {
                    decisions.push(copy.get(&decisions).clone());
                }
            }
            let mut observed = asked();
            observed.request.object.spec.policy = named;
            observed.request.object.spec.duration = duration;
            if !attested {
                observed.request.attestation = Err(AttestationError::Absent);
            }
            observed.policies = Read::Found(policies.iter().map(state).collect());
            observed.decisions = Read::Found(decisions);
            observed.role = role;
            observed.grant = grant;
            Case { policies, observed, now }
        },
    )
}

/// The approvals that count, by the words of the contract and not by the engine's code.
fn counting<'a>(case: &'a Case, policy: &JitPolicy) -> Vec<&'a AccessDecision> {
    let name = policy.metadata.name.clone().unwrap();
    let upon = reference(&name, policy.metadata.generation.unwrap());
    let is_known = case.observed.role.found().is_some();
    let bounds = policy.spec.duration.clone().unwrap();
    let decisions = case.observed.decisions.found().unwrap().iter();
    decisions
        .filter(|said| said.attestation.is_ok())
        .map(|said| &said.object)
        .filter(|said| {
            let spec = &said.spec;
            let in_bounds = |set: GrantDuration| {
                set >= GrantDuration::from_seconds(300).unwrap() && Some(set) <= bounds.max
            };
            spec.verdict == Verdict::Approve
                && spec.request.uid.as_deref() == Some("uid-1")
                && spec.policy.as_ref() == Some(&upon)
                && is_known
                // What the role allows now, and whatever else it allowed then.
                && spec.rules.iter().flat_map(|list| &list.rules).any(|rule| {
                    rule.verbs.iter().any(|verb| verb == "get")
                })
                && spec.decider.as_ref().unwrap().username != "alice"
                && spec.duration.is_none_or(in_bounds)
        })
        .collect()
}

/// Whether these people fill every seat, by trying every way of giving each one seat or none.
fn fill(stages: &[Stage], people: &[Vec<&AccessDecision>], free: &mut Vec<u32>) -> bool {
    let Some((person, rest)) = people.split_first() else {
        return free.iter().all(|seats| *seats == 0);
    };
    let fits = |approvers: &[Subject]| {
        let who = person.iter().filter_map(|said| said.spec.decider.as_ref());
        who.into_iter().any(|who| identity::matches_any(who, approvers))
    };
    fill(stages, rest, free)
        || (0..stages.len()).any(|index| {
            if free[index] == 0 || !fits(&stages[index].approvers) {
                return false;
            }
            free[index] -= 1;
            let full = fill(stages, rest, free);
            free[index] += 1;
            full
        })
}

fn has_quorum(stages: &[Stage], approvals: &[&AccessDecision]) -> bool {
    let people: Vec<Vec<&AccessDecision>> = PEOPLE
        .iter()
        .map(|name| {
            let by =
                |said: &&&AccessDecision| said.spec.decider.as_ref().unwrap().username == *name;
            approvals.iter().filter(by).copied().collect()
        })
        .collect();
    fill(stages, &people, &mut stages.iter().map(|stage| stage.required).collect())
}

fn plan(case: &Case) -> Plan {
    decide(&case.observed, time(case.now))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_without_a_quorum_within_its_bounds_and_in_its_time(case in any_case()) {
        let Some(grant) = plan(&case).create else { return Ok(()) };
        let spec = grant.spec;
        let policy = case.policies.iter().find(|p| p.metadata.name.as_ref() == Some(&spec.policy.name));
        let policy = policy.expect("a policy of the cluster decides");
        prop_assert_eq!(&spec.policy, &reference(&spec.policy.name, policy.metadata.generation.unwrap()));
        prop_assert_eq!(policy.spec.mode, PolicyMode::Enforce);
        prop_assert_eq!(&policy.spec.requesters, &vec![user("alice")]);
        prop_assert!(case.observed.request.attestation.is_ok());
        prop_assert_eq!(&case.observed.grant, &Read::Missing);
        prop_assert_eq!(&spec.subject, &user("alice"));

        let approvals = counting(&case, policy);
        let stages = &policy.spec.approval.as_ref().unwrap().stages;
        prop_assert!(has_quorum(stages, &approvals), "no quorum");

        let now = time(case.now);
        let (starts, expires) = (spec.starts_at.time(), spec.expires_at.time());
        prop_assert!(starts <= now && now < expires);
        let given = expires - starts;
        let requested = case.observed.request.object.spec.duration.expect("there is no default");
        prop_assert!(given >= TimeDelta::minutes(5));
        prop_assert!(given <= policy.spec.duration.as_ref().unwrap().max.unwrap().delta());
        // Nobody gets more than any approver approved: what he set, or what was asked for.
        let mut approved = approvals
            .iter()
            .filter(|said| {
                let who = said.spec.decider.as_ref().unwrap();
                stages.iter().any(|stage| identity::matches_any(who, &stage.approvers))
            })
            .map(|said| said.spec.duration.unwrap_or(requested).delta());
        prop_assert!(approved.all(|approved| given <= approved));
        let nobody_set = approvals.iter().all(|said| said.spec.duration.is_none());
        prop_assert!(!nobody_set || given == requested.delta());
    }

    #[test]
    fn what_is_approved_is_given(case in any_case()) {
        let plan = plan(&case);
        let is_said = |verdict| case.observed.decisions.found().unwrap().iter()
            .any(|said| said.object.spec.verdict == verdict);
        let Some(policy) = case.policies.first().filter(|_| case.observed.request.object.spec.policy.is_some())
            else { return Ok(()) };
        let stages = &policy.spec.approval.as_ref().unwrap().stages;
        let status = plan.status.as_ref();
        let passed = status.is_some_and(|s| s.conditions[0].reason == "ChecksPassed");
        if passed && !is_said(Verdict::Deny) && !is_said(Verdict::End) && case.now >= 3000
            && case.observed.grant == Read::Missing {
            let timed_out = status.unwrap().phase == lapse_crds::RequestPhase::TimedOut;
            let quorum = has_quorum(stages, &counting(&case, policy));
            prop_assert_eq!(plan.create.is_some(), quorum && !timed_out);
        }
    }

    #[test]
    fn the_same_state_gives_the_same_plan_and_then_nothing_new(case in any_case()) {
        let first = plan(&case);
        prop_assert_eq!(&first, &plan(&case));
        let mut reported = case;
        let is_over = first.status.as_ref().is_some_and(|status| status.phase.is_terminal());
        if let Some(status) = first.status {
            reported.observed.request.object.status = Some(status);
        }
        let second = plan(&reported);
        prop_assert_eq!(second.status, None);
        prop_assert_eq!(second.notice, None);
        prop_assert_eq!(second.create, first.create);
        prop_assert_eq!(second.wake_at, first.wake_at.filter(|_| !is_over));
    }

    #[test]
    fn the_order_of_listing_is_irrelevant(case in any_case()) {
        let mut reversed = case.clone();
        if let Read::Found(policies) = &mut reversed.observed.policies {
            let all: Vec<_> = policies.iter().cloned().collect();
            *policies = all.into_iter().rev().collect();
        }
        if let Read::Found(decisions) = &mut reversed.observed.decisions {
            decisions.reverse();
        }
        prop_assert_eq!(plan(&case), plan(&reversed));
    }

    #[test]
    fn a_no_never_leads_to_a_yes(
        case in any_case(),
        who in 0..PEOPLE.len(),
        at in 0..10_000i64,
        verdict in prop::sample::select(vec![Verdict::Deny, Verdict::End, Verdict::Review]),
    ) {
        let mut said = decision(verdict, person(PEOPLE[who], &["managers"]), at);
        let is_review = verdict == Verdict::Review;
        said.object.spec.outcome = is_review.then_some(lapse_crds::ReviewOutcome::Justified);
        let before = plan(&case);
        let mut after = case.clone();
        after.observed.says(said.clone());
        let after = plan(&after);
        let ends = verdict == Verdict::End && PEOPLE[who] == "alice";
        let counts = verdict == Verdict::Deny || ends;
        prop_assert_eq!(after.create, before.create.clone().filter(|_| !counts));

        // And what is not attested is as if it had not been said.
        let mut silent = case;
        silent.observed.says(unattested(said));
        prop_assert_eq!(plan(&silent), before);
    }
}
