//! What is remembered of orders, as files that are there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{MaxSeen, Reading};
use crate::files::{self, Files};
use crate::order::OrderId;
use crate::record::Record;

/// For root alone.
const MODE: u32 = 0o600;

/// Why something is not remembered, or cannot be called to mind.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Reading failed.
    #[error("reading {path}: {why}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Writing failed.
    #[error("writing {path}: {why}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It is not what this program writes.
    #[error(
        "{path} cannot be understood: {why}. What this order has given may be there still: look, then remove the file"
    )]
    Malformed {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What is remembered of orders.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
}

/// All records, those that cannot be read apart.
#[derive(Debug, Default)]
pub struct Records {
    /// What can be read.
    pub read: BTreeMap<OrderId, Record>,
    /// What cannot.
    pub broken: BTreeMap<OrderId, LedgerError>,
}

/// While this is there, nobody else changes anything.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Ledger {
    /// The one in this folder, which is there and which nobody but root, or the administrators, can read or write.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Waits until nobody else changes anything, and keeps others from it: the agent, and what the platform starts at an end.
    ///
    /// # Errors
    /// If the lock cannot be had.
    pub fn lock(&self) -> Result<Lock, LedgerError> {
        let path = self.folder.join("lock");
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        let file = locked.map_err(|why| LedgerError::Write { path, why })?;
        Ok(Lock { _file: file })
    }

    fn path(&self, id: &OrderId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// What is known of an order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, id: &OrderId) -> Result<Option<Record>, LedgerError> {
        read(&self.path(id))
    }

    /// All that is known.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn all(&self) -> Result<Records, LedgerError> {
        let wrong = |why| LedgerError::Read { path: self.folder.clone(), why };
        let mut records = Records::default();
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            let name = name.to_string_lossy();
            let Some(id) = name.strip_suffix(".json").and_then(OrderId::read) else { continue };
            match self.read(&id) {
                Ok(Some(record)) => _ = records.read.insert(id, record),
                Ok(None) => {}
                Err(error) => _ = records.broken.insert(id, error),
            }
        }
        Ok(records)
    }

    /// Remembers what is known of an order.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, files: &dyn Files, record: &Record) -> Result<(), LedgerError> {
        write(files, self.path(&record.id), record)
    }

    /// Remembers an order no more.
    ///
    /// # Errors
    /// If its file stays.
    pub fn forget(&self, files: &dyn Files, id: &OrderId) -> Result<(), LedgerError> {
        let path = self.path(id);
        files.remove(&path).map_err(|why| LedgerError::Write { path, why })
    }

    /// The latest that the wall clock was seen to show.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn seen(&self) -> Result<MaxSeen, LedgerError> {
        let first = MaxSeen { wall: DateTime::UNIX_EPOCH };
        Ok(read(&self.folder.join("seen.json"))?.unwrap_or(first))
    }

    /// Notes what the wall clock shows; the latest that it was seen to show, this time among them.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn see(&self, files: &dyn Files, now: &Reading) -> Result<MaxSeen, LedgerError> {
        let before = self.seen()?;
        let seen = before.with(now);
        if seen != before {
            write(files, self.folder.join("seen.json"), &seen)?;
        }
        Ok(seen)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LedgerError> {
    let path = path.to_owned();
    let bytes = match files::read(&path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(why) => return Err(LedgerError::Read { path, why }),
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|why| LedgerError::Malformed { path, why: why.to_string() })
}

fn write<T: Serialize>(files: &dyn Files, path: PathBuf, value: &T) -> Result<(), LedgerError> {
    let written = serde_json::to_vec(value)
        .map_err(io::Error::other)
        .and_then(|bytes| files.replace(&path, &bytes, MODE));
    written.map_err(|why| LedgerError::Write { path, why })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::files::HostFiles;

    #[test]
    fn the_latest_time_that_was_seen_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path());
        let at = |seconds| Reading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
            boottime_ms: 0,
            boot_id: String::new(),
        };
        assert_eq!(ledger.seen().unwrap().wall, DateTime::UNIX_EPOCH);
        assert_eq!(ledger.see(&HostFiles, &at(10)).unwrap().wall, at(10).wall);
        assert_eq!(ledger.see(&HostFiles, &at(5)).unwrap().wall, at(10).wall);
        assert_eq!(Ledger::in_folder(folder.path()).seen().unwrap().wall, at(10).wall);
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_folder(folder.path());
        let id = OrderId::read(&"a".repeat(32)).unwrap();
        fs::write(folder.path().join(format!("{id}.json")), "{").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let records = ledger.all().unwrap();
        assert!(records.read.is_empty());
        assert_eq!(records.broken.keys().collect::<Vec<_>>(), [&id]);
        let said = records.broken[&id].to_string();
        assert!(said.contains("look, then remove the file"), "{said}");
    }
}
