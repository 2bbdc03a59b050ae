//! Undoes what was changed.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lapse_crds::DriftKind;
use rustix::fs::{FlockOperation, fcntl_lock};

use super::critical::{PROGRAM, UNITS};
use super::deviation::{Deviation, Edit, Repair};
use super::entry::{Content, Entry};
use super::name::{last, real};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::places::{Id, Places};
use crate::system::System;
use crate::timers;
use crate::unfollowed::{Mend, Owner, read};

/// The program that runs this.
const RUNNING: &str = "/proc/self/exe";
/// What programs that change accounts lock (lckpwdf(3)).
const LOCK: &str = "/etc/.pwd.lock";
/// How long that is waited for. Whoever holds it for longer does not keep anything from being undone.
const PATIENCE: Duration = Duration::from_millis(100);
/// The longest file with accounts.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What undoes changes.
pub(super) struct Restorer<'a> {
    /// What changes the host.
    pub(super) system: &'a dyn System,
    /// What it shows the time by.
    pub(super) clock: &'a dyn Clock,
    /// Where things lie.
    pub(super) places: &'a Places,
    /// What is known of rights.
    pub(super) journal: &'a Journal,
}

impl Restorer<'_> {
    /// Undoes a change.
    ///
    /// # Errors
    /// In words, if it stays.
    pub(super) fn undo(&self, deviation: &Deviation) -> Result<(), String> {
        let path = self.places.under_root(&real(&deviation.path));
        let words = |error: io::Error| error.to_string();
        match &deviation.repair {
            Repair::Put(entry) => self.put(&path, entry).map_err(words),
            Repair::Take => self.take(deviation, &path),
            Repair::Permit(owner) => self.system.mend(&path, Mend::Permit(*owner)).map_err(words),
            Repair::Program(owner) => self.put_program(*owner).map_err(words),
            Repair::Arm(id) => self.arm(id, &path),
            Repair::Edits(edits) => self.edit(edits).map_err(words),
            Repair::Strip(id) => self.system.mend(&path, Mend::Strip(*id)).map_err(words),
            Repair::Incapacitate(id) => {
                self.system.mend(&path, Mend::Capabilities(*id, None)).map_err(words)
            }
            Repair::Nothing(why) => Err((*why).to_owned()),
        }
    }

    /// Has systemd read its units again, after one was put back or removed.
    pub(super) fn reload(&self) {
        // What it does not do now it does at the next start of the host.
        let _ = self.system.run("systemctl", &["daemon-reload"]);
    }

    fn put(&self, path: &Path, entry: &Entry) -> io::Result<()> {
        let owner = entry.owner;
        let how = |content| Mend::Put { content, owner };
        match &entry.content {
            Content::Text(text) => self.system.mend(path, how(text.as_bytes())),
            Content::Bytes(text) => {
                let bytes = BASE64.decode(text).map_err(io::Error::other)?;
                self.system.mend(path, how(&bytes))
            }
            Content::Link(target) => self.system.mend(path, Mend::Link { target }),
            Content::Stamp(_) | Content::Folder | Content::Other => {
                Err(io::Error::other("its content was not kept"))
            }
        }
    }

    fn take(&self, deviation: &Deviation, path: &Path) -> Result<(), String> {
        let name = last(&deviation.path);
        // What it runs ends before nobody knows of it any more.
        let is_unit = deviation.kind == DriftKind::Unit
            && deviation.path.strip_prefix(UNITS) == Some(&format!("/{name}"))
            && [".service", ".timer", ".socket", ".path"].iter().any(|end| name.ends_with(end));
        if is_unit {
            let _ = self.system.run("systemctl", &["stop", "--no-block", "--", name]);
        }
        self.system.mend(path, Mend::Take).map_err(|error| error.to_string())
    }

    /// Puts back the program that runs this: the kernel keeps it, whatever its place holds now.
    fn put_program(&self, owner: Owner) -> io::Result<()> {
        let (path, running) = (self.places.at(PROGRAM), self.places.at(RUNNING));
        let which = |found: Metadata| (found.dev(), found.ino());
        let there = fs::symlink_metadata(&path).map(which).ok();
        if there == fs::metadata(&running).map(which).ok() {
            return Err(io::Error::other("it runs itself: install its package again"));
        }
        let content = fs::read(running)?;
        self.system.mend(&path, Mend::Put { content: &content, owner })
    }

    fn arm(&self, id: &Id, path: &Path) -> Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        self.system.mend(path, Mend::Take).map_err(|error| words(&error))?;
        self.reload();
        let record = self.journal.read(id).map_err(|error| words(&error))?;
        let now = self.clock.read().map_err(|error| words(&error))?;
        let seen = self.journal.max_seen().map_err(|error| words(&error))?;
        // One that is over needs none: it is taken back now.
        let Some(record) = record else { return Ok(()) };
        let (Some(right), Some(rest)) = (&record.right, record.rest(&now, &seen)) else {
            return Ok(());
        };
        let of = (id, record.grant.as_str());
        timers::arm(self.system, self.places, of, right.expires_at, rest)
            .map_err(|error| words(&error))
    }

    /// Changes lines of the accounts. The programs that do so otherwise are not called: whoever is root can keep them from it
    /// by a lock.
    fn edit(&self, edits: &[Edit]) -> io::Result<()> {
        let _lock = self.lock();
        let mut files: Vec<&'static str> = edits.iter().map(Edit::path).collect();
        files.dedup();
        for file in files {
            let path = self.places.at(file);
            let Some(bytes) = read(&path, LONGEST) else { continue };
            let text = String::from_utf8(bytes).map_err(io::Error::other)?;
            let of_file = edits.iter().filter(|edit| edit.path() == file);
            let edited = of_file.fold(text.clone(), |text, edit| edit.apply(&text));
            if edited != text {
                let owner = owner_of(&path)?;
                self.system.mend(&path, Mend::Put { content: edited.as_bytes(), owner })?;
            }
        }
        Ok(())
    }

    /// Keeps programs that change accounts from it, if that is possible.
    fn lock(&self) -> Option<File> {
        let mut options = File::options();
        let path = self.places.at(LOCK);
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path).ok()?;
        let began = Instant::now();
        while fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if began.elapsed() > PATIENCE {
                return None;
            }
            sleep(Duration::from_millis(5));
        }
        Some(file)
    }
}

fn owner_of(path: &Path) -> io::Result<Owner> {
    let found = fs::symlink_metadata(path)?;
    Ok(Owner { mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid() })
}
