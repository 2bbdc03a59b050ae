//! What holders are told, in words. ASCII alone, and nothing in it steers a terminal.

use chrono::{DateTime, Utc};

use super::schedule::Saying;
use crate::record::Record;
use crate::right::{Elevation, Right};
use crate::text::ascii;

/// The longest part that people wrote, in characters.
const LONGEST: usize = 160;

/// A text, with a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// In few words.
    pub title: &'static str,
    /// All of it.
    pub body: String,
}

/// What is told of a right.
#[must_use]
pub fn text(record: &Record, right: &Right, say: Saying, now: DateTime<Utc>) -> Text {
    let what = match &right.elevation {
        Elevation::Group { name, .. } => format!("membership of the group {name}"),
        elevation => elevation.to_string(),
    };
    let what = ascii(&what, LONGEST);
    let request = match &record.asked {
        Some(asked) => format!("request {}", ascii(&asked.request, LONGEST)),
        None => format!("Grant {}", ascii(&record.grant, LONGEST)),
    };
    let end = right.expires_at;
    let is_today = end.date_naive() == now.date_naive();
    let end = end.format(if is_today { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M:%S UTC" });
    match say {
        Saying::Begins => Text {
            title: "Access begins",
            body: format!(
                "you have {what} on this host until {end}, {request}; `lapse status` shows it, `lapse end` ends it"
            ),
        },
        Saying::EndsIn(left) => Text {
            title: "Access ends soon",
            body: format!(
                "your access to this host ({what}, {request}) ends in {left}, at {end}; request more time if you need it"
            ),
        },
        Saying::EndedEarly => {
            let why = record.why.as_ref().map(|why| format!(": {}", ascii(why, LONGEST)));
            let why = why.unwrap_or_default();
            Text {
                title: "Access has ended",
                body: format!(
                    "your access to this host ({what}, {request}) has ended before its time{why}"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use lapse_crds::Command;

    use super::*;
    use crate::asked::Asked;
    use crate::clock::Reading;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn record(elevation: Elevation, hours: i64) -> Record {
        let right = Right {
            user: "al".into(),
            uid: 1000,
            starts_at: now(),
            expires_at: now() + TimeDelta::hours(hours),
            elevation,
            log_off: false,
            containment: None,
            records_children: false,
        };
        let reading = Reading { wall: now(), boottime_ms: 0, boot_id: "a".into() };
        let asked =
            Asked { request: "shop/fix".into(), ticket: None, approved_by: vec![], warnings: None };
        let record = Record::received("g".into(), "u".into(), right, &reading);
        Record { asked: Some(asked), ..record }
    }

    fn said(record: &Record, say: Saying) -> String {
        let Text { title, body } = text(record, record.right.as_ref().unwrap(), say, now());
        format!("{title}: {body}")
    }

    #[test]
    fn it_is_said_what_and_until_when() {
        let args = vec!["\u{1b}]0;x\u{7}".to_owned(), "\u{9b}2J".to_owned()];
        let command = Command { path: "/usr/bin/id".into(), args, args_pattern: None };
        let mut ended = record(Elevation::Group { name: "ops".into(), gid: 5 }, 30);
        let mut all = vec![
            said(&record(Elevation::Admin, 1), Saying::Begins),
            said(&record(Elevation::Commands(vec![command]), 1), Saying::Begins),
            said(&record(Elevation::Admin, 30), Saying::EndsIn("5m".parse().unwrap())),
            said(&ended, Saying::EndedEarly),
        ];
        ended.why = Some("denied by bob\r\n\u{1b}[2J".into());
        ended.asked = None;
        all.push(said(&ended, Saying::EndedEarly));
        insta::assert_snapshot!(all.join("\n"), @r"
        Access begins: you have sudo on this host until 01:00:00 UTC, request shop/fix; `lapse status` shows it, `lapse end` ends it
        Access begins: you have sudo /usr/bin/id ?]0;x? ?2J on this host until 01:00:00 UTC, request shop/fix; `lapse status` shows it, `lapse end` ends it
        Access ends soon: your access to this host (sudo, request shop/fix) ends in 5m, at 2024-10-05 06:00:00 UTC; request more time if you need it
        Access has ended: your access to this host (membership of the group ops, request shop/fix) has ended before its time
        Access has ended: your access to this host (membership of the group ops, Grant g) has ended before its time: denied by bob  ?[2J
        ");
    }
}
