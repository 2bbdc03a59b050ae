use lapse_crds::{
    AccessDecision, Approval, Grant, GrantPhase, JitPolicy, PolicyMode, Separation, Verdict,
};
use proptest::prelude::*;

use super::*;
use crate::attest::Attested;
use crate::lifetime::has_ended;
use crate::request::{Observed, decide};
use crate::testing::life::{asked, decision, reference, state, summaries, time, written};
use crate::testing::{person, policy, stage, user};

fn apart(name: &str, from: &[&str]) -> JitPolicy {
    let mut policy = policy(name);
    let separation = |other: &&str| Separation { policy: (*other).to_owned() };
    policy.spec.separation_of_duties = from.iter().map(separation).collect();
    policy
}

fn names(set: &BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

#[test]
fn it_is_enough_that_one_names_the_other() {
    let policies = Policies::from([
        state(&apart("p", &["q", "gone"])),
        state(&apart("q", &[])),
        state(&apart("r", &["q"])),
        state(&apart("s", &[])),
    ]);
    assert_eq!(names(&policies.apart_from("p")), ["gone", "q"]);
    assert_eq!(names(&policies.apart_from("q")), ["p", "r"]);
    assert_eq!(names(&policies.apart_from("r")), ["q"]);
    assert_eq!(names(&policies.apart_from("s")), [""; 0]);
    assert_eq!(names(&bearing_on(&policies, Some("r"))), ["q"]);
    assert_eq!(names(&bearing_on(&policies, None)), ["gone", "p", "q", "r"]);
}

#[test]
fn what_is_switched_off_keeps_nothing_apart_and_what_is_broken_does() {
    let named = |change: fn(&mut JitPolicy)| {
        let mut one = apart("p", &["q"]);
        change(&mut one);
        !Policies::from([state(&one)]).apart_from("q").is_empty()
    };
    assert!(named(|policy| policy.spec.mode = PolicyMode::Audit));
    assert!(!named(|policy| policy.spec.mode = PolicyMode::Disabled));
    assert!(named(|policy| policy.spec.duration.as_mut().unwrap().max = "48h".parse().ok()));
    assert_eq!(names(&Policies::from([state(&apart("p", &["p"]))]).apart_from("p")), [""; 0]);
}

#[test]
fn of_several_rights_the_one_that_lasts_longest_is_told() {
    let by = |name: &str, policy: &str, minutes: i64| {
        let mut grant = written();
        grant.metadata.name = Some(name.into());
        grant.spec.policy.name = policy.into();
        grant.spec.expires_at = time(minutes * 60).into();
        grant.spec.approved_by = vec!["bob".into()];
        grant
    };
    let mut over = by("over", "q", 99);
    over.status.get_or_insert_default().phase = GrantPhase::Ended;
    let grants = vec![by("short", "q", 5), by("long", "q", 10), by("elsewhere", "r", 90), over];
    let policies = Policies::from([state(&apart("p", &["q"])), state(&apart("r", &[]))]);
    let told = |grants: Vec<Grant>| {
        let duties = Duties::apart_from("p", &policies, &Read::Found(summaries(&grants)));
        let of = |who: &str| duties.engagement(who).map(|engagement| engagement.of(who));
        [of("alice"), of("bob"), of("carol")]
    };
    let [alice, bob, carol] = told(grants.clone());
    insta::assert_snapshot!(alice.clone().unwrap(), @"alice holds access under JitPolicy q until 2026-11-18T11:16:40.000000Z (Grant long)");
    insta::assert_snapshot!(bob.clone().unwrap(), @"bob has approved access under JitPolicy q that is held until 2026-11-18T11:16:40.000000Z (Grant long)");
    assert_eq!(carol, None);
    assert_eq!(told(grants.into_iter().rev().collect()), [alice, bob, None]);
}

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
const POLICIES: [&str; 3] = ["p", "q", "r"];

/// What people do, in any order, and when the controller looks.
#[derive(Clone, Debug)]
enum Step {
    Ask { who: usize, policy: usize },
    Approve { who: usize, request: usize },
    Look { request: usize },
    End { grant: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let any = || 0..12usize;
    prop_oneof![
        3 => (0..3usize, 0..3usize).prop_map(|(who, policy)| Step::Ask { who, policy }),
        4 => (0..3usize, any()).prop_map(|(who, request)| Step::Approve { who, request }),
        6 => any().prop_map(|request| Step::Look { request }),
        1 => any().prop_map(|grant| Step::End { grant }),
    ]
}

/// Policies by which everybody may ask and approve, some of them kept apart from others.
fn any_policies() -> impl Strategy<Value = Vec<JitPolicy>> {
    let pairs = prop::collection::btree_set((0..3usize, 0..3usize), 1..3);
    (pairs, prop::collection::vec(0..3u32, 3)).prop_map(|(pairs, required)| {
        let policy = |(index, required): (usize, u32)| {
            let others = pairs.iter().filter(|(one, other)| *one == index && other != one);
            let others: Vec<&str> = others.map(|(_, other)| POLICIES[*other]).collect();
            let mut policy = apart(POLICIES[index], &others);
            let everybody = || PEOPLE.iter().map(|name| user(name)).collect::<Vec<_>>();
            policy.spec.requesters = everybody();
            let stages = (required > 0).then(|| stage("s", required, everybody()));
            let stages = stages.into_iter().collect();
            policy.spec.approval = Some(Approval { stages, ..Approval::default() });
            policy
        };
        required.into_iter().enumerate().map(policy).collect()
    })
}

/// A cluster with requests of several people.
struct Town {
    policies: Vec<JitPolicy>,
    requests: Vec<Observed>,
    grants: Vec<Grant>,
    now: i64,
}

impl Town {
    fn happens(&mut self, step: &Step) {
        self.now += 1;
        match *step {
            Step::Ask { who, policy } => self.ask(PEOPLE[who], POLICIES[policy]),
            Step::Approve { who, request } => {
                let said = self.approval(PEOPLE[who], request);
                if let Some((observed, said)) = self.requests.get_mut(request).zip(said) {
                    observed.says(said);
                }
            }
            Step::Look { request } => self.look(request),
            Step::End { grant } => {
                if let Some(grant) = self.grants.get_mut(grant) {
                    grant.status.get_or_insert_default().phase = GrantPhase::Ended;
                }
            }
        }
    }

    fn ask(&mut self, who: &str, policy: &str) {
        let mut observed = asked();
        let request = &mut observed.request.object;
        request.metadata.uid = Some(format!("uid-{}", self.requests.len()));
        request.spec.policy = Some(policy.to_owned());
        request.spec.requester = Some(person(who, &[]));
        observed.policies = Read::Found(self.policies.iter().map(state).collect());
        self.requests.push(observed);
    }

    /// An approval that is signed, whether or not it would have been admitted.
    fn approval(&self, who: &str, request: usize) -> Option<Attested<AccessDecision>> {
        let spec = &self.requests.get(request)?.request.object.spec;
        let mut said = decision(Verdict::Approve, person(who, &[]), self.now);
        said.object.spec.request.uid = Some(format!("uid-{request}"));
        let name = spec.policy.clone()?;
        let uid = format!("uid-of-{name}");
        said.object.spec.policy = Some(lapse_crds::PolicyRef { name, uid, ..reference(1) });
        Some(said)
    }

    fn look(&mut self, request: usize) {
        let Some(observed) = self.requests.get_mut(request) else { return };
        let policies = observed.policies.found().unwrap();
        let bearing = bearing_on(policies, observed.request.object.spec.policy.as_deref());
        let bears = |grant: &&Grant| bearing.contains(&grant.spec.policy.name);
        let engaging: Vec<Grant> = self.grants.iter().filter(bears).cloned().collect();
        observed.engaging = Read::Found(summaries(&engaging));
        let uid = format!("uid-{request}");
        let own = self.grants.iter().find(|grant| grant.spec.request.uid == uid);
        observed.grant = own.cloned().map_or(Read::Missing, Read::Found);
        let plan = decide(observed, time(self.now));
        let mut reversed = observed.clone();
        if let Read::Found(grants) = &mut reversed.engaging {
            grants.reverse();
        }
        assert_eq!(plan, decide(&reversed, time(self.now)), "the order of listing matters");
        if let Some(status) = plan.status {
            observed.request.object.status = Some(status);
        }
        if let Some(mut grant) = plan.create {
            grant.metadata.uid = Some(format!("grant-{request}"));
            self.grants.push(*grant);
        }
    }

    /// By the words of the contract: who holds or has approved rights by both of two policies that are
    /// kept apart, at this time.
    fn torn(&self) -> Option<String> {
        let names = |one: &Grant, other: &Grant| {
            let policy = self
                .policies
                .iter()
                .find(|p| p.metadata.name.as_deref() == Some(one.spec.policy.name.as_str()));
            let listed = policy.into_iter().flat_map(|policy| &policy.spec.separation_of_duties);
            listed.into_iter().any(|separation| separation.policy == other.spec.policy.name)
        };
        let people = |grant: &Grant| {
            let holder = [grant.spec.subject.name.clone()];
            grant.spec.approved_by.iter().cloned().chain(holder).collect::<BTreeSet<_>>()
        };
        let live: Vec<&Grant> = self.grants.iter().filter(|grant| !has_ended(grant)).collect();
        live.iter().enumerate().find_map(|(index, one)| {
            live[..index]
                .iter()
                .filter(|other| names(one, other) || names(other, one))
                .find_map(|other| people(one).intersection(&people(other)).next().cloned())
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nobody_ever_holds_or_approves_both(
        policies in any_policies(),
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut town = Town { policies, requests: vec![], grants: vec![], now: 0 };
        for step in &steps {
            town.happens(step);
            prop_assert_eq!(town.torn(), None);
        }
        // Approvals are recorded wherever the policy asks for them.
        for grant in &town.grants {
            let policy = town.policies.iter().find(|policy| {
                policy.metadata.name.as_deref() == Some(grant.spec.policy.name.as_str())
            });
            let stages = policy.unwrap().spec.approval.clone().unwrap().stages;
            let required = stages.first().map_or(0, |stage| stage.required as usize);
            prop_assert_eq!(grant.spec.approved_by.len(), required);
            prop_assert!(grant.spec.approved_by.is_sorted());
        }
    }
}
