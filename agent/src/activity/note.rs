//! What processes of Lapse write down for the record, until the agent takes it over.
//!
//! Each note is a file of its own: whoever writes one holds nothing that others wait for, as a terminal may stop them at any
//! moment. Of which right it is, a note says by the name of the Grant alone; all else of it comes from the journal.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::durable;
use crate::places::Places;
use crate::processes::Stat;

/// How many notes may wait to be taken over. The agent takes them each second; while it is dead, nobody fills the memory of the
/// host with them.
pub const MOST: usize = 1024;
/// How much of what sudo was called with is kept, in bytes.
const MOST_ARGUMENTS: usize = 4 * 1024;

/// Something to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The name of the Grant.
    pub grant: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum What {
    /// sudo was let go on.
    Session {
        /// Its process.
        process: u32,
        /// When that was started.
        started_at: DateTime<Utc>,
        /// The terminal that it was called on.
        terminal: Option<String>,
        /// What it was called with, itself first.
        called: Vec<String>,
    },
    /// A program was started by Lapse itself.
    Started {
        /// A name of this start that no other has on this host.
        session: String,
        /// Its process.
        process: u32,
        /// The program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// The folder that it was started in.
        folder: Option<String>,
        /// The local user that it runs as.
        run_as: Option<String>,
    },
    /// Such a program ended.
    Ended {
        /// Which start.
        session: String,
        /// Its exit code, or 128 and the number of the signal that ended it.
        exit: i32,
        /// The name of that signal.
        signal: Option<String>,
    },
}

/// Writes a note, for the agent to take over.
///
/// # Errors
/// If it cannot be written, or too many wait.
pub fn leave(places: &Places, clock: &dyn Clock, note: &Note) -> io::Result<()> {
    let folder = places.notes();
    fs::create_dir_all(&folder)?;
    if fs::read_dir(&folder)?.take(MOST).count() >= MOST {
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many notes wait"));
    }
    let since = clock.read().map_err(io::Error::other)?.boottime_ms;
    // In the order in which they were written; and by chance, as one process may write several.
    let chance = getrandom::u32().unwrap_or_default();
    let name = format!("{since:020}-{}-{chance:08x}", std::process::id());
    durable::replace(&folder.join(name), &serde_json::to_vec(note)?, 0o600)
}

/// Notes that a process of sudo was let go on under a Grant.
///
/// # Errors
/// As [`leave`], and if nothing is known of the process.
pub fn leave_session(
    places: &Places,
    clock: &dyn Clock,
    (grant, process): (String, u32),
    terminal: Option<String>,
) -> io::Result<()> {
    let folder = places.at("/proc").join(process.to_string());
    let now = clock.read().map_err(io::Error::other)?;
    let started = Stat::of(&fs::read_to_string(folder.join("stat"))?);
    let started = started.map_or(now.boottime_ms, |stat| stat.started_ms);
    let age = now.boottime_ms.saturating_sub(started);
    let age = TimeDelta::milliseconds(i64::try_from(age).unwrap_or_default());
    let called = arguments(&fs::read(folder.join("cmdline"))?);
    let what = What::Session { process, started_at: now.wall - age, terminal, called };
    leave(places, clock, &Note { grant, at: now.wall, what })
}

/// The arguments of a process, as proc(5) has them.
fn arguments(line: &[u8]) -> Vec<String> {
    let kept = &line[..line.len().min(MOST_ARGUMENTS)];
    let kept = kept.strip_suffix(b"\0").unwrap_or(kept);
    kept.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// The notes that wait, with their names, the oldest first: so many at the most. One that nobody can read has none.
///
/// # Errors
/// If the folder cannot be read.
pub fn waiting(folder: &Path, most: usize) -> io::Result<Vec<(String, Option<Note>)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    // One that is being written is not there yet.
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    names.truncate(most);
    let read = |name: &String| {
        let bytes = fs::read(folder.join(name)).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    Ok(names.into_iter().map(|name| (name.clone(), read(&name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HostClock;

    #[test]
    fn a_note_of_this_process_is_read_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let own = std::process::id();
        let proc = places.at("/proc").join(own.to_string());
        fs::create_dir_all(&proc).unwrap();
        for name in ["stat", "cmdline"] {
            fs::copy(format!("/proc/self/{name}"), proc.join(name)).unwrap();
        }
        let grant = ("g".to_owned(), own);
        leave_session(&places, &HostClock, grant, Some("/dev/pts/1".into())).unwrap();
        let mut left = waiting(&places.notes(), 9).unwrap();
        let (_, note) = left.pop().unwrap();
        let Note { grant, at, what } = note.unwrap();
        let What::Session { process, started_at, terminal, called } = what else { panic!() };
        assert_eq!((grant.as_str(), process, left.len()), ("g", own, 0));
        assert_eq!(terminal.as_deref(), Some("/dev/pts/1"));
        // The two clocks are read one after the other.
        let age = at - started_at;
        assert!(TimeDelta::seconds(-1) < age && age < TimeDelta::minutes(30), "{started_at}");
        assert_eq!(called.first().cloned(), std::env::args().next());
    }

    #[test]
    fn nobody_fills_the_memory_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let what = What::Ended { session: "1".into(), exit: 0, signal: None };
        let note = Note { grant: "g".into(), at: DateTime::UNIX_EPOCH, what };
        leave(&places, &HostClock, &note).unwrap();
        for number in 0..MOST {
            fs::write(places.notes().join(number.to_string()), "{").unwrap();
        }
        let error = leave(&places, &HostClock, &note).unwrap_err();
        assert_eq!(error.to_string(), "too many notes wait");
        let waiting = waiting(&places.notes(), 3).unwrap();
        assert!(
            waiting.len() == 3 && waiting.iter().filter(|(_, note)| note.is_some()).count() <= 1
        );
    }

    #[test]
    fn what_sudo_was_called_with_is_kept_in_part() {
        assert_eq!(arguments(b"sudo\0-n\0\0id\0"), ["sudo", "-n", "", "id"]);
        assert_eq!(arguments(&vec![b'a'; 1 << 20])[0].len(), MOST_ARGUMENTS);
        assert_eq!(arguments(b"\xff"), ["\u{fffd}"]);
    }
}
