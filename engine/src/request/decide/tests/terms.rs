//! On which terms a right is given, whatever the policies say and whoever holds what: by the words of the
//! contract, and not by the engine's code.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use lapse_crds::{
    Grant, GrantDuration, GrantPhase, JitPolicy, Limits, PolicyEffect, PolicyMode, PolicyTarget,
    Schedule, Separation, Window,
};
use proptest::prelude::*;

use crate::Read;
use crate::request::{Observed, decide};
use crate::schedule::WEEK;
use crate::testing::life::{APPROVED_AT, approved, state, summaries, time, written};
use crate::testing::{group, policy, user};

/// Hours in UTC, each day: from one full hour to another.
#[derive(Clone, Copy, Debug)]
struct Daily {
    from: u32,
    to: u32,
}

impl Daily {
    fn schedule(self) -> Schedule {
        let text = |hour: u32| format!("{hour:02}:00");
        let window = Window { days: WEEK.to_vec(), start: text(self.from), end: text(self.to) };
        Schedule { time_zone: "UTC".into(), windows: vec![window] }
    }

    /// Whether the clock shows a time within them.
    fn contain(self, at: DateTime<Utc>) -> bool {
        let hour = at.hour();
        if self.from < self.to {
            (self.from..self.to).contains(&hour)
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

fn any_hours() -> impl Strategy<Value = Daily> {
    let hours = (0..24u32, 0..24u32).prop_filter("hours have a length", |(from, to)| from != to);
    hours.prop_map(|(from, to)| Daily { from, to })
}

/// A policy that denies everything, to some, in some hours, in some mode.
#[derive(Clone, Copy, Debug)]
struct Ban {
    is_on_alice: bool,
    mode: PolicyMode,
    hours: Option<Daily>,
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let mode = prop_oneof![
        4 => Just(PolicyMode::Enforce),
        1 => Just(PolicyMode::Audit),
        1 => Just(PolicyMode::Disabled)
    ];
    (any::<bool>(), mode, prop::option::of(any_hours()))
        .prop_map(|(is_on_alice, mode, hours)| Ban { is_on_alice, mode, hours })
}

/// A right that somebody holds or held.
#[derive(Clone, Copy, Debug)]
struct Other {
    /// By the policy that decides, or by one that is kept apart.
    is_apart: bool,
    /// Held by alice, or by carol with bob's approval.
    is_hers: bool,
    is_live: bool,
    /// In seconds.
    held_for: i64,
}

fn any_other() -> impl Strategy<Value = Other> {
    (prop::bool::weighted(0.2), any::<bool>(), any::<bool>(), 60..7200i64).prop_map(
        |(is_apart, is_hers, is_live, held_for)| Other { is_apart, is_hers, is_live, held_for },
    )
}

impl Other {
    fn grant(self, index: usize) -> Grant {
        let mut grant = written();
        grant.metadata.name = Some(format!("other-{index}"));
        grant.metadata.uid = Some(format!("other-{index}"));
        grant.spec.request.uid = format!("other-request-{index}");
        grant.spec.policy.name = if self.is_apart { "apart" } else { "shop-debug" }.into();
        grant.spec.subject = user(if self.is_hers { "alice" } else { "carol" });
        grant.spec.approved_by = vec!["bob".into()];
        let status = grant.status.get_or_insert_default();
        // It began when alice's request was made, or ended then.
        let (from, to) = if self.is_live { (0, self.held_for) } else { (-self.held_for, 0) };
        grant.spec.starts_at = time(from).into();
        grant.spec.expires_at = time(to.max(3600)).into();
        if !self.is_live {
            grant.spec.expires_at = time(to).into();
            status.ended_at = Some(time(to).into());
        }
        status.activated_at = Some(time(from).into());
        status.phase = if self.is_live { GrantPhase::Active } else { GrantPhase::Ended };
        grant
    }

    /// How long it counts against the time of a day.
    fn counted(self) -> i64 {
        if self.is_live { self.held_for.max(3600) } else { self.held_for }
    }
}

#[derive(Clone, Debug)]
struct Case {
    hours: Option<Daily>,
    bans: Vec<Ban>,
    others: Vec<Other>,
    active: u32,
    per_day: Option<u32>,
    is_apart: bool,
    /// When the right is to start, in hours from the request.
    start: Option<i64>,
    now: i64,
}

fn any_case() -> impl Strategy<Value = Case> {
    let limits = (1..4u32, prop::option::of(3600..20_000u32));
    let hours = prop::option::of(any_hours());
    let people = (prop::collection::vec(any_ban(), 0..3), prop::collection::vec(any_other(), 0..4));
    let start = prop::option::of(0..30i64);
    (hours, people, limits, any::<bool>(), start, 0..4000i64).prop_map(
        |(hours, (bans, others), (active, per_day), is_apart, start, after)| Case {
            hours,
            bans,
            others,
            active,
            per_day,
            is_apart,
            start,
            now: starts_at(start) + after,
        },
    )
}

/// When the right starts: with its approval, or when it was asked for.
fn starts_at(start: Option<i64>) -> i64 {
    start.map_or(APPROVED_AT, |hours| (hours * 3600).max(APPROVED_AT))
}

impl Case {
    fn policy(&self) -> JitPolicy {
        let mut policy = policy("shop-debug");
        policy.spec.schedule = self.hours.map(Daily::schedule);
        policy.spec.limits = Some(Limits {
            open_requests_per_user: Some(20),
            active_grants_per_user: Some(self.active),
            granted_time_per_day: self.per_day.and_then(GrantDuration::from_seconds),
        });
        if self.is_apart {
            policy.spec.separation_of_duties = vec![Separation { policy: "apart".into() }];
        }
        policy
    }

    fn ban(&self, index: usize) -> JitPolicy {
        let Ban { is_on_alice, mode, hours } = self.bans[index];
        let mut ban = policy(&format!("ban-{index}"));
        ban.spec.effect = PolicyEffect::Deny;
        ban.spec.mode = mode;
        ban.spec.requesters = vec![group(if is_on_alice { "shop-developers" } else { "others" })];
        ban.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
        ban.spec.schedule = hours.map(Daily::schedule);
        ban
    }

    fn observed(&self) -> Observed {
        let mut observed = approved();
        let start = self.start.map(|hours| time(hours * 3600).into());
        observed.request.object.spec.start_time = start;
        let bans = (0..self.bans.len()).map(|index| state(&self.ban(index)));
        observed.policies = Read::Found([state(&self.policy())].into_iter().chain(bans).collect());
        let grants = |of: &dyn Fn(&Other) -> bool| -> Vec<Grant> {
            let others = self.others.iter().enumerate().filter(|(_, other)| of(other));
            others.map(|(index, other)| other.grant(index)).collect()
        };
        let Read::Found(peers) = &mut observed.peers else { panic!("the fixture knows the peers") };
        peers.grants = summaries(&grants(&|other| other.is_hers));
        let engaging = grants(&|other| other.is_apart && other.is_live);
        observed.engaging = Read::Found(summaries(&engaging));
        observed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn a_right_is_given_on_the_terms_of_its_policy_alone(case in any_case()) {
        let now = time(case.now);
        let Some(grant) = decide(&case.observed(), now).create else { return Ok(()) };
        let (starts, expires) = (grant.spec.starts_at.time(), grant.spec.expires_at.time());
        prop_assert_eq!(starts, time(starts_at(case.start)));
        prop_assert!(starts <= now && now < expires);

        if let Some(hours) = case.hours {
            let last = expires - TimeDelta::nanoseconds(1);
            // It is held from now on, and no hours are closed for less than one.
            prop_assert!(hours.contain(now) && hours.contain(last));
            prop_assert!(last - now < TimeDelta::hours(1));
        }
        for ban in &case.bans {
            let denies = ban.hours.is_none_or(|hours| hours.contain(now));
            prop_assert!(!(ban.is_on_alice && ban.mode == PolicyMode::Enforce && denies), "{ban:?}");
        }
        let mine: Vec<&Other> =
            case.others.iter().filter(|other| other.is_hers && !other.is_apart).collect();
        let live = mine.iter().filter(|other| other.is_live).count();
        prop_assert!(live < case.active as usize, "{live} are live");
        if let Some(limit) = case.per_day && case.now < 3600 {
            let held: i64 = mine.iter().map(|other| other.counted()).sum();
            prop_assert!(held + 3600 <= i64::from(limit), "{held} s are held");
        }
        let engages = |other: &Other| other.is_apart && other.is_live;
        prop_assert!(!(case.is_apart && case.others.iter().any(engages)), "alice or bob is engaged");
    }

    /// So that the property above says something: on good terms it is given.
    #[test]
    fn on_good_terms_it_is_given(case in any_case()) {
        let good = Case { hours: None, bans: vec![], others: vec![], per_day: None, start: None, now: 20, ..case };
        prop_assert!(decide(&good.observed(), time(20)).create.is_some());
    }
}
