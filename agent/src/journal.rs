//! What the agent remembers, as files that are there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;

use chrono::DateTime;
use serde::de::DeserializeOwned;

use crate::clock::{MaxSeen, Reading};
use crate::durable;
use crate::places::{Id, Places};
use crate::record::Record;
use crate::system::System;

/// How many orders are remembered.
pub const MOST: usize = 1024;
/// The mode of the folder that the socket lies in.
const SEARCHABLE: u32 = 0o711;

/// Why something is not remembered, or cannot be called to mind.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
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
    #[error("{path} cannot be understood: {why}")]
    Malformed {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What the agent remembers.
#[derive(Clone, Debug)]
pub struct Journal {
    places: Places,
}

/// The records of a host, those that cannot be read apart.
#[derive(Debug, Default)]
pub struct Records {
    /// What can be read.
    pub read: BTreeMap<Id, Record>,
    /// What cannot.
    pub broken: BTreeMap<Id, JournalError>,
}

impl Journal {
    /// The one of this host. Makes its folders if they are missing.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn open(places: &Places) -> Result<Self, JournalError> {
        for path in [places.records(), places.private()] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|why| JournalError::Write { path, why })?;
        }
        let path = places.memory();
        let opened = take_in(places).and_then(|()| {
            let is_open = fs::metadata(&path)?.permissions().mode() & 0o777 == SEARCHABLE;
            if is_open {
                return Ok(());
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(SEARCHABLE))
        });
        opened.map_err(|why| JournalError::Write { path, why })?;
        Ok(Self { places: places.clone() })
    }

    /// Waits until nobody else changes anything, and keeps others from it until the file is dropped.
    ///
    /// # Errors
    /// If the lock cannot be had.
    pub fn lock(&self) -> Result<File, JournalError> {
        let path = self.places.state().join("lock");
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|why| JournalError::Write { path, why })
    }

    fn path(&self, id: &Id) -> PathBuf {
        self.places.records().join(format!("{id}.json"))
    }

    /// What is known of an order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, id: &Id) -> Result<Option<Record>, JournalError> {
        read(self.path(id))
    }

    /// All that is known.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn all(&self) -> Result<Records, JournalError> {
        let path = self.places.records();
        let wrong = |why| JournalError::Read { path: path.clone(), why };
        let mut records = Records::default();
        for entry in fs::read_dir(&path).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            let name = name.to_string_lossy();
            let Some(id) = name.strip_suffix(".json").and_then(Id::read) else { continue };
            match self.read(&id) {
                Ok(Some(record)) => _ = records.read.insert(id, record),
                Ok(None) => {}
                Err(error) => _ = records.broken.insert(id, error),
            }
        }
        Ok(records)
    }

    /// Remembers.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, system: &dyn System, record: &Record) -> Result<(), JournalError> {
        let path = self.path(&Id::of(&record.grant));
        let malformed = |why: String| JournalError::Malformed { path: path.clone(), why };
        let bytes = serde_json::to_vec(record).map_err(|error| malformed(error.to_string()))?;
        let written = system.replace(&path, &bytes, 0o600);
        written.map_err(|why| JournalError::Write { path, why })
    }

    /// Forgets.
    ///
    /// # Errors
    /// If it stays.
    pub fn forget(&self, system: &dyn System, id: &Id) -> Result<(), JournalError> {
        let path = self.path(id);
        system.remove(&path).map_err(|why| JournalError::Write { path, why })
    }

    /// The latest that the wall clock was seen to show.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn max_seen(&self) -> Result<MaxSeen, JournalError> {
        let first = MaxSeen { wall: DateTime::UNIX_EPOCH };
        Ok(read(self.places.state().join("clock.json"))?.unwrap_or(first))
    }

    /// Remembers what the wall clock shows; returns the latest that it was seen to show.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn see(&self, system: &dyn System, now: &Reading) -> Result<MaxSeen, JournalError> {
        let seen = self.max_seen()?;
        let next = seen.with(now);
        if next != seen {
            self.accept_clock(system, next)?;
        }
        Ok(next)
    }

    /// Takes a time for the latest that was seen, whatever was seen before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn accept_clock(&self, system: &dyn System, seen: MaxSeen) -> Result<(), JournalError> {
        let path = self.places.state().join("clock.json");
        let bytes = serde_json::to_vec(&seen).map_err(|error| JournalError::Malformed {
            path: path.clone(),
            why: error.to_string(),
        })?;
        let written = system.replace(&path, &bytes, 0o600);
        written.map_err(|why| JournalError::Write { path, why })
    }
}

/// Moves what an agent of an earlier release has left, or still writes until it is restarted, to where it lies now: a sudo that
/// was stopped is refused by it.
fn take_in(places: &Places) -> io::Result<()> {
    for entry in fs::read_dir(places.memory())? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let is_mark = ["ended-", "logged-off-"].iter().any(|start| text.starts_with(start));
        if is_mark || text == "running" || text == "standing.json" {
            match fs::rename(entry.path(), places.private().join(&name)) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
        }
    }
    Ok(())
}

/// Reads a file of ours, if it is there.
pub(crate) fn read<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, JournalError> {
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|why| JournalError::Read { path: path.clone(), why })?,
    };
    let read = serde_json::from_slice(&bytes);
    read.map_err(|error| JournalError::Malformed { path, why: error.to_string() })
}

/// Writes a file of ours.
pub(crate) fn write<T: serde::Serialize>(path: PathBuf, value: &T) -> Result<(), JournalError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| JournalError::Malformed { path: path.clone(), why: error.to_string() })?;
    durable::replace(&path, &bytes, 0o600).map_err(|why| JournalError::Write { path, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn people_may_search_for_the_socket_and_see_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let _ = Journal::open(&places).unwrap();
        assert_eq!((mode(&places.memory()), mode(&places.private())), (0o711, 0o700));
        assert_eq!(mode(&places.records()), 0o700);
    }

    #[test]
    fn what_an_earlier_release_left_is_taken_in() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(places.memory()).unwrap();
        fs::write(places.memory().join("ended-1000"), "5").unwrap();
        let _ = Journal::open(&places).unwrap();
        // The old one runs until its package is configured.
        fs::write(places.memory().join("ended-1000"), "7").unwrap();
        fs::write(places.socket(), "").unwrap();
        let _ = Journal::open(&places).unwrap();
        assert_eq!(fs::read_to_string(places.last_end(1000)).unwrap(), "7");
        assert!(places.socket().exists());
    }
}
