//! What of the record is shown on an Endpoint: the last commands that were called. Pure.

use lapse_crds::Activity;
use lapse_engine::activity::{Call, Entry, Event};
use serde_json::{Map, Value};

/// How many commands an Endpoint shows.
const MOST: usize = 16;
/// How long what it shows of each may be, in bytes.
const LONGEST: usize = 256;
/// How much is held until it is written.
const HELD: usize = 64;

/// Something that an Endpoint shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A command was called.
    Called(Activity),
    /// A call ended.
    Ended {
        /// Which.
        session: String,
        /// With this.
        exit: i32,
    },
}

/// What of these entries an Endpoint shows. What this release cannot read is in the exported record alone.
pub(crate) fn seen(entries: &[Map<String, Value>]) -> Vec<Seen> {
    let read = entries.iter().filter_map(|entry| {
        let entry: Entry = serde_json::from_value(Value::Object(entry.clone())).ok()?;
        match entry.event {
            Event::Command(call) if !call.is_child => {
                let user = shown(entry.user.as_deref()?, 64)?;
                let names_commands = entry.under.as_ref().is_some_and(|it| it.names_commands);
                let command = shown(&words(&call, names_commands), LONGEST)?;
                let grant = entry.under.and_then(|under| shown(&under.grant, 253));
                let session = shown(&call.session, 64)?;
                Some(Seen::Called(Activity {
                    at: entry.at,
                    grant,
                    user,
                    command,
                    session,
                    exit: None,
                }))
            }
            Event::Exit { session, exit, .. } => {
                Some(Seen::Ended { session: shown(&session, 64)?, exit })
            }
            _ => None,
        }
    });
    read.collect()
}

/// The program, with its arguments where the Grant names the commands. Otherwise they may be secret, and many may read an
/// Endpoint.
fn words(call: &Call, names_commands: bool) -> String {
    let arguments = call.arguments.iter().filter(|_| names_commands);
    std::iter::once(&call.program).chain(arguments).cloned().collect::<Vec<_>>().join(" ")
}

/// A text that somebody on a host chose, as it can be shown: without what steers a terminal or turns the direction of what
/// follows, and so long at the most. `None` of an empty one.
fn shown(text: &str, most: usize) -> Option<String> {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let plain: String = text.chars().map(|one| if steers(one) { ' ' } else { one }).collect();
    let plain = plain[..plain.floor_char_boundary(most)].to_owned();
    (!plain.is_empty()).then_some(plain)
}

/// Holds what was seen until it is written, and no more than that.
pub(crate) fn hold(held: &mut Vec<Seen>, more: Vec<Seen>) {
    held.extend(more);
    held.drain(..held.len().saturating_sub(HELD));
}

/// Puts what was seen where an Endpoint shows it.
pub(crate) fn store(list: &mut Vec<Activity>, seen: &[Seen]) {
    for seen in seen {
        match seen {
            Seen::Called(called) => list.push(called.clone()),
            Seen::Ended { session, exit } => {
                if let Some(known) = list.iter_mut().rfind(|known| known.session == *session) {
                    known.exit = Some(*exit);
                }
            }
        }
    }
    list.drain(..list.len().saturating_sub(MOST));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
    fn entry(number: u64, more: Value) -> Map<String, Value> {
        let mut entry = json!({
            "sequence": number, "at": "2027-01-15T08:00:00.000000Z", "user": "al", "uid": 1000,
            "grant": "ops-fix-0123456789", "request": {"namespace": "ops", "name": "fix", "uid": "r"},
            "holder": "alice",
        });
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry.as_object().unwrap().clone()
    }

    fn command(number: u64, more: Value) -> Map<String, Value> {
        let mut entry = entry(number, more);
        for (name, value) in [("kind", "Command"), ("program", "/usr/bin/id")] {
            entry.insert(name.into(), value.into());
        }
        entry.entry("session").or_insert_with(|| number.to_string().into());
        entry
    }

    fn listed(entries: &[Map<String, Value>]) -> String {
        let mut list = Vec::new();
        store(&mut list, &seen(entries));
        let line = |it: &Activity| {
            let grant = it.grant.as_deref().unwrap_or("-");
            format!("{} {} {grant} {:?}", it.user, it.command, it.exit)
        };
        list.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_was_called_is_shown_with_its_end() {
        let secret = json!({"arguments": ["--password", "secret"]});
        let named = json!({"arguments": ["restart", "nginx\u{1b}[2J"], "namesCommands": true});
        let entries = [
            command(1, secret),
            command(2, named),
            command(2, json!({"isChild": true})),
            command(3, json!({"grant": null, "request": null, "holder": null})),
            entry(4, json!({"kind": "Exit", "session": "2", "exit": 3})),
            entry(5, json!({"kind": "Exit", "session": "9", "exit": 4})),
            entry(6, json!({"kind": "Lost", "why": "it was full"})),
            entry(7, json!({"kind": "OfALaterRelease"})),
            entry(8, json!({"kind": "Command"})),
        ];
        insta::assert_snapshot!(listed(&entries), @r"
        al /usr/bin/id ops-fix-0123456789 None
        al /usr/bin/id restart nginx [2J ops-fix-0123456789 Some(3)
        al /usr/bin/id - None
        ");
    }

    #[test]
    fn no_more_is_shown_than_an_endpoint_holds() {
        let long = json!({"arguments": ["é".repeat(4000)], "namesCommands": true});
        let entries: Vec<_> = (0..40).map(|number| command(number, long.clone())).collect();
        let mut list = Vec::new();
        store(&mut list, &seen(&entries));
        assert_eq!(
            (list.len(), list[0].session.as_str(), list[15].session.as_str()),
            (16, "24", "39")
        );
        assert!(list.iter().all(|it| it.command.len() <= LONGEST && it.command.len() > 250));
        let mut held = Vec::new();
        for _ in 0..3 {
            hold(&mut held, seen(&entries));
        }
        assert_eq!(held.len(), HELD);
    }
}
