//! Which warnings there are, that each is told once and in time, and in which words.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::Read;
use crate::grant::{Observed, decide};
use crate::policy::Policies;
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, active, pending, state, time};
use crate::testing::{policy, tell};

/// The grant of the fixture while it is held, of this length in seconds, by a policy with this list.
fn held(length: i64, own: Option<&[&str]>) -> Observed {
    let mut observed = active();
    observed.grant.spec.expires_at = time(APPROVED_AT + length).into();
    lists(&mut observed, own);
    observed
}

fn lists(observed: &mut Observed, own: Option<&[&str]>) {
    let mut policy = policy("shop-debug");
    let warnings = own.map(|own| own.iter().map(|text| text.parse().unwrap()).collect());
    policy.spec.session = Some(lapse_crds::Session { warnings, ..lapse_crds::Session::default() });
    observed.policies = Read::Found([state(&policy)].into());
}

#[rstest]
#[case::more_than_an_hour(3601, &["30m", "5m", "1m"])]
#[case::an_hour(3600, &["10m", "5m", "1m"])]
#[case::half_an_hour(1800, &["10m", "5m", "1m"])]
#[case::less(1799, &["2m", "1m"])]
#[case::five_minutes(300, &["2m", "1m"])]
#[case::less_than_five_minutes(299, &["20s", "5s"])]
#[case::no_longer_than_the_first(20, &["5s"])]
#[case::no_longer_than_any(5, &[])]
fn go_by_the_length_of_the_grant(#[case] length: i64, #[case] expected: &[&str]) {
    let names: Vec<String> =
        warnings_of(None, TimeDelta::seconds(length)).iter().map(ToString::to_string).collect();
    assert_eq!(names, expected);
}

#[rstest]
#[case::own(&["45m", "3m"], &["45m", "3m"])]
#[case::none(&[], &[])]
#[case::as_long_as_the_grant(&["1h", "2h", "59m59s"], &["59m59s"])]
fn go_by_the_list_of_the_policy(#[case] own: &[&str], #[case] expected: &[&str]) {
    let own: Vec<GrantDuration> = own.iter().map(|text| text.parse().unwrap()).collect();
    let names: Vec<String> =
        warnings_of(Some(&own), TimeDelta::hours(1)).iter().map(ToString::to_string).collect();
    assert_eq!(names, expected);
}

#[test]
fn are_told_in_words() {
    let observed = active();
    insta::assert_snapshot!(tell::grant(&decide(&observed, time(EXPIRES_AT - 300))), @r"
    (nothing new)
    event grant-1.ends-in-5m Normal EndsSoon: Your access ends in 5m, at 12:06:50 UTC; request more time if you need it.
    looks again at 3550 s
    ");
    insta::assert_snapshot!(tell::grant(&decide(&observed, time(EXPIRES_AT - 257))), @r"
    (nothing new)
    event grant-1.ends-in-5m Normal EndsSoon: Your access ends in 4m17s, at 12:06:50 UTC; request more time if you need it.
    looks again at 3550 s
    ");
}

/// Who is told the day before is told the day.
#[test]
fn name_the_day_if_it_is_another() {
    let observed = held(24 * 3600, Some(&["20h"]));
    let plan = decide(&observed, time(APPROVED_AT + 4 * 3600));
    insta::assert_snapshot!(plan.warning.unwrap().notice.message, @"Your access ends in 20h, at 2026-11-19 11:06:50 UTC; request more time if you need it.");
}

#[rstest]
#[case::not_yet(-1, None)]
#[case::in_time(0, Some("grant-1.ends-in-10m"))]
#[case::late(119, Some("grant-1.ends-in-10m"))]
#[case::too_late(120, None)]
fn are_told_in_time_or_not_at_all(#[case] seconds: i64, #[case] expected: Option<&str>) {
    let plan = decide(&active(), time(EXPIRES_AT - 600 + seconds));
    assert_eq!(plan.warning.map(|warning| warning.event).as_deref(), expected);
}

#[test]
fn are_told_alone_when_several_were_missed() {
    let observed = held(3600, Some(&["60s", "30s", "20s"]));
    let plan = decide(&observed, time(EXPIRES_AT - 25));
    assert_eq!(plan.warning.unwrap().event, "grant-1.ends-in-30s");
}

/// The list is read when the warning is due, whatever it was when the right was given.
#[test]
fn follow_the_policy_as_it_is() {
    let mut observed = active();
    let at = time(EXPIRES_AT - 45 * 60);
    assert_eq!(decide(&observed, at).warning, None);
    lists(&mut observed, Some(&["45m"]));
    assert_eq!(decide(&observed, at).warning.unwrap().event, "grant-1.ends-in-45m");
    lists(&mut observed, Some(&[]));
    let plan = decide(&observed, time(EXPIRES_AT - 300));
    assert_eq!((plan.warning, plan.wake_at), (None, Some(time(EXPIRES_AT))));
}

#[rstest]
#[case::unread(Read::Failed("timeout".into()))]
#[case::broken({
    let mut broken = policy("shop-debug");
    broken.spec.duration.as_mut().unwrap().max = "48h".parse().ok();
    broken.spec.session = Some(lapse_crds::Session { warnings: Some(vec![]), ..lapse_crds::Session::default() });
    Read::Found([state(&broken)].into())
})]
fn go_by_the_length_when_the_policy_is_not_known(#[case] policies: Read<Policies>) {
    let observed = Observed { policies, ..active() };
    let plan = decide(&observed, time(EXPIRES_AT - 300));
    assert_eq!(plan.warning.unwrap().event, "grant-1.ends-in-5m");
}

