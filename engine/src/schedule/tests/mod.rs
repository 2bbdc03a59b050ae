//! Real days on which clocks change, and windows that touch.

mod clock;

use chrono::{DateTime, Utc};
use lapse_crds::{Weekday, Window};
use rstest::rstest;

use super::wall::WEEK;
use super::{ALWAYS, Hours, Schedule};

/// A schedule from text such as `Mon Tue 08:00-12:00; Fri 22:00-06:00`.
fn schedule(zone: &str, windows: &str) -> Schedule {
    let windows = windows.split(';').map(str::trim).filter(|text| !text.is_empty());
    let windows = windows.map(|text| {
        let (days, hours) = text.rsplit_once(' ').unwrap();
        let (start, end) = hours.split_once('-').unwrap();
        let named = |day: &Weekday| days.contains(&day.to_string());
        let days = WEEK.into_iter().filter(named).collect();
        Window { days, start: start.into(), end: end.into() }
    });
    compile(zone, windows.collect())
}

fn compile(zone: &str, windows: Vec<Window>) -> Schedule {
    Schedule::compile(&lapse_crds::Schedule { time_zone: zone.into(), windows }).unwrap()
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn is_open(hours: Hours) -> bool {
    matches!(hours, Hours::Open { .. })
}

/// The hours in words, such as `open until 2026-01-05 17:00`.
fn told(hours: Hours) -> String {
    match hours {
        Hours::Open { until } => format!("open until {}", until.format("%F %R")),
        Hours::Closed { opens: Some(opens) } => format!("closed until {}", opens.format("%F %R")),
        Hours::Closed { opens: None } => "closed".to_owned(),
    }
}

const OFFICE: &str = "Mon Tue Wed Thu Fri 08:00-18:00";

#[rstest]
// The same hours on the wall, in winter and in summer; the end is no longer within.
#[case("Europe/Berlin", OFFICE, "2026-01-05T06:59:59Z", "closed until 2026-01-05 07:00")]
#[case("Europe/Berlin", OFFICE, "2026-01-05T07:00:00Z", "open until 2026-01-05 17:00")]
#[case("Europe/Berlin", OFFICE, "2026-01-05T16:59:59Z", "open until 2026-01-05 17:00")]
#[case("Europe/Berlin", OFFICE, "2026-01-05T17:00:00Z", "closed until 2026-01-06 07:00")]
#[case("Europe/Berlin", OFFICE, "2026-07-06T06:00:00Z", "open until 2026-07-06 16:00")]
// Over the weekend on which the clocks change.
#[case("Europe/Berlin", OFFICE, "2026-03-27T17:00:00Z", "closed until 2026-03-30 06:00")]
#[case("Europe/Berlin", OFFICE, "2026-10-23T16:00:00Z", "closed until 2026-10-26 07:00")]
// A zone that is half an hour off, and one at a quarter.
#[case("Asia/Kolkata", "Mon 09:30-18:00", "2026-01-05T04:00:00Z", "open until 2026-01-05 12:30")]
#[case("Asia/Kolkata", "Mon 09:30-18:00", "2026-01-05T03:59:00Z", "closed until 2026-01-05 04:00")]
#[case("Asia/Kathmandu", "Mon 09:30-18:00", "2026-01-05T03:45:00Z", "open until 2026-01-05 12:15")]
// Zones whose date is another than that of UTC.
#[case(
    "Pacific/Kiritimati",
    "Mon 00:00-24:00",
    "2026-01-04T10:00:00Z",
    "open until 2026-01-05 10:00"
)]
#[case(
    "Pacific/Pago_Pago",
    "Mon 00:00-24:00",
    "2026-01-06T10:59:00Z",
    "open until 2026-01-06 11:00"
)]
fn follows_the_wall(
    #[case] zone: &str,
    #[case] windows: &str,
    #[case] now: &str,
    #[case] expected: &str,
) {
    assert_eq!(told(schedule(zone, windows).at(moment(now))), expected);
}

