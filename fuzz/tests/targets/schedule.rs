//! Schedules: `{"timeZone", "windows", "now"}`, where `now` is the moment to ask about.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::Timestamp;
use lapse_engine::schedule::{Hours, Schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Asked {
    now: Option<Timestamp>,
    #[serde(flatten)]
    schedule: lapse_crds::Schedule,
}

const INSTANT: TimeDelta = TimeDelta::microseconds(1);

/// Far enough from the ends of what can be written.
fn is_ordinary(moment: DateTime<Utc>) -> bool {
    let (first, last) = (-60_000_000_000, 250_000_000_000);
    (first..last).contains(&moment.timestamp())
}

fn is_open(schedule: &Schedule, moment: DateTime<Utc>) -> bool {
    matches!(schedule.at(moment), Hours::Open { .. })
}

fn check(bytes: &[u8]) {
    let Ok(Asked { now, schedule: written }) = serde_json::from_slice(bytes) else { return };
    if written.windows.len() > 64 {
        return;
    }
    let schedule = match Schedule::compile(&written) {
        Ok(schedule) => schedule,
        Err(why) => {
            assert!(why.starts_with("spec.schedule"), "{why}");
            return;
        }
    };
    assert!(!schedule.describe().is_empty());
    let now = now.map_or(DateTime::UNIX_EPOCH, Timestamp::time);
    let hours = schedule.at(now);
    if !is_ordinary(now) {
        return;
    }
    match hours {
        Hours::Open { until } => {
            assert!(until > now);
            assert!(is_open(&schedule, until - INSTANT), "open until {until}");
            let never_ends = until == now + TimeDelta::days(400);
            assert!(never_ends || !is_open(&schedule, until), "open at its end {until}");
        }
        Hours::Closed { opens: Some(opens) } => {
            assert!(opens > now);
            assert!(is_open(&schedule, opens), "closed at its start {opens}");
            assert!(!is_open(&schedule, opens - INSTANT), "open before its start {opens}");
        }
        Hours::Closed { opens: None } => {
            let later = (1..15).map(|day| now + TimeDelta::days(day));
            assert!(later.into_iter().all(|moment| !is_open(&schedule, moment)));
        }
    }
}

#[test]
fn schedule() {
    lapse_fuzz::fuzz!("schedule", check);
}
