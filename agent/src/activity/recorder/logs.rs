//! What sudo logs: read from where it was left, and given back to its file system.
//!
//! A hole takes the place of what was read: sudo writes on without noticing, and what a user has logged takes no room for longer
//! than it is unread. Nothing is renamed or cut, as a sudo that was stopped may still write to what it has opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use tracing::warn;

use super::{RecordError, Recorder};
use crate::activity::calls::By;
use crate::activity::page::{Author, Page, event_of};
use crate::chance::random_name;
use crate::durable;
use crate::places::{Id, SUDO_LOGS};
use crate::probe::is_apart;
use crate::record::Record;
use crate::sudo::{LogReader, Logged};

/// How much of a log is read at once, in bytes.
const PIECE: usize = 64 * 1024;
/// What a file is given back in, in bytes.
const BLOCK: u64 = 4096;
/// How long a log stays after its right is over and nothing was logged any more.
const QUIET: TimeDelta = TimeDelta::seconds(10);
/// The file by whose content the file system of the logs is known.
const NAME: &str = "name";

/// How far a log was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// How long it was when it was read to its end.
    end: Option<u64>,
    /// Up to which byte it was given back.
    given: u64,
}

/// Whether the rule of a right has sudo log.
pub(super) fn is_logged(record: &Record) -> bool {
    let rule = record.undo.as_ref().and_then(|undo| undo.rule.as_deref());
    rule.is_some_and(|rule| rule.contains(SUDO_LOGS))
}

impl Recorder {
    fn log(&self, log: &Id) -> PathBuf {
        self.places.sudo_logs().join(log.to_string())
    }

    /// The logs that are there. Those of another file system than before are read from their beginning.
    pub(super) fn find_logs(&mut self, page: &mut Page) -> Result<Vec<Id>, RecordError> {
        let folder = self.places.sudo_logs();
        let wrong = |why| RecordError::Source { path: folder.clone(), why };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(wrong)?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let logs: Vec<Id> = names.filter_map(|name| Id::read(&name)).collect();
        let path = folder.join(NAME);
        let mut name = fs::read_to_string(&path).unwrap_or_default();
        if name.is_empty() {
            name = random_name();
            durable::replace(&path, name.as_bytes(), 0o600).map_err(wrong)?;
        }
        if page.marks.logs != name {
            page.marks.read.clear();
            page.marks.logs = name;
        }
        self.logs.retain(|known, _| logs.contains(known));
        let is_there = |name: &String| Id::read(name).is_some_and(|id| logs.contains(&id));
        page.marks.read.retain(|name, _| is_there(name));
        Ok(logs)
    }

    /// Reads on in a log; whether there is more in it than the page has room for.
    pub(super) fn read_log(
        &mut self,
        log: &Id,
        page: &mut Page,
        now: DateTime<Utc>,
    ) -> Result<bool, RecordError> {
        let path = self.log(log);
        let wrong = |why| RecordError::Source { path: path.clone(), why };
        let mut file = File::open(&path).map_err(wrong)?;
        let size = file.metadata().map_err(wrong)?.len();
        let progress = self.logs.entry(log.clone()).or_default();
        if progress.end.replace(size) == Some(size) {
            return Ok(false);
        }
        let record = self.record(log);
        let name = log.to_string();
        let mut place = page.marks.read.get(&name).copied().unwrap_or_default();
        if size < place {
            let why = "the log of sudo was cut short by somebody";
            page.add_lost(now, None, why, self.author(None, record.as_ref()));
            place = 0;
        }
        file.seek(SeekFrom::Start(place)).map_err(wrong)?;
        let mut reader = LogReader::at(place);
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).map_err(wrong)?;
            if count == 0 {
                return Ok(false);
            }
            for (logged, next) in reader.feed(&piece[..count]) {
                let is_full = page.is_full();
                // If it is not known yet by which right it was called, that is known in a moment.
                if is_full || !self.take(logged, record.as_ref(), page, now) {
                    self.logs.entry(log.clone()).or_default().end = None;
                    return Ok(is_full);
                }
                page.marks.read.insert(name.clone(), next);
            }
        }
    }

    /// Takes over what sudo logged; `false` if it is not known yet by which right it was called.
    fn take(
        &mut self,
        logged: Logged,
        record: Option<&Record>,
        page: &mut Page,
        now: DateTime<Utc>,
    ) -> bool {
        let uid = record.and_then(|record| Some(record.right.as_ref()?.uid)).unwrap_or_default();
        let by = match &logged {
            Logged::Accepted(called) => self.calls.of(uid, called, now),
            Logged::Ended { id, called_at, .. } => Some(self.calls.of_end(uid, id, *called_at)),
            Logged::Refused(..) | Logged::Torn => Some(By::default()),
        };
        let Some(by) = by else { return false };
        if by.grant.is_some() {
            self.gap = None;
        }
        let author = self.author(by.grant.as_deref(), record);
        let (at, event) = event_of(logged, by, now);
        page.add(at, event, author);
        true
    }

    /// Tells that sudo had no room to log, once for each time.
    pub(super) fn look_for_room(&mut self, page: &mut Page, now: DateTime<Utc>) {
        let found = statvfs(&self.places.sudo_logs());
        let is_full =
            is_apart(&self.places) && found.is_ok_and(|found| found.blocks_available() == 0);
        if is_full && !self.was_full {
            let why = "more was done with sudo at once than its log has room for, so that commands are missing here";
            page.add_lost(now, None, why, Author::default());
        }
        self.was_full = is_full;
    }

    /// Gives back what was read of a log, and all of it when nothing more comes.
    pub(super) fn give_back(&mut self, log: &Id, now: DateTime<Utc>) {
        let path = self.log(log);
        let found = fs::metadata(&path).and_then(|found| Ok((found.len(), found.modified()?)));
        let (Ok((size, changed)), Some(progress)) = (found, self.logs.get(log)) else { return };
        let Progress { end, given } = *progress;
        let is_quiet = now - DateTime::<Utc>::from(changed) > QUIET;
        let is_over = self.record(log).is_none_or(|record| !record.is_open());
        if is_over && is_quiet && end == Some(size) {
            // One that stays is looked at again.
            if durable::remove(&path).is_ok() {
                self.logs.remove(log);
            }
            return;
        }
        let read = self.spool.marks().read.get(&log.to_string()).copied().unwrap_or_default();
        let whole = read - read % BLOCK;
        let Some(length) = i64::try_from(whole).ok().filter(|_| whole > given) else { return };
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let opened = OpenOptions::new().write(true).open(&path);
        match opened.and_then(|file| Ok(fallocate(file, flags, 0, length)?)) {
            Ok(()) => self.logs.entry(log.clone()).or_default().given = whole,
            Err(error) => warn!(%error, "what was read of the log of sudo cannot be given back"),
        }
    }
}
