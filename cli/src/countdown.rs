//! Times as people read them: how long until, how long ago.

use chrono::{DateTime, TimeDelta, Utc};

/// A span in at most two units, as `kubectl get` writes ages: `45s`, `12m`, `1h5m`, `3d4h`. Less than a second is `0s`.
pub(crate) fn span(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: char, small: i64, smaller: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{smaller}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..3_600 => format!("{minutes}m"),
        3_600..86_400 => two(hours, 'h', minutes, 'm'),
        _ => two(days, 'd', hours, 'h'),
    }
}

/// How long until a moment, or since: `in 12m`, `3m ago`, `now`.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let until = at - now;
    match until.num_seconds() {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(until)),
        _ => format!("{} ago", span(-until)),
    }
}

/// A moment and how far it is: `2026-11-21T22:00:00Z (in 12m)`.
pub(crate) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let written = lapse_crds::Timestamp::new(at).to_the_second();
    format!("{written} ({})", relative(at, now))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0s")]
    #[case(-5, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(125, "2m5s")]
    #[case(599, "9m59s")]
    #[case(600, "10m")]
    #[case(3_599, "59m")]
    #[case(3_600, "1h")]
    #[case(3_900, "1h5m")]
    #[case(86_400, "1d")]
    #[case(100_800, "1d4h")]
    fn spans_have_two_units_at_most(#[case] seconds: i64, #[case] written: &str) {
        assert_eq!(span(TimeDelta::seconds(seconds)), written);
    }

    #[rstest]
    #[case(0, "now")]
    #[case(90, "in 90s")]
    #[case(-600, "10m ago")]
    fn moments_are_ahead_or_past(#[case] seconds: i64, #[case] written: &str) {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(relative(now + TimeDelta::seconds(seconds), now), written);
    }

    #[test]
    fn a_moment_is_written_out() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(moment(now + TimeDelta::minutes(12), now), "1970-01-01T00:12:00Z (in 12m)");
    }
}