#[rstest]
// Berlin, spring: 02:00 becomes 03:00 at 01:00Z.
#[case("Europe/Berlin", "Sun 02:30-04:00", "2026-03-29T00:59:00Z", "closed until 2026-03-29 01:00")]
#[case("Europe/Berlin", "Sun 02:30-04:00", "2026-03-29T01:00:00Z", "open until 2026-03-29 02:00")]
#[case("Europe/Berlin", "Sun 01:00-02:30", "2026-03-29T00:30:00Z", "open until 2026-03-29 01:00")]
#[case("Europe/Berlin", "Sun 02:10-02:50", "2026-03-28T12:00:00Z", "closed until 2026-04-05 00:10")]
#[case("Europe/Berlin", "Sun 02:10-02:50", "2026-03-22T01:50:00Z", "closed until 2026-04-05 00:10")]
#[case("Europe/Berlin", "Sat 22:00-06:00", "2026-03-28T21:00:00Z", "open until 2026-03-29 04:00")]
#[case("Europe/Berlin", "Sun 00:00-24:00", "2026-03-28T23:00:00Z", "open until 2026-03-29 22:00")]
// Berlin, autumn: 03:00 becomes 02:00 at 01:00Z.
#[case("Europe/Berlin", "Sun 02:30-04:00", "2026-10-25T00:30:00Z", "open until 2026-10-25 03:00")]
#[case("Europe/Berlin", "Sun 02:30-04:00", "2026-10-25T00:29:00Z", "closed until 2026-10-25 00:30")]
#[case("Europe/Berlin", "Sun 01:00-02:30", "2026-10-25T00:45:00Z", "open until 2026-10-25 01:30")]
#[case("Europe/Berlin", "Sat 22:00-06:00", "2026-10-24T20:00:00Z", "open until 2026-10-25 05:00")]
#[case("Europe/Berlin", "Sun 00:00-24:00", "2026-10-24T22:00:00Z", "open until 2026-10-25 23:00")]
// New York: spring at 07:00Z, autumn at 06:00Z.
#[case(
    "America/New_York",
    "Sun 02:30-04:00",
    "2026-03-08T06:59:00Z",
    "closed until 2026-03-08 07:00"
)]
#[case(
    "America/New_York",
    "Sun 02:30-04:00",
    "2026-03-08T07:00:00Z",
    "open until 2026-03-08 08:00"
)]
#[case(
    "America/New_York",
    "Sun 01:30-03:00",
    "2026-11-01T05:29:00Z",
    "closed until 2026-11-01 05:30"
)]
#[case(
    "America/New_York",
    "Sun 01:30-03:00",
    "2026-11-01T05:30:00Z",
    "open until 2026-11-01 08:00"
)]
#[case(
    "America/New_York",
    "Sun 00:00-01:30",
    "2026-11-01T05:00:00Z",
    "open until 2026-11-01 06:30"
)]
// The hour that comes twice begins with 01:00: what ends then is over when the clock first shows it.
#[case(
    "America/New_York",
    "Sun 00:00-01:00",
    "2026-11-01T04:30:00Z",
    "open until 2026-11-01 05:00"
)]
#[case(
    "America/New_York",
    "Sun 00:00-02:00",
    "2026-11-01T04:30:00Z",
    "open until 2026-11-01 07:00"
)]
// Sydney: spring is in October, at 16:00Z of the day before, autumn in April.
#[case(
    "Australia/Sydney",
    "Sun 02:30-05:00",
    "2026-10-03T15:59:00Z",
    "closed until 2026-10-03 16:00"
)]
#[case(
    "Australia/Sydney",
    "Sun 02:30-05:00",
    "2026-10-03T16:00:00Z",
    "open until 2026-10-03 18:00"
)]
#[case(
    "Australia/Sydney",
    "Sun 02:30-05:00",
    "2026-04-04T15:30:00Z",
    "open until 2026-04-04 19:00"
)]
#[case(
    "Australia/Sydney",
    "Sat 22:00-06:00",
    "2026-10-03T12:00:00Z",
    "open until 2026-10-03 19:00"
)]
// Lord Howe Island changes by half an hour: 02:00 becomes 02:30 at 15:30Z, and 01:30 at 15:00Z.
#[case(
    "Australia/Lord_Howe",
    "Sun 02:15-05:00",
    "2026-10-03T15:29:00Z",
    "closed until 2026-10-03 15:30"
)]
#[case(
    "Australia/Lord_Howe",
    "Sun 02:15-05:00",
    "2026-10-03T15:30:00Z",
    "open until 2026-10-03 18:00"
)]
#[case(
    "Australia/Lord_Howe",
    "Sun 01:45-05:00",
    "2026-04-04T14:45:00Z",
    "open until 2026-04-04 18:30"
)]
// São Paulo changed at midnight: Sunday 2018-11-04 began at 01:00, which was 03:00Z.
#[case(
    "America/Sao_Paulo",
    "Sat 20:00-24:00",
    "2018-11-04T02:59:00Z",
    "open until 2018-11-04 03:00"
)]
#[case(
    "America/Sao_Paulo",
    "Sun 00:00-06:00",
    "2018-11-04T02:00:00Z",
    "closed until 2018-11-04 03:00"
)]
// Samoa left out the Friday of 2011-12-30.
#[case("Pacific/Apia", "Fri 08:00-18:00", "2011-12-30T00:00:00Z", "closed until 2012-01-05 18:00")]
fn keeps_to_the_wall_when_clocks_change(
    #[case] zone: &str,
    #[case] windows: &str,
    #[case] now: &str,
    #[case] expected: &str,
) {
    assert_eq!(told(schedule(zone, windows).at(moment(now))), expected);
}

