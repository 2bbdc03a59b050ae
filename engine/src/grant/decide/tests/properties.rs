//! What holds for every grant, whatever its bindings and everything around it look like.

use lapse_crds::{GrantPhase, PolicyMode, RbacRef, RequestPhase, Verdict};
use proptest::prelude::*;

use crate::Read;
use crate::grant::{Action, LiveObject, Observed, Obstacle, decide};
use crate::policy::Policies;
use crate::role::RoleRules;
use crate::testing::life::{
    EXPIRES_AT, GRANT_UID, bob, decision, deleted_at, intact, pending_in, role, state, time,
    unattested,
};
use crate::testing::{person, policy, user};

const NAMESPACES: [&str; 2] = ["shop", "shop-staging"];

/// What may stand in the place of a binding.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Nothing,
    Intact,
    /// With another subject, and still saying that it was made for the grant.
    Changed,
    /// As it was recorded, but for the annotation.
    Unmarked,
    /// Made by somebody else under the same name.
    Foreign,
    Unknown,
}

fn any_stands() -> impl Strategy<Value = Stands> {
    prop_oneof![
        3 => Just(Stands::Nothing),
        6 => Just(Stands::Intact),
        1 => Just(Stands::Changed),
        1 => Just(Stands::Unmarked),
        1 => Just(Stands::Foreign),
        1 => Just(Stands::Unknown),
    ]
}

fn place(observed: &mut Observed, index: usize, stands: Stands) {
    let (binding, place) = &mut observed.objects[index];
    let mut live = intact(binding, &format!("binding-{index}"));
    *place = match stands {
        Stands::Nothing => Read::Missing,
        Stands::Unknown => Read::Failed("timeout".into()),
        Stands::Intact => Read::Found(live),
        Stands::Changed => {
            live.subjects()[0].2 = "mallory".into();
            Read::Found(live)
        }
        Stands::Unmarked => Read::Found(LiveObject { grant_uid: None, ..live }),
        Stands::Foreign => {
            Read::Found(LiveObject { uid: "theirs".into(), grant_uid: None, ..live })
        }
    };
}

/// What bears on a grant from outside, one change at a time.
fn any_change() -> impl Strategy<Value = fn(&mut Observed)> {
    let changes: [fn(&mut Observed); 20] = [
        |o| o.grant.metadata.deletion_timestamp = Some(deleted_at()),
        |o| o.grant.metadata.finalizers = None,
        |o| o.says(decision(Verdict::Deny, bob(), 50)),
        |o| o.says(unattested(decision(Verdict::Deny, bob(), 50))),
        |o| o.says(decision(Verdict::End, person("alice", &[]), 50)),
        |o| o.says(decision(Verdict::End, bob(), 50)),
        |o| o.request = Read::Missing,
        |o| o.request = Read::Failed("timeout".into()),
        Observed::request_is_over,
        |o| o.policies = Read::Found(Policies::default()),
        |o| o.policies = Read::Failed("timeout".into()),
        |o| o.policies = edited(|spec| spec.mode = PolicyMode::Disabled),
        |o| o.policies = edited(|spec| spec.requesters = vec![user("carol")]),
        |o| o.policies = edited(|spec| spec.duration.as_mut().unwrap().max = "48h".parse().ok()),
        |o| o.role = Read::Missing,
        |o| o.role = Read::Failed("timeout".into()),
        |o| o.role = Read::Found(RoleRules::of_cluster_role(vec![])),
        |o| o.role = Read::Found(role("get list")),
        |o| drop(o.surroundings.namespaces.insert("shop".into(), Read::Missing)),
        |o| o.obstacle = Some(Obstacle { message: "403".into(), lasting: true }),
    ];
    prop::sample::select(changes.to_vec())
}

fn edited(change: fn(&mut lapse_crds::JitPolicySpec)) -> Read<Policies> {
    let mut policy = policy("shop-debug");
    change(&mut policy.spec);
    Read::Found([state(&policy)].into())
}

