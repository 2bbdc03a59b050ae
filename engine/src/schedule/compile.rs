//! From the schedule of a policy to a [`Schedule`], or to what is wrong with it.

use chrono::NaiveTime;
use chrono_tz::{TZ_VARIANTS, Tz};

use super::{Schedule, Window, wall};

impl Schedule {
    /// Checks a schedule. The error says in words which field is wrong and what to write instead.
    ///
    /// As everywhere, an empty list means nothing: a schedule without windows, or a window without
    /// days, is never open.
    pub fn compile(schedule: &lapse_crds::Schedule) -> Result<Self, String> {
        let lapse_crds::Schedule { time_zone, windows } = schedule;
        let windows = windows.iter().enumerate().map(|(index, window)| compile(index, window));
        Ok(Self { zone: zone(time_zone)?, windows: windows.collect::<Result<_, _>>()? })
    }
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        format!(
            "spec.schedule.timeZone: {name:?} is not a time zone; write its name in the IANA database, \
             such as {}",
            similar_zone(name)
        )
    })
}

/// The zone that somebody may have meant who wrote `berlin` or `europe/berlin`.
fn similar_zone(name: &str) -> &'static str {
    let meant = |zone: &&Tz| {
        let city = zone.name().rsplit('/').next().unwrap_or_default();
        zone.name().eq_ignore_ascii_case(name) || city.eq_ignore_ascii_case(name)
    };
    TZ_VARIANTS.iter().find(meant).unwrap_or(&Tz::Europe__Berlin).name()
}

fn compile(index: usize, window: &lapse_crds::Window) -> Result<Window, String> {
    let lapse_crds::Window { days, start, end } = window;
    let field = format!("spec.schedule.windows[{index}]");
    let Some(start_time) = time(start) else {
        return Err(format!(
            "{field}.start: {start:?} is not a time of the day; write hours and minutes from 00:00 to \
             23:59"
        ));
    };
    let end_time = if end == "24:00" { Some(NaiveTime::MIN) } else { time(end) };
    let Some(end_time) = end_time else {
        return Err(format!(
            "{field}.end: {end:?} is not a time of the day; write hours and minutes from 00:00 to 24:00"
        ));
    };
    if start == end {
        return Err(format!(
            "{field}: end must differ from start ({start}); a whole day is 00:00 to 24:00, and an end \
             before its start lies on the next day"
        ));
    }
    let days = wall::WEEK.into_iter().filter(|day| days.contains(day)).collect();
    let over_midnight = end_time <= start_time;
    Ok(Window { days, start: start_time, end: end_time, over_midnight })
}

/// Reads `HH:MM`, and nothing that only looks like it: the same that the schema accepts.
fn time(text: &str) -> Option<NaiveTime> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let well_formed = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        well_formed.then(|| digits.parse::<u32>().ok()).flatten()
    };
    NaiveTime::from_hms_opt(number(hours)?, number(minutes)?, 0)
}

#[cfg(test)]
mod tests {
    use lapse_crds::Weekday;
    use rstest::rstest;

    use super::*;

    fn compiled(zone: &str, start: &str, end: &str) -> Result<Schedule, String> {
        let window = lapse_crds::Window {
            days: vec![Weekday::Fri, Weekday::Mon],
            start: start.into(),
            end: end.into(),
        };
        let windows = vec![window];
        Schedule::compile(&lapse_crds::Schedule { time_zone: zone.into(), windows })
    }

    #[rstest]
    #[case("Europe/Berlin", "00:00", "24:00", "Mon, Fri 00:00–24:00 (Europe/Berlin)")]
    #[case("UTC", "22:00", "06:00", "Mon, Fri 22:00–06:00 of the next day (UTC)")]
    #[case("Asia/Kolkata", "09:30", "00:00", "Mon, Fri 09:30–24:00 (Asia/Kolkata)")]
    #[case("Etc/GMT+3", "23:59", "24:00", "Mon, Fri 23:59–24:00 (Etc/GMT+3)")]
    fn describes(#[case] zone: &str, #[case] start: &str, #[case] end: &str, #[case] words: &str) {
        assert_eq!(compiled(zone, start, end).unwrap().describe(), words);
    }

    #[rstest]
    #[case("berlin", "Europe/Berlin")]
    #[case("america/new_york", "America/New_York")]
    #[case("Mars/Olympus_Mons", "Europe/Berlin")]
    #[case("", "Europe/Berlin")]
    #[case("Local", "Europe/Berlin")]
    fn suggests_a_zone(#[case] written: &str, #[case] suggested: &str) {
        let error = compiled(written, "08:00", "18:00").unwrap_err();
        assert!(error.starts_with("spec.schedule.timeZone: "), "{error}");
        assert!(error.ends_with(&format!("such as {suggested}")), "{error}");
    }

    #[rstest]
    #[case("8:00")]
    #[case("24:00")]
    #[case("08:60")]
    #[case("08:00:00")]
    #[case("+8:00")]
    #[case("0800")]
    #[case("٠٨:٠٠")]
    #[case("")]
    fn refuses_unreadable_starts(#[case] start: &str) {
        let error = compiled("UTC", start, "18:00").unwrap_err();
        assert!(error.starts_with("spec.schedule.windows[0].start: "), "{error}");
    }

    #[rstest]
    #[case("24:01")]
    #[case("25:00")]
    #[case("6pm")]
    #[case(" 18:00")]
    fn refuses_unreadable_ends(#[case] end: &str) {
        let error = compiled("UTC", "08:00", end).unwrap_err();
        assert!(error.starts_with("spec.schedule.windows[0].end: "), "{error}");
    }

    #[test]
    fn says_what_to_write() {
        insta::assert_snapshot!(compiled("CEST", "08:00", "18:00").unwrap_err(), @r#"spec.schedule.timeZone: "CEST" is not a time zone; write its name in the IANA database, such as Europe/Berlin"#);
        insta::assert_snapshot!(compiled("UTC", "08.00", "18:00").unwrap_err(), @r#"spec.schedule.windows[0].start: "08.00" is not a time of the day; write hours and minutes from 00:00 to 23:59"#);
        insta::assert_snapshot!(compiled("UTC", "08:00", "6pm").unwrap_err(), @r#"spec.schedule.windows[0].end: "6pm" is not a time of the day; write hours and minutes from 00:00 to 24:00"#);
        insta::assert_snapshot!(compiled("UTC", "08:00", "08:00").unwrap_err(), @"spec.schedule.windows[0]: end must differ from start (08:00); a whole day is 00:00 to 24:00, and an end before its start lies on the next day");
    }

    #[rstest]
    #[case(&[Weekday::Sun, Weekday::Mon, Weekday::Tue, Weekday::Wed], "Mon–Wed, Sun")]
    #[case(&[Weekday::Sat, Weekday::Sun], "Sat, Sun")]
    #[case(&wall::WEEK, "Mon–Sun")]
    #[case(&[], "")]
    fn puts_days_in_words(#[case] days: &[Weekday], #[case] words: &str) {
        assert_eq!(wall::describe_days(days), words);
    }
}
