//! What the cluster does not have yet, on the disk: a file for each batch, which is there whole or not at all
//! ([`crate::durable`]), and is removed when the gateway has noted it.
//!
//! A batch that was sent does not change any more, so that the gateway knows it again when it comes twice. Entries are numbered
//! within a series, and each start of the agent begins another one: a host whose disk was restored to what it was says nothing
//! under a number that it has used.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_engine::activity::{Batch, Entry, Event, MOST_BYTES};
use serde::{Deserialize, Serialize};

use super::page::{Author, Marks, Page};
use crate::durable;
use crate::journal::{JournalError, read, write};

/// How much is kept on the disk while the cluster cannot be reached, in bytes.
pub const MOST: u64 = 16 * 1024 * 1024;
/// The last batch that was noted: kept for its marks.
const HEAD: &str = "head.json";
/// What the lines of a batch take in its file, beside what they have themselves: quotes are escaped.
const ROOM: usize = 2;

/// A batch, as it lies on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    /// Its place among all.
    number: u64,
    /// How far was read what it is from.
    marks: Marks,
    batch: Batch,
}

/// A file of the spool.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    bytes: u64,
    /// How many entries are missing without it: its own, and those that it says are missing.
    entries: u64,
    /// Whether more may be added: it is of this series.
    is_own: bool,
}

/// What the cluster does not have yet.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    most: u64,
    series: String,
    /// The number of the last entry, and that of the next file.
    last: u64,
    next: u64,
    marks: Marks,
    kept: VecDeque<Kept>,
    /// The first batch, once it was offered: it does not change any more.
    offered: Option<Arc<Batch>>,
    /// How many entries were dropped, and have not been told.
    dropped: u64,
    /// Whether a file could not be read, which was not told.
    is_broken: bool,
}

