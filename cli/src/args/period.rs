//! How far back.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::GrantDuration;

/// How far back: `30d`, `12h`, or since a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    Last(TimeDelta),
    Since(DateTime<Utc>),
}

impl Period {
    pub(crate) fn since(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Last(span) => now - span,
            Self::Since(time) => time,
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
            return Ok(Self::Last(TimeDelta::days(days.into())));
        }
        if let Ok(span) = text.parse::<GrantDuration>() {
            return Ok(Self::Last(span.delta()));
        }
        let time = DateTime::parse_from_rfc3339(text);
        time.map(|time| Self::Since(time.with_timezone(&Utc))).map_err(|_| {
            "write how far back, as 30d or 12h, or since when, as 2026-11-01T00:00:00Z".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("30d", Some("2026-01-01T00:00:00Z"))]
    #[case("12h", Some("2026-01-30T12:00:00Z"))]
    #[case("2026-01-05T00:00:00+01:00", Some("2026-01-04T23:00:00Z"))]
    #[case("-1d", None)]
    #[case("70000d", None)]
    #[case("yesterday", None)]
    fn periods_go_back(#[case] text: &str, #[case] since: Option<&str>) {
        let now: DateTime<Utc> = "2026-01-31T00:00:00Z".parse().unwrap();
        let found = text.parse::<Period>().ok().map(|period| period.since(now));
        assert_eq!(found, since.map(|since| since.parse().unwrap()));
    }
}