fn any_grant() -> impl Strategy<Value = (Observed, i64)> {
    let phases = [GrantPhase::Pending, GrantPhase::Active, GrantPhase::Ending, GrantPhase::Ended];
    let places = (any_stands(), any_stands());
    let changes = prop::collection::vec(any_change(), 0..3);
    let now = prop_oneof![20..100i64, EXPIRES_AT - 3..EXPIRES_AT + 3];
    (prop::sample::select(phases.to_vec()), places, changes, now).prop_filter_map(
        "the decisions of one change are gone with another",
        |(phase, places, changes, now)| {
            let mut observed = pending_in(&NAMESPACES);
            if phase != GrantPhase::Pending {
                let status = observed.grant.status.get_or_insert_default();
                status.phase = phase;
                let bindings = observed.objects.iter().enumerate();
                status.bindings = bindings
                    .map(|(index, (binding, _))| {
                        binding.recorded(&intact(binding, &format!("binding-{index}")))
                    })
                    .collect();
            }
            place(&mut observed, 0, places.0);
            place(&mut observed, 1, places.1);
            for change in changes {
                // A request that is gone cannot be over.
                observed.request.found()?;
                change(&mut observed);
            }
            Some((observed, now))
        },
    )
}

/// Whether a live binding is the grant's: recorded by it, or saying that it was made for it.
fn is_ours(observed: &Observed, live: &LiveObject) -> bool {
    let recorded = observed.status().bindings;
    let known = |binding: &RbacRef| binding.uid == live.uid;
    live.grant_uid.as_deref() == Some(GRANT_UID) || recorded.iter().any(known)
}

fn ours(observed: &Observed) -> Vec<String> {
    let live = observed.objects.iter().filter_map(|(_, live)| live.found());
    live.filter(|live| is_ours(observed, live)).map(|live| live.uid.clone()).collect()
}

fn deleted(actions: &[Action]) -> Vec<String> {
    let uid = |action: &Action| match action {
        Action::Delete { uid, .. } => Some(uid.clone()),
        Action::Create(_) | Action::Stop { .. } | Action::RemoveFinalizer => None,
    };
    actions.iter().filter_map(uid).collect()
}

fn creates(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Create(_)))
}

const fn rank(phase: GrantPhase) -> u8 {
    match phase {
        GrantPhase::Pending => 0,
        GrantPhase::Active => 1,
        GrantPhase::Ending => 2,
        GrantPhase::Ended => 3,
    }
}