impl Spool {
    /// Opens the one in this folder, which is made if it is missing, for a series of this name.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub fn open(folder: PathBuf, most: u64, series: String) -> Result<Self, JournalError> {
        let wrong = |why| JournalError::Read { path: folder.clone(), why };
        fs::create_dir_all(&folder).map_err(wrong)?;
        let names = fs::read_dir(&folder).map_err(wrong)?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut numbers: Vec<u64> =
            names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        let head: Option<Stored> = read(folder.join(HEAD)).ok().flatten();
        let (mut next, marks) = head.map_or_else(Default::default, |it| (it.number + 1, it.marks));
        let mut spool = Self {
            folder,
            most,
            series,
            last: 0,
            next,
            marks,
            kept: VecDeque::new(),
            offered: None,
            dropped: 0,
            is_broken: false,
        };
        for number in numbers {
            let Some(stored) = spool.stored(number)? else { continue };
            let bytes = fs::metadata(spool.path(number)).map_or(0, |found| found.len());
            let entries = entries_of(&stored.batch);
            spool.kept.push_back(Kept { number, bytes, entries, is_own: false });
            spool.marks = stored.marks;
            next = number + 1;
        }
        spool.next = next;
        Ok(spool)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.json"))
    }

    /// What a file holds. One that nobody can read is removed, and told.
    fn stored(&mut self, number: u64) -> Result<Option<Stored>, JournalError> {
        let path = self.path(number);
        match read(path.clone()) {
            Err(JournalError::Malformed { .. }) => {
                self.is_broken = true;
                let removed = durable::remove(&path);
                removed.map(|()| None).map_err(|why| JournalError::Write { path, why })
            }
            stored => stored,
        }
    }

    /// How far was read what was spooled.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Keeps a page. When this returns it survives a power cut; when it fails, nothing of it is kept.
    ///
    /// # Errors
    /// If it cannot be written, such as on a full disk.
    pub fn append(&mut self, mut page: Page, now: DateTime<Utc>) -> Result<(), JournalError> {
        let size: usize = page.entries.len() * 32 + lines(&page.entries)?.len() * ROOM;
        self.make_room(size as u64);
        if self.dropped > 0 {
            let why = "the spool of the host was full while the cluster could not be reached, so the oldest were dropped";
            page.add_lost(now, Some(self.dropped), why, Author::default());
        }
        if self.is_broken {
            let why = "a file of the spool of the host could not be read, and was removed";
            page.add_lost(now, None, why, Author::default());
        }
        let Page { mut entries, marks, .. } = page;
        let first = self.last + 1;
        for (entry, number) in entries.iter_mut().zip(first..) {
            entry.sequence = number;
        }
        let last = self.last + entries.len() as u64;
        let lines = lines(&entries)?;
        let growing = self.growing(lines.len())?;
        let (is_new, stored) = if let Some(Stored { number, batch, .. }) = growing {
            let lines = batch.lines + &lines;
            (false, Stored { number, marks, batch: Batch { last, lines, ..batch } })
        } else {
            let series = self.series.clone();
            let batch = Batch { series, first, last, lines };
            (true, Stored { number: self.next, marks, batch })
        };
        let path = self.path(stored.number);
        write(path.clone(), &stored)?;
        let bytes = fs::metadata(&path).map_or(0, |found| found.len());
        if !is_new {
            self.kept.pop_back();
        }
        let entries = entries_of(&stored.batch);
        self.kept.push_back(Kept { number: stored.number, bytes, entries, is_own: true });
        self.next = stored.number + 1;
        (self.last, self.marks) = (last, stored.marks);
        (self.dropped, self.is_broken) = (0, false);
        Ok(())
    }

    /// The last batch, if so many bytes may be added to it.
    fn growing(&mut self, bytes: usize) -> Result<Option<Stored>, JournalError> {
        let is_offered = self.offered.is_some() && self.kept.len() == 1;
        let Some(newest) = self.kept.back().filter(|kept| kept.is_own && !is_offered) else {
            return Ok(None);
        };
        let stored = self.stored(newest.number)?;
        Ok(stored.filter(|stored| stored.batch.lines.len() + bytes <= MOST_BYTES))
    }

    /// Drops the oldest that was not offered, until there is room for so many bytes more.
    fn make_room(&mut self, bytes: u64) {
        let total = |kept: &VecDeque<Kept>| kept.iter().map(|kept| kept.bytes).sum::<u64>();
        let oldest = usize::from(self.offered.is_some());
        while total(&self.kept) + bytes > self.most {
            let Some(kept) = self.kept.remove(oldest) else { return };
            // One that stays is sent, and told as dropped: once too often is better than not at all.
            let _ = durable::remove(&self.path(kept.number));
            self.dropped += kept.entries;
        }
    }

    /// The batch that is to be sent now, until it is noted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn offer(&mut self) -> Result<Option<Arc<Batch>>, JournalError> {
        while self.offered.is_none() {
            let Some(first) = self.kept.front().copied() else { break };
            match self.stored(first.number)? {
                Some(stored) => self.offered = Some(Arc::new(stored.batch)),
                None => _ = self.kept.pop_front(),
            }
        }
        Ok(self.offered.clone())
    }

    /// All that is kept, in its order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn all(&mut self) -> Result<Vec<Batch>, JournalError> {
        let numbers: Vec<u64> = self.kept.iter().map(|kept| kept.number).collect();
        let mut all = Vec::new();
        for number in numbers {
            all.extend(self.stored(number)?.map(|stored| stored.batch));
        }
        Ok(all)
    }

    /// The gateway has noted the batch of this series that ends with this number.
    ///
    /// # Errors
    /// If that cannot be written down: then it is sent again after a restart.
    pub fn noted(&mut self, series: &str, last: u64) -> Result<(), JournalError> {
        let is_other = |batch: &Arc<Batch>| batch.series != series || batch.last != last;
        if self.offered.as_ref().is_none_or(is_other) {
            return Ok(());
        }
        self.offered = None;
        let Some(first) = self.kept.pop_front() else { return Ok(()) };
        let path = self.folder.join(HEAD);
        let renamed = fs::rename(self.path(first.number), &path);
        let renamed = renamed.and_then(|()| File::open(&self.folder)?.sync_all());
        renamed.map_err(|why: io::Error| JournalError::Write { path, why })
    }
}

/// How many entries there are in a batch, and are missing by what it says.
fn entries_of(batch: &Batch) -> u64 {
    let of = |line: &str| match serde_json::from_str(line) {
        Ok(Entry { event: Event::Lost { entries: Some(more), .. }, .. }) => 1 + more,
        _ => 1,
    };
    batch.lines.lines().map(of).sum()
}

/// Entries as lines.
fn lines(entries: &[Entry]) -> Result<String, JournalError> {
    let mut lines = String::new();
    for entry in entries {
        let line = serde_json::to_string(entry);
        lines += &line.map_err(|error| JournalError::Malformed {
            path: PathBuf::from("an entry of the record"),
            why: error.to_string(),
        })?;
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