#[rstest]
#[case::over_midnight("Fri 22:00-06:00", "2026-01-03T05:00:00Z", "open until 2026-01-03 06:00")]
#[case::belongs_to_its_start(
    "Fri 22:00-06:00",
    "2026-01-02T05:00:00Z",
    "closed until 2026-01-02 22:00"
)]
#[case::sunday_to_monday("Sun 22:00-02:00", "2026-01-05T01:00:00Z", "open until 2026-01-05 02:00")]
#[case::whole_days("Sun Mon 00:00-24:00", "2026-01-04T12:00:00Z", "open until 2026-01-06 00:00")]
#[case::touching(
    "Mon 08:00-12:00; Mon 12:00-16:00",
    "2026-01-05T09:00:00Z",
    "open until 2026-01-05 16:00"
)]
#[case::at_the_touch(
    "Mon 12:00-16:00; Mon 08:00-12:00",
    "2026-01-05T12:00:00Z",
    "open until 2026-01-05 16:00"
)]
#[case::overlapping(
    "Mon 08:00-13:00; Mon 12:00-16:00",
    "2026-01-05T08:00:00Z",
    "open until 2026-01-05 16:00"
)]
#[case::nested(
    "Mon 08:00-18:00; Mon 10:00-11:00",
    "2026-01-05T10:30:00Z",
    "open until 2026-01-05 18:00"
)]
#[case::after_the_nested(
    "Mon 08:00-18:00; Mon 10:00-11:00",
    "2026-01-05T12:00:00Z",
    "open until 2026-01-05 18:00"
)]
#[case::pause(
    "Mon 08:00-12:00; Mon 13:00-16:00",
    "2026-01-05T12:30:00Z",
    "closed until 2026-01-05 13:00"
)]
#[case::a_week_but_a_minute(
    "Sun 00:00-23:59; Mon Tue Wed Thu Fri Sat 00:00-24:00",
    "2026-01-05T00:00:00Z",
    "open until 2026-01-11 23:59"
)]
#[case::nothing_means_never("", "2026-01-05T00:00:00Z", "closed")]
fn windows_that_touch_are_one(#[case] windows: &str, #[case] now: &str, #[case] expected: &str) {
    assert_eq!(told(schedule("UTC", windows).at(moment(now))), expected);
}

#[rstest]
#[case("UTC")]
#[case("Europe/Berlin")]
#[case("America/Sao_Paulo")]
#[case("Pacific/Apia")]
fn hours_that_never_end_are_longer_than_any_grant(#[case] zone: &str) {
    let always = schedule(zone, "Mon Tue Wed Thu Fri Sat Sun 00:00-24:00");
    for now in ["2011-12-29T12:00:00Z", "2018-11-03T12:00:00Z", "2026-03-28T12:00:00Z"] {
        let now = moment(now);
        assert_eq!(always.at(now), Hours::Open { until: now + ALWAYS });
    }
}

#[rstest]
#[case("0000-12-31T23:59:59Z")]
#[case("+10000-01-01T00:00:00Z")]
#[case("+262142-12-31T23:59:59Z")]
#[case("-262143-01-01T00:00:00Z")]
fn is_closed_in_years_that_nobody_can_write(#[case] now: &str) {
    let always = schedule("Asia/Tokyo", "Mon Tue Wed Thu Fri Sat Sun 00:00-24:00");
    assert_eq!(always.at(moment(now)), Hours::Closed { opens: None });
}

#[rstest]
#[case("0001-01-01T00:00:00Z")]
#[case("9999-12-31T23:59:59Z")]
fn does_not_fail_at_the_first_and_the_last_year(#[case] now: &str) {
    assert_ne!(schedule("Asia/Tokyo", OFFICE).at(moment(now)), Hours::Closed { opens: None });
}
