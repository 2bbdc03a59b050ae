//! A chain of emergencies: whatever people call, review and delete, it stays within its bounds.

use chrono::TimeDelta;
use lapse_crds::{AccessDecision, Grant, GrantPhase, ReviewOutcome, Verdict};
use proptest::prelude::*;

use crate::attest::Attested;
use crate::lifetime::awaits_review;
use crate::peers::Peers;
use crate::request::{Observed, decide};
use crate::testing::life::{
    asked, attestation, carol, decision, deleted_at, pending, review, time,
};
use crate::testing::{emergency, person};
use crate::{Read, grant};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Alice calls an emergency, for so many seconds.
    Call(u32),
    /// Time goes on.
    Wait(i64),
    /// Somebody says something of one of them.
    Say(prop::sample::Index, Verdict, Who),
    /// Somebody deletes the Grant of one, or its request.
    DeleteGrant(prop::sample::Index),
    DeleteRequest(prop::sample::Index),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Alice,
    AliceOfSecurity,
    Carol,
}

fn any_step() -> impl Strategy<Value = Step> {
    let one = any::<prop::sample::Index>;
    let verdict =
        prop::sample::select(vec![Verdict::Review, Verdict::Review, Verdict::Deny, Verdict::End]);
    let who = prop::sample::select(vec![Who::Alice, Who::AliceOfSecurity, Who::Carol]);
    prop_oneof![
        5 => prop_oneof![Just(60), Just(300), Just(3600), Just(3601)].prop_map(Step::Call),
        3 => (1..40_000i64).prop_map(Step::Wait),
        5 => (one(), verdict, who).prop_map(|(one, verdict, who)| Step::Say(one, verdict, who)),
        1 => one().prop_map(Step::DeleteGrant),
        1 => one().prop_map(Step::DeleteRequest),
    ]
}

/// The Grants of alice, and all that was said of them.
struct World {
    now: i64,
    most: u32,
    grants: Vec<grant::Observed>,
    /// Those that somebody else reviewed.
    reviewed: Vec<bool>,
}

impl World {
    fn uid(index: usize) -> String {
        format!("uid-{index}")
    }

    fn call(&mut self, seconds: u32) -> Option<Grant> {
        let mut observed: Observed = asked();
        let index = self.grants.len();
        let request = &mut observed.request.object;
        request.metadata.uid = Some(Self::uid(index));
        request.metadata.name = Some(format!("fix-{index}"));
        request.spec.emergency = true;
        request.spec.duration = lapse_crds::GrantDuration::from_seconds(seconds);
        observed.request.attestation = Ok(attestation(self.now, "call"));
        let most = self.most;
        observed.policy_becomes(|policy| {
            let rules = lapse_crds::Emergency { max_unreviewed: Some(most), ..emergency() };
            policy.metadata.generation = Some(1);
            policy.spec.emergency = Some(rules);
            let limits =
                lapse_crds::Limits { active_grants_per_user: Some(1000), ..Default::default() };
            policy.spec.limits = Some(limits);
        });
        let grants: Vec<_> = self.grants.iter().map(|observed| observed.grant.clone()).collect();
        observed.peers = Read::Found(Peers::of(&[], &grants));
        let mut grant = *decide(&observed, time(self.now)).create?;
        grant.metadata.uid = Some(crate::testing::life::GRANT_UID.into());
        let mut given = pending();
        given.grant = grant.clone();
        given.request = Read::Found(observed.request.object);
        given.decisions = Read::Found(vec![]);
        given.policies = observed.policies;
        self.grants.push(given);
        self.reviewed.push(false);
        Some(grant)
    }

    fn says(&mut self, index: usize, verdict: Verdict, who: Who) {
        let identity = match who {
            Who::Alice => person("alice", &[]),
            Who::AliceOfSecurity => person("alice", &["security"]),
            Who::Carol => carol(),
        };
        let mut said: Attested<AccessDecision> = match verdict {
            Verdict::Review => review(ReviewOutcome::Justified, identity, self.now),
            _ => decision(verdict, identity, self.now),
        };
        said.object.spec.request.uid = Some(Self::uid(index));
        self.reviewed[index] |= verdict == Verdict::Review && who == Who::Carol;
        self.grants[index].says(said);
    }

    fn happens(&mut self, step: &Step) -> Option<Grant> {
        let count = self.grants.len();
        match step {
            Step::Call(seconds) => return self.call(*seconds),
            Step::Wait(seconds) => self.now += seconds,
            _ if count == 0 => {}
            Step::Say(one, verdict, who) => self.says(one.index(count), *verdict, *who),
            Step::DeleteGrant(one) => {
                self.grants[one.index(count)].grant.metadata.deletion_timestamp =
                    Some(deleted_at());
            }
            Step::DeleteRequest(one) => self.grants[one.index(count)].request = Read::Missing,
        }
        None
    }

    /// Every Grant does what it has to do, as often as it takes.
    fn settle(&mut self) {
        for observed in &mut self.grants {
            for _ in 0..4 {
                observed.step(self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_of_emergencies_is_bounded(
        steps in prop::collection::vec(any_step(), 0..24),
        most in 1..4u32,
    ) {
        let mut world = World { now: 0, most, grants: vec![], reviewed: vec![] };
        for step in &steps {
            let open = |world: &World| world.reviewed.iter().filter(|reviewed| !**reviewed).count();
            let before = open(&world);
            let is_overdue = world.grants.iter().zip(&world.reviewed).any(|(observed, reviewed)| {
                !reviewed && observed.grant.spec.review_by.unwrap().time() <= time(world.now)
            });
            let given = world.happens(step);
            world.settle();
            if let Some(grant) = given {
                prop_assert!(before < most as usize, "{before} await their review");
                prop_assert!(!is_overdue);
                let lasts = grant.spec.expires_at.time() - grant.spec.starts_at.time();
                prop_assert!(lasts <= TimeDelta::hours(1));
                prop_assert!(grant.spec.emergency);
            }
            prop_assert!(open(&world) <= most as usize);
            for (observed, reviewed) in world.grants.iter().zip(&world.reviewed) {
                prop_assert_eq!(awaits_review(&observed.grant).is_none(), *reviewed);
                let has_finalizer = observed.grant.metadata.finalizers.is_some();
                prop_assert!(has_finalizer || *reviewed, "it has left a debt");
            }
        }
        // In the end nothing of it is held.
        world.now += 100_000;
        world.settle();
        for observed in &world.grants {
            prop_assert_eq!(observed.status().phase, GrantPhase::Ended);
            prop_assert!(observed.objects.iter().all(|(_, live)| live.is_missing()));
        }
    }
}
