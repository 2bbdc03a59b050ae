//! From the clock and the calendar on the wall to moments.

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::{GapInfo, Tz};
use lapse_crds::Weekday;

/// The days of the week, in order.
pub(crate) const WEEK: [Weekday; 7] = [
    Weekday::Mon,
    Weekday::Tue,
    Weekday::Wed,
    Weekday::Thu,
    Weekday::Fri,
    Weekday::Sat,
    Weekday::Sun,
];

/// The moment at which the clock on the wall first shows a time, or, if it skips it, goes on.
pub(super) fn first(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    moments(zone, wall).map(|(first, _)| first)
}

/// The moment from which the clock on the wall never again shows a time before this one. When the clock is set
/// back to exactly this time, that is when it first shows it.
pub(super) fn over(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    const INSTANT: TimeDelta = TimeDelta::nanoseconds(1);
    let (_, last) = moments(zone, wall - INSTANT)?;
    // What is skipped is over when the clock goes on.
    let is_shown = zone.from_utc_datetime(&last.naive_utc()).naive_local() < wall;
    Some(if is_shown { last + INSTANT } else { last })
}

/// The first and the last moment. `None` only if the zone does not know when what it skips ends, which
/// no zone of the database does.
fn moments(zone: Tz, wall: NaiveDateTime) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (one, other) = match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(moment) => (moment, moment),
        MappedLocalTime::Ambiguous(one, other) => (one, other),
        MappedLocalTime::None => GapInfo::new(&wall, &zone)?.end.map(|end| (end, end))?,
    };
    let (one, other) = (one.with_timezone(&Utc), other.with_timezone(&Utc));
    Some((one.min(other), one.max(other)))
}

/// The day of the week of a date.
pub(super) fn weekday_of(day: NaiveDate) -> Weekday {
    match day.weekday() {
        chrono::Weekday::Mon => Weekday::Mon,
        chrono::Weekday::Tue => Weekday::Tue,
        chrono::Weekday::Wed => Weekday::Wed,
        chrono::Weekday::Thu => Weekday::Thu,
        chrono::Weekday::Fri => Weekday::Fri,
        chrono::Weekday::Sat => Weekday::Sat,
        chrono::Weekday::Sun => Weekday::Sun,
    }
}

/// Days in words, three or more in a row as a range: `Mon–Fri, Sun`.
pub(super) fn describe_days(days: &[Weekday]) -> String {
    let runs = WEEK.chunk_by(|one, next| days.contains(one) == days.contains(next));
    let words = runs.filter(|run| days.contains(&run[0])).map(|run| match run {
        [first, _, .., last] => format!("{first}–{last}"),
        _ => run.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    });
    words.collect::<Vec<_>>().join(", ")
}
