//! Durations as people write them: `90m`, `1h30m`, `45s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::shaped;

/// One year, the longest duration that the API takes.
const MAX_SECONDS: u32 = 365 * 24 * 3600;
const UNITS: [(char, u32); 3] = [('h', 3600), ('m', 60), ('s', 1)];

/// A duration between one second and one year: whole numbers of `h`, `m` and `s`, in this order,
/// each at most once. It is kept in seconds, so `90m` and `1h30m` are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantDuration(u32);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write whole hours, minutes and seconds in this order, such as 8h, \
     1h30m or 45s, more than zero and at most 8760h (one year)"
)]
pub struct DurationError(String);

impl GrantDuration {
    /// A duration of so many seconds, if there are between 1 and one year of them.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Option<Self> {
        if seconds == 0 || seconds > MAX_SECONDS { None } else { Some(Self(seconds)) }
    }

    /// The length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// The length in the type of the domain.
    #[must_use]
    pub fn delta(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0))
    }
}

impl FromStr for GrantDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).and_then(Self::from_seconds).ok_or_else(|| DurationError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<u32> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut seconds = 0u32;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.chars().next()?;
        // Going on in the same iterator refuses units that repeat or rise.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<u32>().ok()?.checked_mul(*factor)?;
        seconds = seconds.checked_add(part)?;
        rest = &tail[unit.len_utf8()..];
    }
    Some(seconds)
}

impl fmt::Display for GrantDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (name, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{name}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for GrantDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GrantDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a duration looks like.
const SHAPE: &str = "^([0-9]{1,8}h)?([0-9]{1,8}m)?([0-9]{1,8}s)?$";

impl JsonSchema for GrantDuration {
    fn schema_name() -> Cow<'static, str> {
        "GrantDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // `format: duration` would accept more than this type does (such as `1h30m10ms`).
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 32,
            "x-kubernetes-validations": [
                shaped(SHAPE, "must be whole numbers of h, m and s, in this order, such as 45s, 90m or 1h30m"),
                {
                    "rule": format!(
                        "!self.matches(r'{SHAPE}') || (duration(self) > duration('0s') && duration(self) <= duration('8760h'))"
                    ),
                    "message": "must be more than zero and at most 8760h (one year), such as 45s, 90m or 1h30m",
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("45s", 45)]
    #[case("90m", 5400)]
    #[case("1h30m", 5400)]
    #[case("1h0m1s", 3601)]
    #[case("8760h", MAX_SECONDS)]
    fn reads(#[case] text: &str, #[case] seconds: u32) {
        assert_eq!(text.parse::<GrantDuration>().unwrap().seconds(), seconds);
    }

    #[rstest]
    #[case("")]
    #[case("0s")]
    #[case("5")]
    #[case("-5m")]
    #[case("1d")]
    #[case("1.5h")]
    #[case("30m1h")]
    #[case("1m1m")]
    #[case("m")]
    #[case("1h 30m")]
    #[case("8760h1s")]
    #[case("99999999h")]
    #[case("١h")]
    fn refuses(#[case] text: &str) {
        let error = text.parse::<GrantDuration>().unwrap_err().to_string();
        assert!(error.contains("is not a duration"), "{error}");
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(seconds in 1..=MAX_SECONDS) {
            let duration = GrantDuration::from_seconds(seconds).unwrap();
            prop_assert_eq!(duration.to_string().parse::<GrantDuration>(), Ok(duration));
        }
    }
}
