use rstest::rstest;

use super::*;
use crate::right::Elevation;

fn reading(seconds: i64) -> Reading {
    let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds);
    let boottime_ms = u64::try_from((seconds + 1_000_000) * 1000).unwrap();
    Reading { wall, boottime_ms, boot_id: "a".into() }
}

fn seen() -> MaxSeen {
    MaxSeen { wall: reading(-1000).wall }
}

fn record(starts: i64, ends: i64) -> Record {
    let right = Right {
        user: "al".into(),
        uid: 1000,
        starts_at: reading(starts).wall,
        expires_at: reading(ends).wall,
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    Record::received("g".into(), "u".into(), right, &reading(0))
}

#[rstest]
#[case::at_once(0, Stage::Received, 0, "give")]
#[case::before_its_start(10, Stage::Received, 9, "nothing")]
#[case::at_its_start(10, Stage::Received, 10, "give")]
#[case::never_given_and_over(10, Stage::Received, 60, "end")]
#[case::after_a_crash(0, Stage::Giving, 1, "give")]
#[case::after_a_crash_and_over(0, Stage::Giving, 60, "end")]
#[case::in_its_time(0, Stage::Active, 59, "nothing")]
#[case::at_its_end(0, Stage::Active, 60, "end")]
#[case::not_gone_yet(0, Stage::Ending, 1, "end")]
#[case::gone(0, Stage::Over, 59, "nothing")]
fn what_is_to_be_done(
    #[case] starts: i64,
    #[case] stage: Stage,
    #[case] now: i64,
    #[case] expected: &str,
) {
    let mut record = record(starts, 60);
    record.stage = stage;
    let next = match record.next(Some(&reading(now)), &seen()) {
        Next::Nothing => "nothing",
        Next::Give(right) if Some(right) == record.right.as_ref() => "give",
        Next::Give(_) => "another right",
        Next::End => "end",
        Next::Forget => "forget",
    };
    assert_eq!(next, expected);
}

#[test]
fn what_is_over_is_kept_until_it_is_told_and_its_time_is_up() {
    let mut early = record(0, 60);
    early.go(Stage::Over, &reading(10));
    early.recorded = early.sequence;
    assert_eq!(
        early.next(Some(&reading(59)), &seen()),
        Next::Nothing,
        "its order could come again"
    );
    assert_eq!(early.next(Some(&reading(60)), &seen()), Next::Forget);
    let back = MaxSeen { wall: reading(100_000).wall };
    assert_eq!(early.next(Some(&reading(61)), &back), Next::Nothing, "the clock was set back");
    early.recorded = 0;
    assert_eq!(early.next(Some(&reading(61)), &seen()), Next::Nothing, "nobody knows");
    let mut unknown = Record::over("g".into(), "u".into(), None, &reading(0));
    unknown.recorded = unknown.sequence;
    assert_eq!(unknown.next(Some(&reading(86_400 * 7)), &seen()), Next::Nothing);
    assert_eq!(unknown.next(Some(&reading(86_400 * 7 + 1)), &seen()), Next::Forget);
}

#[test]
fn a_clock_that_was_set_back_ends_what_is_in_force() {
    let mut record = record(0, 60);
    record.go(Stage::Active, &reading(1));
    assert_eq!(record.next(Some(&reading(5)), &MaxSeen { wall: reading(20).wall }), Next::End);
}

#[test]
fn each_change_has_a_receipt_of_its_own() {
    let mut record = record(0, 60);
    assert!(!record.is_news(&reading(0)), "it is given at once");
    record.go(Stage::Giving, &reading(0));
    record.go(Stage::Active, &reading(1));
    let given = record.receipt();
    assert_eq!((given.state, given.sequence), (OrderState::Active, record.sequence));
    assert!(record.is_news(&reading(1)));
    record.recorded = record.sequence;
    assert!(!record.is_news(&reading(2)));
    record.go(Stage::Ending, &reading(60));
    record.say(Some("x".repeat(1000)));
    record.say(Some("x".repeat(1000)));
    let ending = record.receipt();
    assert_eq!((ending.state, ending.sequence), (OrderState::Ending, given.sequence + 59_001));
    assert_eq!(ending.message.unwrap().len(), LONGEST);
    record.go(Stage::Over, &reading(61));
    assert_eq!(record.receipt().state, OrderState::Ended);
    record.failed = true;
    assert_eq!(record.receipt().state, OrderState::Failed);
}

#[test]
fn what_waits_for_its_start_says_so() {
    let record = record(30, 60);
    assert!(record.is_news(&reading(0)));
    assert_eq!(record.due(), Some(reading(30).wall));
}

/// A disk that was restored to an earlier state, on a host that went on meanwhile.
#[test]
fn what_is_said_later_has_a_higher_number() {
    let mut record = record(0, 60);
    record.go(Stage::Active, &reading(1));
    let restored = record.clone();
    record.go(Stage::Ending, &reading(10));
    record.say(Some("still there".into()));
    let mut again = restored;
    again.go(Stage::Ending, &reading(20));
    assert!(again.sequence > record.sequence);
    // And so it has where the clock was set back.
    let before = again.sequence;
    again.go(Stage::Over, &reading(5));
    assert_eq!(again.sequence, before + 1);
}
