//! What sudo logs while somebody holds a right (`log_format=json`): one object that grows, over many lines, in which names
//! repeat (`lib/eventlog/eventlog.c` of sudo). Each new record takes the place of the last three bytes, `\n}\n`.
//!
//! It is read line by line. What people choose (arguments, folders) is in strings, in which sudo writes a line feed as `\n`: so
//! no line of the file begins within such a string, and none can be made up. Who kills their own sudo while it writes leaves half
//! a record; the next one begins on a line of its own all the same.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// How much of a line is held, in bytes. There are arguments of a hundred thousand.
const LONGEST_LINE: usize = 8 * 1024;
/// How much of the arguments of a command is kept, in bytes; and how much of anything else.
const MOST_ARGUMENTS: usize = 4 * 1024;
const LONGEST_TEXT: usize = 512;

/// What a record of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logged {
    /// A command was let run.
    Accepted(Called),
    /// A command was refused, for this reason.
    Refused(Called, String),
    /// A command ended.
    Ended {
        /// The ID that sudo gave the call.
        id: String,
        /// When it was called, as far as its end says so: sudo 1.9.16 is some microseconds off.
        called_at: DateTime<Utc>,
        /// When it ended.
        at: DateTime<Utc>,
        /// Its exit code, or 128 and the number of the signal that ended it.
        exit: i32,
        /// The name of that signal.
        signal: Option<String>,
    },
    /// A record that nobody can read: whoever wrote it died over it.
    Torn,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// The ID that sudo gave it. What a command starts has that of the command, or, since sudo 1.9.14, one of its own.
    pub id: String,
    /// When it was logged.
    pub at: DateTime<Utc>,
    /// When sudo was called. To the nanosecond, so that it tells one call from another; what a command starts has that of the
    /// command, or, since sudo 1.9.14, the time at which it was started itself.
    pub called_at: DateTime<Utc>,
    /// The program.
    pub program: String,
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
    /// Whether there were more of them.
    pub is_cut: bool,
    /// The folder that sudo was called in.
    pub folder: Option<String>,
    /// As whom it runs.
    pub run_as: Option<String>,
    /// The terminal that sudo was called on.
    pub terminal: Option<String>,
}

/// A record as far as it was read.
#[derive(Clone, Debug, Default)]
struct Draft {
    kind: String,
    logged: Moment,
    happened: Moment,
    ran: Moment,
    reason: Option<String>,
    exit: Option<i32>,
    signal: Option<String>,
    called: Called,
    /// How many bytes of arguments are kept, with the name of the program.
    kept: usize,
    has_name: bool,
}

/// Seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Moment(i64, u32);

impl Moment {
    fn time(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.0, self.1).filter(|_| self.0 > 0)
    }

    fn span(self) -> TimeDelta {
        TimeDelta::new(self.0, self.1).unwrap_or_default()
    }
}

/// Reads a log from some place on, as its bytes come.
#[derive(Clone, Debug)]
pub struct LogReader {
    line: Vec<u8>,
    is_long: bool,
    /// Where the line begins that is read, and where the next byte stands.
    start: u64,
    next: u64,
    draft: Option<Draft>,
    /// The object or the list within the record that is read.
    part: Option<String>,
}

impl LogReader {
    /// From this place on: the beginning of the file, or one that [`LogReader::feed`] returned.
    #[must_use]
    pub fn at(place: u64) -> Self {
        let (line, is_long, draft, part) = (Vec::new(), false, None, None);
        Self { line, is_long, start: place, next: place, draft, part }
    }

