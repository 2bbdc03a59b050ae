//! The hours in which rights may be held: a schedule that was checked, and what it says of a moment.

mod compile;
#[cfg(test)]
mod tests;
mod wall;

#[cfg(test)]
pub(crate) use wall::WEEK;

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// How far ahead to look. A schedule repeats each week, and what daylight saving takes out of one week
/// (a window that lies wholly in the skipped hour, or the pause between two) is there in the next: two
/// weeks and a day show every change that will ever come.
const LOOK_AHEAD: TimeDelta = TimeDelta::days(15);

/// The end that is told for hours that never end: longer than the longest grant, which is a year.
const ALWAYS: TimeDelta = TimeDelta::days(400);

/// The years in which a schedule is open at all, those that RFC 3339 can write. Outside of them the
/// arithmetic of dates could overflow.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// A schedule that was checked: its time zone exists and its windows have a start and an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    zone: Tz,
    windows: Vec<Window>,
}

/// The same hours on each of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// In the order of the week, each once.
    days: Vec<lapse_crds::Weekday>,
    start: NaiveTime,
    end: NaiveTime,
    /// Whether the end lies on the day after the start.
    over_midnight: bool,
}

/// What a schedule says of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hours {
    /// Rights may be held.
    Open {
        /// The first moment at which they may no longer. Windows that touch or overlap are one, so this
        /// is the end of them all; of hours that never end it is 400 days ahead.
        until: DateTime<Utc>,
    },
    /// Rights may not be held.
    Closed {
        /// The first moment at which they may again; `None` if there is none.
        opens: Option<DateTime<Utc>>,
    },
}

impl Schedule {
    /// What the schedule says of this moment.
    ///
    /// Windows are times on the wall of the zone. A start that the clock skips is the moment after the
    /// skip, as is an end. Of a time that comes twice a start is the first, and a window ends when the clock
    /// will not show a time before its end again, so that nobody who reads it is locked out within a window.
    #[must_use]
    pub fn at(&self, now: DateTime<Utc>) -> Hours {
        if !YEARS.contains(&now.year()) {
            return Hours::Closed { opens: None };
        }
        let mut until = None;
        for (start, end) in self.spans_around(now) {
            match until {
                None if end <= now => {}
                None if start > now => return Hours::Closed { opens: Some(start) },
                None => until = Some(end),
                Some(reached) if start > reached => break,
                Some(reached) => until = Some(reached.max(end)),
            }
        }
        match until {
            None => Hours::Closed { opens: None },
            // Nothing ended in two weeks: nothing ever will.
            Some(until) if until > now + LOOK_AHEAD => Hours::Open { until: now + ALWAYS },
            Some(until) => Hours::Open { until },
        }
    }

    /// The windows in words, such as `Mon–Fri 08:00–18:00 (Europe/Berlin)`.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.windows.is_empty() {
            return "never".to_owned();
        }
        let windows: Vec<String> = self.windows.iter().map(ToString::to_string).collect();
        format!("{} ({})", windows.join(", "), self.zone)
    }

    /// The times at which the windows are open, from a moment until the end of the look-ahead, by their
    /// start. It begins two days before: a window may have begun on the day before, and the date on the
    /// wall may be a day behind.
    fn spans_around(&self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let first = now.naive_utc().date() - Days::new(2);
        let last = (now + LOOK_AHEAD).naive_utc().date() + Days::new(2);
        let days = first.iter_days().take_while(|day| *day <= last);
        let mut spans: Vec<_> = days.flat_map(|day| self.spans_on(day)).collect();
        spans.sort_unstable();
        spans
    }

    /// The times at which the windows are open that start on a day.
    fn spans_on(&self, day: NaiveDate) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
        let weekday = wall::weekday_of(day);
        let windows = self.windows.iter().filter(move |window| window.days.contains(&weekday));
        windows.filter_map(move |window| {
            let last = day + Days::new(u64::from(window.over_midnight));
            let start = wall::first(self.zone, day.and_time(window.start))?;
            let end = wall::over(self.zone, last.and_time(window.end))?;
            // A window that lies wholly in what the clock skips has no length.
            (start < end).then_some((start, end))
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = self.over_midnight && self.end == NaiveTime::MIN;
        let (start, end) = (self.start.format("%H:%M"), self.end.format("%H:%M"));
        let end = if midnight { "24:00".to_owned() } else { end.to_string() };
        let next_day = if self.over_midnight && !midnight { " of the next day" } else { "" };
        write!(f, "{} {start}–{end}{next_day}", wall::describe_days(&self.days))
    }
}