#[test]
fn there_are_none_before_the_right_is_held_or_after_its_end() {
    let due = time(EXPIRES_AT - 60);
    assert_eq!(decide(&pending(), due).warning, None);
    assert_eq!(decide(&active(), time(EXPIRES_AT)).warning, None);
    let mut denied = active();
    denied.request_is_over();
    assert_eq!(decide(&denied, due).warning, None);
}

/// A right that is given late is warned of in the same step: no event brings another look in time.
#[test]
fn come_with_the_right_when_they_are_due() {
    let mut observed = pending();
    observed.bind();
    let plan = decide(&observed, time(EXPIRES_AT - 60));
    assert!(plan.gives());
    assert_eq!(plan.warning.unwrap().event, "grant-1.ends-in-1m");
}

/// What an API server makes of the events that are posted: one of each name, for as long as it keeps it.
#[derive(Default)]
struct Events {
    until: BTreeMap<String, DateTime<Utc>>,
    told: BTreeMap<String, usize>,
}

impl Events {
    fn post(&mut self, warning: Option<Warning>, now: DateTime<Utc>) {
        self.until.retain(|_, until| now < *until);
        let Some(Warning { event, .. }) = warning else { return };
        if !self.until.contains_key(&event) {
            self.until.insert(event.clone(), now + LATEST);
            *self.told.entry(event).or_default() += 1;
        }
    }
}

fn any_list() -> impl Strategy<Value = Option<Vec<GrantDuration>>> {
    let seconds = prop_oneof![1u32..90, 1u32..20_000];
    let own = prop::collection::vec(seconds, 0..6);
    let own = own.prop_map(|all| all.into_iter().filter_map(GrantDuration::from_seconds).collect());
    prop::option::of(own)
}

fn any_held() -> impl Strategy<Value = Observed> {
    let length = prop_oneof![6i64..600, 6i64..20_000];
    (length, any_list()).prop_map(|(length, warnings)| {
        let mut observed = held(length, None);
        let mut policy = policy("shop-debug");
        policy.spec.session =
            Some(lapse_crds::Session { warnings, ..lapse_crds::Session::default() });
        observed.policies = Read::Found([state(&policy)].into());
        observed
    })
}

proptest! {
    /// Even where events are kept for no longer than a warning may be late.
    #[test]
    fn each_is_told_at_most_once_and_none_after_the_end(
        observed in any_held(),
        looks in prop::collection::vec(0i64..21_000, 0..60),
    ) {
        let end = expiry(&observed.grant);
        let mut events = Events::default();
        let mut looks: Vec<_> = looks.into_iter().map(|after| time(APPROVED_AT + after)).collect();
        looks.sort_unstable();
        for now in looks {
            let warning = decide(&observed, now).warning;
            prop_assert!(warning.is_none() || now < end);
            events.post(warning, now);
        }
        prop_assert!(events.told.values().all(|times| *times == 1), "{:?}", events.told);
    }

    /// Who looks again when the plan says so, and at no other time, tells all of them.
    #[test]
    fn the_plan_wakes_for_each(observed in any_held()) {
        let end = expiry(&observed.grant);
        let mut now = time(APPROVED_AT + 2);
        let mut events = Events::default();
        while now < end {
            let plan = decide(&observed, now);
            events.post(plan.warning, now);
            let wake_at = plan.wake_at.expect("a right that is held has an end");
            prop_assert!(wake_at > now);
            now = wake_at;
        }
        let length = end - observed.grant.spec.starts_at.time();
        let all = warnings_of(of_policy(&observed), length).into_iter();
        let ahead = all.filter(|before| end - before.delta() > time(APPROVED_AT + 2));
        for before in ahead {
            let event = format!("grant-1.ends-in-{before}");
            prop_assert!(events.told.contains_key(&event), "{event}: {:?}", events.told);
        }
    }
}
