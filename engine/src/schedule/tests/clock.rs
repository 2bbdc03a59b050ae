//! Properties: the same answer as a clock that is read every minute, and boundaries that are real.

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use lapse_crds::Window;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{compile, is_open, moment};
use crate::schedule::wall::{WEEK, weekday_of};
use crate::schedule::{ALWAYS, Hours, LOOK_AHEAD};

/// A clock on the wall that is read every minute.
struct Clock {
    start: DateTime<Utc>,
    shown: Vec<NaiveDateTime>,
}

impl Clock {
    fn read(zone: Tz, now: DateTime<Utc>) -> Self {
        let start = (now - TimeDelta::days(3)).with_second(0).unwrap().with_nanosecond(0).unwrap();
        let minutes = (TimeDelta::days(6) + LOOK_AHEAD).num_minutes();
        let at = |minute| (start + TimeDelta::minutes(minute)).with_timezone(&zone).naive_local();
        Self { start, shown: (0..minutes).map(at).collect() }
    }

    /// Which minutes lie in a window, by words and not by conversion: the clock has shown its start at
    /// least once, and will still show a time before its end.
    fn open(&self, windows: &[Window]) -> Vec<bool> {
        let mut open = vec![false; self.shown.len()];
        let first = self.shown[0].date();
        for (day, window) in
            first.iter_days().take(24).flat_map(|d| windows.iter().map(move |w| (d, w)))
        {
            if !window.days.contains(&weekday_of(day)) {
                continue;
            }
            let whole_day = window.end == "24:00";
            let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
            let end = if whole_day { NaiveTime::MIN } else { time(&window.end) };
            let next = whole_day || end <= time(&window.start);
            let start = day.and_time(time(&window.start));
            let end = (day + chrono::Days::new(u64::from(next))).and_time(end);
            let begun = self.shown.iter().position(|shown| *shown >= start);
            let over = self.shown.iter().rposition(|shown| *shown < end).map(|last| last + 1);
            if let (Some(begun), Some(over)) = (begun, over)
                && begun < over
            {
                open[begun..over].fill(true);
            }
        }
        open
    }
}

fn zones() -> impl Strategy<Value = Tz> {
    select(vec![
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::America__Sao_Paulo,
        Tz::America__St_Johns,
        Tz::Australia__Sydney,
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kolkata,
        Tz::Asia__Kathmandu,
        Tz::Africa__Casablanca,
        Tz::Asia__Tehran,
        Tz::Pacific__Apia,
        Tz::Pacific__Chatham,
    ])
}

/// Moments of 1990 to 2037, half of them within two days of a change of some clock.
fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    let change = select(vec![
        "2011-12-30T10:00:00Z",
        "2018-11-04T03:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-03-29T01:00:00Z",
        "2026-04-04T15:30:00Z",
        "2026-10-03T16:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T06:00:00Z",
    ]);
    let near = (change, -172_800i64..172_800).prop_map(|(c, s)| moment(c) + TimeDelta::seconds(s));
    let any = 631_152_000i64..2_145_916_800;
    prop_oneof![near, any.prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())]
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    // Times of a quarter of an hour, many of them in the night, so that they touch and meet changes.
    let time =
        || prop_oneof![0u32..24, 0u32..96].prop_map(|q| format!("{:02}:{:02}", q / 4, q % 4 * 15));
    let end = prop_oneof![3 => time(), 1 => Just("24:00".to_owned())];
    let window = (subsequence(WEEK.to_vec(), 1..=7), time(), end)
        .prop_filter("a window has a length", |(_, start, end)| start != end)
        .prop_map(|(days, start, end)| Window { days, start, end });
    proptest::collection::vec(window, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_a_clock_that_is_read_every_minute(zone in zones(), now in moments(), windows in windows()) {
        let clock = Clock::read(zone, now);
        let open = clock.open(&windows);
        let minute = usize::try_from((now - clock.start).num_minutes()).unwrap();
        let change = open[minute..].iter().position(|is| *is != open[minute]);
        let change = change.map(|after| clock.start + TimeDelta::minutes(i64::try_from(minute + after).unwrap()));
        let expected = match (open[minute], change) {
            (true, change) => Hours::Open { until: change.unwrap_or(now + ALWAYS) },
            (false, opens) => Hours::Closed { opens },
        };
        prop_assert_eq!(compile(zone.name(), windows).at(now), expected);
    }

    #[test]
    fn what_it_tells_are_real_boundaries(zone in zones(), now in moments(), windows in windows()) {
        let schedule = compile(zone.name(), windows);
        let instant = TimeDelta::nanoseconds(1);
        match schedule.at(now) {
            hours @ Hours::Open { until } if until != now + ALWAYS => {
                prop_assert_eq!(schedule.at(until - instant), hours);
                prop_assert!(!is_open(schedule.at(until)));
            }
            Hours::Open { until } => prop_assert!(until > now),
            hours @ Hours::Closed { opens: Some(opens) } => {
                prop_assert_eq!(schedule.at(opens - instant), hours);
                prop_assert!(is_open(schedule.at(opens)));
            }
            Hours::Closed { opens: None } => prop_assert!(false, "a window of the week opens each fortnight"),
        }
    }
}