proptest! {
    #[test]
    fn at_its_end_nothing_is_made_and_everything_goes((observed, now) in any_grant()) {
        let plan = decide(&observed, time(now.max(EXPIRES_AT)));
        prop_assert!(!creates(&plan.actions));
        prop_assert_eq!(deleted(&plan.actions), ours(&observed));
    }

    #[test]
    fn only_its_own_bindings_are_deleted((observed, now) in any_grant()) {
        let deleted = deleted(&decide(&observed, time(now)).actions);
        let ours = ours(&observed);
        prop_assert!(deleted.is_empty() || deleted == ours, "all of them or none");
    }

    #[test]
    fn a_right_is_given_only_while_everything_is_known_and_well((observed, now) in any_grant()) {
        let plan = decide(&observed, time(now));
        let becomes_active = plan.status.as_ref().is_some_and(|status| {
            status.phase == GrantPhase::Active
        });
        if !creates(&plan.actions) && !becomes_active {
            return Ok(());
        }
        prop_assert_eq!(observed.status().phase, GrantPhase::Pending);
        prop_assert!(now < EXPIRES_AT);
        prop_assert!(observed.grant.metadata.deletion_timestamp.is_none());
        let allowed = observed.role.found().expect("the role was read");
        prop_assert!(*allowed != role("get list"), "nobody approved that");
        let policies = observed.policies.found().expect("the policies were read");
        let policy = policies.iter().next().expect("the policy exists");
        prop_assert_eq!(policy.mode, PolicyMode::Enforce);
        match &policy.compiled {
            Ok(_) => {}
            // What stood before the policy broke is said to be held; nothing more is made.
            Err(error) => prop_assert!(!creates(&plan.actions), "{error}"),
        }
        let request = observed.request.found().expect("the request was read");
        let phase = request.status.as_ref().map(|status| status.phase).unwrap_or_default();
        prop_assert_eq!(phase, RequestPhase::Pending);
        let said = observed.decisions.found().expect("the decisions were read");
        let no = |verdict| said.iter().any(|said| said.attestation.is_ok() && said.object.spec.verdict == verdict);
        prop_assert!(!no(Verdict::Deny));
        for (binding, live) in &observed.objects {
            match live {
                Read::Found(live) => prop_assert!(binding.is_intact(live, GRANT_UID)),
                Read::Missing => prop_assert!(!becomes_active),
                Read::Failed(why) => prop_assert!(false, "{why}"),
            }
        }
    }

    #[test]
    fn it_is_over_only_when_every_place_was_seen_empty((observed, now) in any_grant()) {
        let plan = decide(&observed, time(now));
        let was = observed.status().phase;
        let becomes = plan.status.as_ref().map_or(was, |status| status.phase);
        prop_assert!(rank(becomes) >= rank(was), "phases only go on");
        if becomes == GrantPhase::Ended && was != GrantPhase::Ended {
            prop_assert_eq!(ours(&observed), Vec::<String>::new());
            let unknown = |(_, live): &(_, Read<_>)| matches!(live, Read::Failed(_));
            prop_assert!(!observed.objects.iter().any(unknown));
            prop_assert_eq!(&plan.actions, &[]);
        }
        if plan.actions.contains(&Action::RemoveFinalizer) {
            prop_assert_eq!(was, GrantPhase::Ended);
            prop_assert!(observed.grant.metadata.deletion_timestamp.is_some());
        }
    }

    #[test]
    fn it_is_looked_at_again_by_its_end((observed, now) in any_grant()) {
        let plan = decide(&observed, time(now));
        let phase = plan.status.map_or(observed.status().phase, |status| status.phase);
        let by = match phase {
            GrantPhase::Pending | GrantPhase::Active => EXPIRES_AT,
            GrantPhase::Ending => now + 1,
            GrantPhase::Ended => return Ok(()),
        };
        prop_assert!(plan.wake_at.expect("it wakes") <= time(by));
    }

    #[test]
    fn the_same_state_gives_the_same_plan_and_then_nothing_new((mut observed, now) in any_grant()) {
        let plan = decide(&observed, time(now));
        prop_assert_eq!(&plan, &decide(&observed, time(now)));
        observed.report(&plan);
        let again = decide(&observed, time(now));
        prop_assert_eq!(&again.status, &None);
        // When the end is recorded, a deleted grant may leave at once.
        let leaves = again.actions.contains(&Action::RemoveFinalizer);
        prop_assert!(again.actions == plan.actions || leaves, "{again:?}");
    }

    /// Left alone, and with every look-up succeeding, a grant comes to rest: held as long as nothing
    /// speaks against it, else gone.
    #[test]
    fn it_comes_to_rest((mut observed, now) in any_grant()) {
        let unreadable = |(_, live): &(_, Read<_>)| matches!(live, Read::Failed(_));
        prop_assume!(!observed.objects.iter().any(unreadable));
        for _ in 0..4 {
            observed.step(now);
        }
        let rest = decide(&observed, time(now));
        prop_assert_eq!((&rest.actions, &rest.status), (&vec![], &None));
        match observed.status().phase {
            GrantPhase::Ended => prop_assert_eq!(ours(&observed), Vec::<String>::new()),
            // Of what goes in the last second it is not known yet why.
            GrantPhase::Active if time(now + 1) >= observed.grant.spec.expires_at.time() => {}
            GrantPhase::Active => prop_assert_eq!(ours(&observed).len(), NAMESPACES.len()),
            GrantPhase::Pending => {}
            GrantPhase::Ending => prop_assert!(false, "nothing hinders the end"),
        }
    }

    #[test]
    fn a_no_never_leads_to_a_yes((observed, now) in any_grant(), deny: bool) {
        prop_assume!(observed.decisions.found().is_some());
        let before = decide(&observed, time(now));
        let mut after = observed.clone();
        let verdict = if deny { Verdict::Deny } else { Verdict::End };
        after.says(decision(verdict, person("alice", &[]), 60));
        let plan = decide(&after, time(now));
        prop_assert!(!creates(&plan.actions) || creates(&before.actions));
        if observed.request.found().is_some() {
            prop_assert!(!creates(&plan.actions));
        }
    }
}
