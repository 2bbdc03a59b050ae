use chrono::DateTime;
use rstest::rstest;

use super::*;
use crate::asked::Asked;
use crate::right::Elevation;

fn reading(seconds: i64) -> Reading {
    let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds);
    let boottime_ms = u64::try_from((seconds + 1_000_000) * 1000).unwrap();
    Reading { wall, boottime_ms, boot_id: "a".into() }
}

/// A right from 0 s on, for so long, with this list of its policy.
fn record(length: i64, own: Option<&[&str]>) -> Record {
    let right = Right {
        user: "al".into(),
        uid: 1000,
        starts_at: reading(0).wall,
        expires_at: reading(length).wall,
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    let asked = Asked {
        request: "shop/fix".into(),
        ticket: None,
        approved_by: vec![],
        warnings: own.map(|own| own.iter().map(|text| text.parse().unwrap()).collect()),
    };
    let record = Record::received("g".into(), "u".into(), right, &reading(0));
    Record { asked: Some(asked), stage: Stage::Active, ..record }
}

fn words(say: Saying) -> String {
    match say {
        Saying::Begins => "begins".to_owned(),
        Saying::EndsIn(left) => left.to_string(),
        Saying::EndedEarly => "ended early".to_owned(),
    }
}

/// All that is told of a right that is looked at in each second of its life, and when.
fn life(mut record: Record, length: i64, over_at: i64) -> String {
    let (mut told, mut said) = (Told::default(), Vec::new());
    for second in 0..length + 300 {
        if second >= over_at && record.stage == Stage::Active {
            record.go(Stage::Over, &reading(second));
        }
        let seen = look(&record, told, &reading(second));
        told = seen.told;
        said.extend(seen.say.map(|say| format!("{second}: {}", words(say))));
    }
    said.join(", ")
}

#[rstest]
#[case::more_than_an_hour(7200, None, "0: begins, 5400: 30m, 6900: 5m, 7140: 1m")]
#[case::an_hour(3600, None, "0: begins, 3000: 10m, 3300: 5m, 3540: 1m")]
#[case::less_than_half_an_hour(1799, None, "0: begins, 1679: 2m, 1739: 1m")]
#[case::less_than_five_minutes(60, None, "0: begins, 40: 20s, 55: 5s")]
#[case::shorter_than_its_first(15, None, "0: begins, 10: 5s")]
#[case::of_the_policy(3600, Some(&["45m", "3m"][..]), "0: begins, 900: 45m, 3420: 3m")]
#[case::none(3600, Some(&[][..]), "0: begins")]
#[case::as_long_as_the_right(3600, Some(&["1h", "2h", "1s"][..]), "0: begins, 3599: 1s")]
fn each_thing_is_told_once(
    #[case] length: i64,
    #[case] own: Option<&[&str]>,
    #[case] expected: &str,
) {
    assert_eq!(life(record(length, own), length, length), expected);
}

#[rstest]
#[case::early(1000, "0: begins, 1000: ended early")]
#[case::in_its_last_seconds(1799, "0: begins, 1680: 2m, 1740: 1m")]
#[case::a_little_before(1790, "0: begins, 1680: 2m, 1740: 1m, 1790: ended early")]
fn an_early_end_is_told(#[case] over_at: i64, #[case] expected: &str) {
    let own = Some(&["2m", "1m"][..]);
    assert_eq!(life(record(1800, own), 1800, over_at), expected);
}

/// What was told before, the second that is looked at, and what is told.
#[rstest]
#[case::at_its_start(Told::default(), 0, Some("begins"))]
#[case::an_agent_that_started_late(Told::default(), 119, Some("begins"))]
#[case::too_late_for_that(Told::default(), 120, None)]
#[case::a_restart(Told { began: true, ..Told::default() }, 60, None)]
#[case::a_warning_a_little_late(Told { began: true, ..Told::default() }, 1690, Some("1m50s"))]
#[case::the_last_of_several(Told { began: true, ..Told::default() }, 1750, Some("50s"))]
#[case::one_that_was_told(Told { began: true, warned: Some(60), ended: false }, 1750, None)]
#[case::the_next_one(Told { began: true, warned: Some(120), ended: false }, 1740, Some("1m"))]
fn after_a_restart_nothing_is_told_again(
    #[case] told: Told,
    #[case] second: i64,
    #[case] expected: Option<&str>,
) {
    let seen = look(&record(1800, Some(&["2m", "1m"])), told, &reading(second));
    assert_eq!(seen.say.map(words).as_deref(), expected);
    assert_eq!(look(&record(1800, Some(&["2m", "1m"])), seen.told, &reading(second)).say, None);
}

/// It comes too late to be of use, and is not told; the next one is.
#[test]
fn a_warning_that_was_missed_for_long_is_left_out() {
    let record = record(7200, Some(&["1h", "1m"]));
    let told = Told { began: true, ..Told::default() };
    let seen = look(&record, told, &reading(3600 + 120));
    assert_eq!((seen.say, seen.told.warned), (None, Some(3600)));
    assert_eq!(seen.next_in, Some(TimeDelta::seconds(3600 - 120 - 60)));
}

#[rstest]
#[case::while_it_is_given(Stage::Giving)]
#[case::before_its_start(Stage::Received)]
#[case::never_given(Stage::Over)]
fn of_what_was_never_held_nothing_is_told(#[case] stage: Stage) {
    let record = Record { stage, ..record(600, None) };
    assert_eq!(look(&record, Told::default(), &reading(1)).say, None);
}

#[test]
fn an_end_that_is_long_past_is_not_told() {
    let mut record = record(3600, None);
    record.go(Stage::Over, &reading(100));
    let told = Told { began: true, ..Told::default() };
    assert_eq!(look(&record, told, &reading(219)).say, Some(Saying::EndedEarly));
    let seen = look(&record, told, &reading(220));
    assert_eq!((seen.say, seen.told.ended), (None, true));
}

/// A clock that was set does not put a warning off.
#[test]
fn warnings_go_by_the_first_clock() {
    let told = Told { began: true, ..Told::default() };
    let set_back = Reading { boottime_ms: reading(1740).boottime_ms, ..reading(600) };
    let seen = look(&record(1800, None), told, &set_back);
    assert_eq!(seen.say.map(words).as_deref(), Some("1m"));
}
