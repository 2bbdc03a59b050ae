//! Times of the API. This is the one module that converts between the `jiff` of Kubernetes' types
//! and the `chrono` of the domain.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: RFC 3339, in UTC, with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

/// The first and the last second of the years that have four digits.
const FIRST: DateTime<Utc> = second(-62_167_219_200);
const LAST: DateTime<Utc> = second(253_402_300_799);

const fn second(seconds: i64) -> DateTime<Utc> {
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time,
        None => unreachable!(),
    }
}

impl Timestamp {
    /// The time, cut to the microseconds that the API stores, so that what is read back is equal; and to
    /// the years that RFC 3339 can write, so that a status with it is never refused.
    #[must_use]
    pub fn new(time: DateTime<Utc>) -> Self {
        Self(time.clamp(FIRST, LAST).trunc_subsecs(6))
    }

    /// The time to the second, for people.
    #[must_use]
    pub fn to_the_second(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The time in the type of the domain.
    #[must_use]
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::new(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text).map(|time| Self::new(time.with_timezone(&Utc))).map_err(
            |error| {
                serde::de::Error::custom(format!(
                    "{text:?} is not RFC 3339: {error}; write it as 2026-11-21T22:00:00Z"
                ))
            },
        )
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "maxLength": 64 })
    }
}

/// When the API server created an object, to the second; `None` before it did.
#[must_use]
pub fn created_at(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let created = metadata.creation_timestamp.as_ref()?;
    DateTime::from_timestamp(created.0.as_second(), 0)
}

/// By when an object that is being deleted is to be gone, to the second; `None` if it is not.
#[must_use]
pub fn goes_by(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let gone = metadata.deletion_timestamp.as_ref()?;
    DateTime::from_timestamp(gone.0.as_second(), 0)
}

/// A time in the type that Kubernetes uses where microseconds matter (leases, events).
#[must_use]
pub fn micro_time(time: DateTime<Utc>) -> MicroTime {
    // Within the years that chrono writes, jiff has every microsecond.
    MicroTime(jiff::Timestamp::from_microsecond(time.timestamp_micros()).unwrap_or_default())
}

/// The same, the other way round.
#[must_use]
pub fn from_micro_time(time: &MicroTime) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.0.as_microsecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let time = DateTime::from_timestamp_nanos(1_764_000_000_123_456_789);
        let written = serde_json::to_string(&Timestamp::new(time)).unwrap();
        assert_eq!(written, r#""2025-11-24T16:00:00.123456Z""#);
        let read: Timestamp = serde_json::from_str(&written).unwrap();
        assert_eq!(read, Timestamp::new(time));
        assert_eq!(read.to_the_second(), "2025-11-24T16:00:00Z");
    }

    #[test]
    fn what_cannot_be_written_is_the_nearest_that_can() {
        for (text, expected) in [
            ("9999-12-31T23:59:59.5-10:00", "9999-12-31T23:59:59.000000Z"),
            ("0000-01-01T00:00:00+10:00", "0000-01-01T00:00:00.000000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
        ] {
            let time: Timestamp = serde_json::from_value(text.into()).unwrap();
            assert_eq!(time.to_string(), expected);
            let again: Timestamp = serde_json::from_value(time.to_string().into()).unwrap();
            assert_eq!(again, time);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_time() {
        let error = serde_json::from_str::<Timestamp>(r#""tomorrow""#).unwrap_err().to_string();
        assert!(error.contains(r#""tomorrow" is not RFC 3339"#), "{error}");
    }
}
