//! The steps of one order, from the first to the last.

use tracing::{error, info, warn};

use super::Hands;
use crate::accounts;
use crate::clock::Reading;
use crate::drift;
use crate::elevation::driver;
use crate::journal::JournalError;
use crate::places::Id;
use crate::processes::{is_within_session_of, kill_slice, log_off};
use crate::record::{Record, Stage};
use crate::right::{Right, check};
use crate::timers;

impl Hands {
    /// Gives a right, or says why not and takes back what there is of it.
    ///
    /// # Errors
    /// As [`Hands::end`].
    pub(super) fn give(
        &self,
        record: &mut Record,
        right: &Right,
        others: &[Record],
    ) -> Result<(), JournalError> {
        match self.try_give(record, right, others) {
            Ok(()) => {
                let (Right { user, elevation, expires_at, .. }, grant) = (right, &record.grant);
                info!(grant, user, what = %elevation, until = %expires_at, "access is granted");
                Ok(())
            }
            Err(why) => {
                warn!(grant = record.grant, why, "access cannot be granted");
                record.failed = true;
                self.end(record, others, Some(&why))
            }
        }
    }

    fn try_give(
        &self,
        record: &mut Record,
        right: &Right,
        others: &[Record],
    ) -> Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let now = self.now().map_err(|error| words(&error))?;
        let seen = self.journal.see(self.system(), &now).map_err(|error| words(&error))?;
        let rest = record.rest(&now, &seen).ok_or("it expired")?;
        let (id, grant) = (Id::of(&record.grant), record.grant.clone());
        let driver = driver(&id, &grant, right);
        check(&self.places, right).map_err(|error| words(&error))?;
        // After a crash, what is there now may be what was given.
        let undo = match record.undo.clone() {
            Some(undo) => undo,
            None => self.with_bench(others, |bench| driver.prepare(bench))?,
        };
        // From now on an account that is made is somebody.
        let uid = undo.made.map_or(right.uid, |made| made.uid);
        let right = &Right { uid, ..right.clone() };
        // What the host was before is written down before anybody may change it.
        drift::begin(self.system(), &self.places, &self.journal, (record, right), &now)
            .map_err(|error| words(&error))?;
        record.undo = Some(undo.clone());
        if let Some(right) = &mut record.right {
            right.uid = uid;
        }
        record.go(Stage::Giving, &now);
        self.remember(record).map_err(|error| words(&error))?;
        timers::arm(self.system(), &self.places, (&id, &grant), right.expires_at, rest)
            .map_err(|error| words(&error))?;
        self.with_bench(others, |bench| driver.apply(bench, &undo))?;
        record.say(None);
        record.go(Stage::Active, &self.now().map_err(|error| words(&error))?);
        self.remember(record).map_err(|error| words(&error))
    }

    /// Takes a right back. What it cannot do, it says in the record, and the next round goes on.
    ///
    /// # Errors
    /// If what came of it cannot be written down: then the record is as it was written last, as nobody is told what a
    /// restart would forget.
    pub(super) fn end(
        &self,
        record: &mut Record,
        others: &[Record],
        why: Option<&str>,
    ) -> Result<(), JournalError> {
        let since = Reading { wall: record.since, boottime_ms: 0, boot_id: String::new() };
        let now = self.now().unwrap_or(since);
        let mut written = record.clone();
        record.go(Stage::Ending, &now);
        if let Some(why) = why {
            record.why = Some(why.to_owned());
        }
        // The right goes whether this can be written or not.
        if *record != written {
            match self.remember(record) {
                Ok(()) => written = record.clone(),
                Err(error) => {
                    warn!(grant = record.grant, %error, "that access ends cannot be written down");
                }
            }
        }
        match self.take(record, others) {
            Ok(()) => {
                record.say(record.why.clone());
                // As of now, when it was seen to be gone.
                record.go(Stage::Over, &self.now().unwrap_or(now));
                info!(grant = record.grant, why = record.why, "access has ended");
            }
            Err(problem) => {
                if record.message.as_ref() != Some(&problem) {
                    error!(grant = record.grant, problem, "access is not gone yet");
                }
                record.say(Some(problem));
            }
        }
        if *record == written {
            return Ok(());
        }
        let done = self.remember(record);
        match &done {
            Ok(()) if record.stage == Stage::Over => {
                // The record says so now.
                let id = Id::of(&record.grant);
                for mark in [self.places.logged_off(&id), self.places.closed(&id)] {
                    let _ = self.system.remove(&mark);
                }
            }
            Ok(()) => {}
            Err(_) => *record = written,
        }
        done
    }

    /// Takes back what there is of a right: each part, whatever becomes of the others.
    fn take(&self, record: &mut Record, others: &[Record]) -> Result<(), String> {
        let id = Id::of(&record.grant);
        let mut problems = Vec::new();
        if let Some(right) = &record.right {
            let driver = driver(&id, &record.grant, right);
            let undo = record.undo.as_ref();
            self.with_bench(others, |bench| {
                problems.extend(driver.revert(bench, undo).err());
                problems.extend(driver.stop(bench, undo).err());
            });
            // Nobody is logged off for what they never had.
            let was_given = record.undo.is_some() && !record.failed;
            if right.log_off && was_given && !record.logged_off {
                match self.log_off(&id, right) {
                    Ok(()) => record.logged_off = true,
                    Err(problem) => problems.push(problem),
                }
            }
        }
        if problems.is_empty() {
            let disarmed = timers::disarm(self.system(), &self.places, &id);
            problems.extend(disarmed.err().map(|error| error.to_string()));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// Logs the user of a right off, once, whatever else of its end does not succeed: they may log in again.
    fn log_off(&self, id: &Id, right: &Right) -> Result<(), String> {
        let mark = self.places.logged_off(id);
        if mark.exists() {
            return Ok(());
        }
        let words = |error: std::io::Error| format!("logging the user off: {error}");
        let names = accounts::names_of(&self.places, right.uid).map_err(words)?;
        if !names.is_empty() && !names.contains(&right.user) {
            let names = names.join(", ");
            warn!(user = right.user, names, "nobody is logged off: the user ID is another's now");
            return Ok(());
        }
        if is_within_session_of(&self.places, right.uid).unwrap_or_default() {
            warn!(user = right.user, "the user is not logged off, as this was called by them");
            return Ok(());
        }
        self.system.replace(&mark, b"", 0o600).map_err(words)?;
        match log_off(self.system(), &self.places, right.uid) {
            Ok(left) => {
                info!(user = right.user, left, "the user is logged off");
                Ok(())
            }
            Err(problem) => {
                // Nobody was, so it is tried again.
                let _ = self.system.remove(&mark);
                Err(problem)
            }
        }
    }

    /// Ends what follows from the name of an order alone.
    pub(super) fn clear(&self, id: &Id) -> Result<(), String> {
        let path = self.places.rule(id);
        (self.system.remove(&path)).map_err(|error| format!("{}: {error}", path.display()))?;
        kill_slice(self.system(), &self.places, id)?;
        timers::disarm(self.system(), &self.places, id).map_err(|error| error.to_string())
    }

    /// Ends what can be ended of an order that cannot be read; says what there is to do.
    pub(super) fn end_unreadable(&self, id: &Id, error: &JournalError) -> String {
        let cleared = self.clear(id).err().map(|why| format!(" ({why})")).unwrap_or_default();
        let message = format!(
            "{error}. The rule of sudo and the processes of this order are gone{cleared}; a group membership or an account that \
             it granted may remain. Look at /etc/group and /etc/passwd, then remove the file"
        );
        error!(%id, "{message}");
        message
    }
}