    /// The records that end with these bytes; each with the place to go on from when it is done with. That is the last line of
    /// the record itself, as what comes next is written over its end.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<(Logged, u64)> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.next += piece.len() as u64;
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LONGEST_LINE - self.line.len();
            self.is_long |= text.len() > room;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                let is_long = std::mem::take(&mut self.is_long);
                found.extend(self.read(&line, is_long).map(|logged| (logged, self.start)));
                self.start = self.next;
            }
        }
        found
    }

    /// Reads a line; what it brings to an end.
    fn read(&mut self, line: &str, is_long: bool) -> Option<Logged> {
        let rest = line.trim_start_matches(' ');
        match (line.len() - rest.len(), &mut self.draft) {
            (4, draft) if rest.ends_with("\": {") => {
                let kind = rest.trim_matches(['"', ':', ' ', '{']).to_owned();
                let torn = draft.replace(Draft { kind, ..Draft::default() });
                self.part = None;
                torn.map(|_| Logged::Torn)
            }
            (4, draft) if matches!(rest, "}" | "},") => {
                self.part = None;
                Some(draft.take()?.logged().unwrap_or(Logged::Torn))
            }
            (8, Some(draft)) => {
                self.part = None;
                let (name, value) = rest.split_once(": ")?;
                let name = name.trim_matches('"');
                if matches!(value, "{" | "[") {
                    self.part = Some(name.to_owned());
                } else {
                    draft.field(name, value, is_long);
                }
                None
            }
            (12, Some(draft)) => {
                draft.part(self.part.as_deref()?, rest, is_long);
                None
            }
            _ => None,
        }
    }
}

/// A value of one line. Of one that is too long, as much as is held.
fn value(text: &str, is_long: bool) -> Option<Value> {
    if !is_long {
        return serde_json::from_str(text.strip_suffix(',').unwrap_or(text)).ok();
    }
    let mut held = text[..text.floor_char_boundary(MOST_ARGUMENTS)].to_owned();
    // It may have been cut within an escape.
    for _ in 0.."\\u0000".len() {
        if let Ok(value) = serde_json::from_str(&format!("{held}\"")) {
            return Some(value);
        }
        held.pop();
    }
    None
}

/// As much of a text as is kept.
fn short(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}

impl Draft {
    fn field(&mut self, name: &str, text: &str, is_long: bool) {
        let Some(value) = value(text, is_long) else { return };
        let words = value.as_str().map(short);
        match name {
            "uuid" => self.called.id = words.unwrap_or_default(),
            "command" => self.called.program = words.unwrap_or_default(),
            "runuser" => self.called.run_as = words,
            "ttyname" => self.called.terminal = words,
            // Where the command runs, if a rule says so, comes before.
            "runcwd" | "submitcwd" => self.called.folder = self.called.folder.take().or(words),
            "reason" => self.reason = words,
            "signal" => self.signal = words,
            "exit_value" => self.exit = value.as_i64().and_then(|code| i32::try_from(code).ok()),
            _ => {}
        }
    }

    /// A line of an object or a list.
    fn part(&mut self, part: &str, line: &str, is_long: bool) {
        let moment = match part {
            "runargv" => return self.argument(line, is_long),
            "server_time" => &mut self.logged,
            "submit_time" | "exit_time" | "alert_time" => &mut self.happened,
            "run_time" => &mut self.ran,
            _ => return,
        };
        let Some((name, number)) = line.split_once(": ") else { return };
        let number = value(number, is_long).and_then(|number| number.as_i64());
        match (name.trim_matches('"'), number) {
            ("seconds", Some(seconds)) => moment.0 = seconds,
            ("nanoseconds", Some(nanos)) => moment.1 = u32::try_from(nanos).unwrap_or_default(),
            _ => {}
        }
    }

    fn argument(&mut self, line: &str, is_long: bool) {
        // The first one is what the command calls itself.
        if !std::mem::replace(&mut self.has_name, true) {
            return;
        }
        let text = value(line, is_long);
        let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
        let end = text.floor_char_boundary(MOST_ARGUMENTS.saturating_sub(self.kept));
        self.called.is_cut |= is_long || end < text.len();
        // What is empty takes a little, too.
        self.kept += end + 4;
        if self.kept <= MOST_ARGUMENTS + 4 {
            self.called.arguments.push(text[..end].to_owned());
        } else {
            self.called.is_cut = true;
        }
    }

    /// What it says, if it says enough.
    fn logged(self) -> Option<Logged> {
        let Self { kind, logged, happened, ran, reason, exit, signal, called, .. } = self;
        if kind == "exit" {
            let (at, exit) = (happened.time()?, exit?);
            let (id, called_at) = (called.id, at - ran.span());
            return Some(Logged::Ended { id, called_at, at, exit, signal });
        }
        let (at, called_at) = (logged.time()?, happened.time()?);
        let called = Called { at, called_at, ..called };
        match kind.as_str() {
            "accept" if !called.program.is_empty() => Some(Logged::Accepted(called)),
            "reject" | "alert" => Some(Logged::Refused(called, reason.unwrap_or_default())),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
