//! What is spooled at once: entries, and how far was read what they are from. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lapse_engine::activity::{Call, Entry, Event, Under};
use serde::{Deserialize, Serialize};

use super::calls::By;
use crate::sudo::{Called, Logged};

/// How many bytes of entries fill a page. The longest entry (4 KiB of arguments and 2 KiB of other texts, each byte of which
/// may take six) fits beside it into a batch.
const FULL: usize = 20 * 1024;

/// How far was read what the entries are from. Kept with them in one file, so that a crash tells nothing twice and leaves
/// nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// The name of the file system that sudo logs to. After a restart of the host it is another one.
    #[serde(default)]
    pub logs: String,
    /// Up to which byte each log was read.
    #[serde(default)]
    pub read: BTreeMap<String, u64>,
    /// The notes that were taken over.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whose entries these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The local user.
    pub user: Option<String>,
    /// Their number.
    pub uid: Option<u32>,
    /// By which right.
    pub under: Option<Under>,
}

/// What is spooled at once.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries. They are numbered when they are spooled.
    pub entries: Vec<Entry>,
    /// How far was read what they are from.
    pub marks: Marks,
    size: usize,
}

impl Page {
    /// An empty one, after what these marks say.
    #[must_use]
    pub fn after(marks: &Marks) -> Self {
        let marks = Marks { notes: Vec::new(), ..marks.clone() };
        Self { entries: Vec::new(), marks, size: 0 }
    }

    /// Adds an entry.
    pub fn add(&mut self, at: DateTime<Utc>, event: Event, author: Author) {
        let Author { user, uid, under } = author;
        let entry = Entry { sequence: 0, at: at.into(), event, user, uid, under };
        self.size += serde_json::to_vec(&entry).map_or(0, |line| line.len());
        self.entries.push(entry);
    }

    /// Adds that something is missing.
    pub fn add_lost(&mut self, at: DateTime<Utc>, entries: Option<u64>, why: &str, author: Author) {
        self.add(at, Event::Lost { entries, why: why.to_owned() }, author);
    }

    /// Whether nothing more is to be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.size >= FULL
    }

    /// Whether there is nothing to spool.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What a call of sudo is named by: the time at which it was made.
#[must_use]
pub fn session_of(called_at: DateTime<Utc>) -> String {
    format!("{}.{:09}", called_at.timestamp(), called_at.timestamp_subsec_nanos())
}

/// When a record of sudo's log happened, and what it says. Of one that nobody can read nothing is known.
#[must_use]
pub fn event_of(logged: Logged, by: By, now: DateTime<Utc>) -> (DateTime<Utc>, Event) {
    match logged {
        Logged::Accepted(called) => (called.at, Event::Command(call_of(called, by))),
        Logged::Refused(called, why) => {
            (called.at, Event::Refused { call: call_of(called, by), why })
        }
        Logged::Ended { id: _, called_at, at, exit, signal } => {
            let session = session_of(by.session.unwrap_or(called_at));
            (at, Event::Exit { session, exit, signal })
        }
        Logged::Torn => {
            let why = "sudo was killed while it logged this, or had no room for it".to_owned();
            (now, Event::Lost { entries: Some(1), why })
        }
    }
}

fn call_of(called: Called, By { grant: _, process, is_child, session }: By) -> Call {
    let Called { id: _, at: _, called_at, program, arguments, is_cut, folder, run_as, terminal } =
        called;
    Call {
        session: session_of(session.unwrap_or(called_at)),
        is_child,
        program,
        arguments,
        is_cut,
        // Of what is started, sudo logs the folder that it was called in itself.
        folder: folder.filter(|_| !is_child),
        run_as,
        terminal,
        process,
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::RequestRef;
    use lapse_engine::activity::MOST_BYTES;

    use super::*;

    #[test]
    fn the_longest_entry_fits_beside_a_page_that_is_not_full() {
        let text = |length| "\u{1}".repeat(length);
        let called = Called {
            program: text(512),
            arguments: vec![text(4096)],
            folder: Some(text(512)),
            run_as: Some(text(512)),
            terminal: Some(text(512)),
            ..Called::default()
        };
        let under = Under {
            grant: "g".repeat(63),
            request: RequestRef { namespace: text(63), name: text(253), uid: text(36) },
            ticket: Some(text(128)),
            holder: text(256),
            names_commands: true,
        };
        let (at, event) =
            event_of(Logged::Refused(called, text(512)), By::default(), DateTime::UNIX_EPOCH);
        let author = Author { user: Some(text(32)), uid: Some(u32::MAX), under: Some(under) };
        let mut page = Page::after(&Marks::default());
        page.add(at, event, author);
        assert!(page.size + FULL < MOST_BYTES, "{}", page.size);
        assert!(page.is_full());
    }

    #[test]
    fn a_call_is_named_by_its_time() {
        let at = DateTime::from_timestamp(1_796_074_938, 18_053_956).unwrap();
        assert_eq!(session_of(at), "1796074938.018053956");
    }

    #[test]
    fn a_child_does_not_say_where_it_ran() {
        let called = Called { folder: Some("/srv".into()), ..Called::default() };
        let folder = |is_child| {
            let by = By { is_child, ..By::default() };
            let (_, event) = event_of(Logged::Accepted(called.clone()), by, DateTime::UNIX_EPOCH);
            let Event::Command(call) = event else { panic!() };
            call.folder
        };
        assert_eq!((folder(false).as_deref(), folder(true)), (Some("/srv"), None));
    }
}
