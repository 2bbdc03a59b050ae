//! Gives rights and takes them back, one at a time, so that a crash between any two steps leaves what the next start, or
//! what the platform starts at an end, can finish.
//!
//! At the start: what was there is written down, then the platform is told of the end, then the right is given. At the end:
//! the right goes first, then what runs under it; the record says that, and only then is the platform told that nothing is
//! left to end: what it started may be the very program that does all this.

use chrono::TimeDelta;

use crate::clock::{Clock, MaxSeen, Reading};
use crate::files::Files;
use crate::host::{Bench, Host};
use crate::ledger::{Ledger, LedgerError, Records};
use crate::order::{Order, OrderId};
use crate::record::{Record, Stage};

/// How much longer than its last end a right may seem to last when the platform ends it: that is waited for, and not
/// arranged anew.
const EARLY: TimeDelta = TimeDelta::seconds(2);

/// What carries out orders on a host.
#[derive(Clone, Copy)]
pub struct Steps<'a> {
    /// The host.
    pub host: &'a dyn Host,
    /// What is remembered.
    pub ledger: &'a Ledger,
    /// What changes files.
    pub files: &'a dyn Files,
    /// What shows the time.
    pub clock: &'a dyn Clock,
}

/// What came of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of the order is there.
    Gone,
    /// It is not over: it lasts for this long.
    Lasts(TimeDelta),
    /// Something is still there, for this reason.
    Left(String),
}

impl Steps<'_> {
    /// Carries out an order that came. One that is known is not carried out again. What cannot be given is taken back at once;
    /// the record says why.
    ///
    /// # Errors
    /// If it cannot be remembered, or what it asks for is not here: then nothing of it is there.
    pub fn give(&self, order: &Order) -> Result<Record, String> {
        let words = |error: LedgerError| error.to_string();
        let _lock = self.ledger.lock().map_err(words)?;
        if let Some(known) = self.ledger.read(&order.id).map_err(words)? {
            return Ok(known);
        }
        let now = self.clock.read().map_err(|error| error.to_string())?;
        self.check_capability(order)?;
        let right = self.host.resolve(order)?;
        let mut record = Record::received(order.id.clone(), order.grant.clone(), right, &now);
        self.write(&record).map_err(words)?;
        self.give_known(&mut record);
        Ok(record)
    }

    /// Refuses what this host cannot do.
    fn check_capability(&self, order: &Order) -> Result<(), String> {
        let (found, needed) = (self.host.probe(), order.elevation.needs());
        if found.can.contains(&needed) {
            return Ok(());
        }
        let why = found.lacks.join("; ");
        Err(format!("this host ({}) does not have the capability {needed}: {why}", found.system))
    }

    fn give_known(&self, record: &mut Record) {
        if let Err(why) = self.try_give(record) {
            record.failed = true;
            self.take_back(record, Some(&why));
        }
    }

    fn try_give(&self, record: &mut Record) -> Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let now = self.clock.read().map_err(|error| words(&error))?;
        let seen = self.ledger.see(self.files, &now).map_err(|error| words(&error))?;
        let rest = record.rest(&now, &seen).ok_or("it expired")?;
        self.host.check(&record.right)?;
        let others = self.others(&record.id);
        let bench = Bench { now: Some(&now), others: &others };
        let right = record.right.clone();
        let driver = self.host.driver(&record.id, &right);
        // After a crash, what is there now may be what was given.
        let known = record.undo.clone();
        let undo = match known.clone() {
            Some(undo) => undo,
            None => driver.prepare(&bench)?,
        };
        record.undo = Some(undo.clone());
        record.stage = Stage::Giving;
        record.armed = true;
        let armed = self
            .write(record)
            .map_err(|error| words(&error))
            .and_then(|()| self.host.arm(&record.id, &record.grant, right.expires_at, rest));
        if armed.is_err() {
            // Nothing was given since then, so nobody is logged off for it.
            record.undo = known;
        }
        armed?;
        driver.apply(&bench, &undo)?;
        record.stage = Stage::Active;
        self.write(record).map_err(|error| words(&error))
    }

    /// Ends an order that is over: called by what the platform starts at an end, and idempotent. An order that lasts is
    /// given its ends anew, as they were set by a clock that has been set since. An order that nobody knows has nothing
    /// here but, perhaps, its ends.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub fn expire(&self, id: &OrderId) -> Result<Outcome, String> {
        let words = |error: LedgerError| error.to_string();
        let _lock = self.ledger.lock().map_err(words)?;
        let Some(mut record) = self.ledger.read(id).map_err(words)? else {
            self.host.disarm(id)?;
            return Ok(Outcome::Gone);
        };
        let rest = self.noted_time().and_then(|(now, seen)| record.rest(&now, &seen));
        match (record.stage, rest) {
            (Stage::Received | Stage::Giving | Stage::Active, Some(rest)) => {
                if rest > EARLY {
                    let (grant, end) = (record.grant.clone(), record.right.expires_at);
                    self.host.arm(id, &grant, end, rest)?;
                }
                Ok(Outcome::Lasts(rest))
            }
            (Stage::Over, _) => {
                self.disarm(&mut record);
                Ok(Outcome::Gone)
            }
            _ => Ok(self.take_back(&mut record, None)),
        }
    }

    /// Ends an order for this reason, whatever the time is.
    ///
    /// # Errors
    /// As [`Steps::expire`].
    pub fn end(&self, id: &OrderId, why: &str) -> Result<Outcome, String> {
        let words = |error: LedgerError| error.to_string();
        let _lock = self.ledger.lock().map_err(words)?;
        match self.ledger.read(id).map_err(words)? {
            Some(mut record) if record.stage != Stage::Over => {
                Ok(self.take_back(&mut record, Some(why)))
            }
            _ => Ok(Outcome::Gone),
        }
    }

    /// At a start: goes on with what a crash has left, ends what is over or was taken away by somebody else, and sees to it
    /// that what is in force has its ends. What keeps something from its end, in words.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn settle(&self) -> Result<Vec<String>, String> {
        let words = |error: LedgerError| error.to_string();
        let _lock = self.ledger.lock().map_err(words)?;
        let Records { read, broken } = self.ledger.all().map_err(words)?;
        let mut problems: Vec<String> = broken.values().map(ToString::to_string).collect();
        let time = self.noted_time();
        let rest_of =
            |record: &Record| time.as_ref().and_then(|(now, seen)| record.rest(now, seen));
        let mut records: Vec<Record> = read.into_values().collect();
        // Ends come before everything else.
        records.sort_by_key(|record| record.stage != Stage::Ending && rest_of(record).is_some());
        for mut record in records {
            let rest = rest_of(&record);
            match (record.stage, rest) {
                (Stage::Over, _) => self.disarm(&mut record),
                (Stage::Received | Stage::Giving, Some(_)) => self.give_known(&mut record),
                (Stage::Active, Some(rest)) => problems.extend(self.keep(&mut record, rest)),
                _ => _ = self.take_back(&mut record, None),
            }
            problems.extend(record.left);
        }
        Ok(problems)
    }

    /// Forgets an order whose end is told, if it could not be carried out were it to come again; whether it did. What is over
    /// before its time is remembered until then.
    ///
    /// # Errors
    /// If that cannot be read or written.
    pub fn forget(&self, id: &OrderId) -> Result<bool, String> {
        let words = |error: LedgerError| error.to_string();
        let _lock = self.ledger.lock().map_err(words)?;
        let Some(record) = self.ledger.read(id).map_err(words)? else { return Ok(true) };
        let is_too_late = self.time().is_some_and(|(now, seen)| {
            record.rest(&now, &seen).is_none() && !seen.is_set_back(&now)
        });
        if record.stage != Stage::Over || record.armed || !is_too_late {
            return Ok(false);
        }
        self.ledger.forget(self.files, id).map_err(words)?;
        Ok(true)
    }

    /// Looks after an order that is in force; what is wrong with its ends.
    fn keep(&self, record: &mut Record, rest: TimeDelta) -> Option<String> {
        let others = self.others(&record.id);
        let now = self.clock.read().ok();
        let bench = Bench { now: now.as_ref(), others: &others };
        let undo = record.undo.clone().unwrap_or_default();
        let right = record.right.clone();
        let is_there = self.host.driver(&record.id, &right).observe(&bench, &undo);
        let why = match (is_there, self.host.check(&right)) {
            (Ok(false), _) => "it was removed or changed on the host".to_owned(),
            (_, Err(why)) => why,
            _ => return self.host.arm(&record.id, &record.grant, right.expires_at, rest).err(),
        };
        self.take_back(record, Some(&why));
        None
    }

    /// Takes back what there is of a right: each part, whatever becomes of the others. It goes whether that can be written
    /// down or not.
    fn take_back(&self, record: &mut Record, why: Option<&str>) -> Outcome {
        record.stage = Stage::Ending;
        if let Some(why) = why {
            record.why = Some(why.to_owned());
        }
        let _ = self.write(record);
        let others = self.others(&record.id);
        let now = self.clock.read().ok();
        let bench = Bench { now: now.as_ref(), others: &others };
        let right = record.right.clone();
        let mut problems = Vec::new();
        if let Some(undo) = record.undo.clone() {
            let driver = self.host.driver(&record.id, &right);
            problems.extend(driver.revert(&bench, Some(&undo)).err());
            problems.extend(driver.stop(&bench, Some(&undo)).err());
            // Nobody is logged off for what they never had.
            if right.log_off && !record.failed && !record.logged_off {
                match self.host.log_off(&right) {
                    Ok(()) => record.logged_off = true,
                    Err(problem) => problems.push(problem),
                }
            }
        }
        let mut left = (!problems.is_empty()).then(|| problems.join("; "));
        if left.is_none() {
            record.stage = Stage::Over;
        }
        record.left.clone_from(&left);
        // What is not written down is not told, and is done once more.
        if let Err(error) = self.write(record) {
            left = Some(left.unwrap_or_else(|| error.to_string()));
            record.left.clone_from(&left);
        }
        if let Some(left) = left {
            return Outcome::Left(left);
        }
        self.disarm(record);
        Outcome::Gone
    }

    /// Has the platform end no more what is over. What stays of that does nothing but to be called again.
    fn disarm(&self, record: &mut Record) {
        if record.armed && self.host.disarm(&record.id).is_ok() {
            record.armed = false;
            let _ = self.write(record);
        }
    }

    /// Whether an order is in force now.
    #[must_use]
    pub fn is_in_force(&self, id: &OrderId) -> bool {
        let known = self.ledger.read(id).ok().flatten();
        known.is_some_and(|record| {
            let rest = self.time().and_then(|(now, seen)| record.rest(&now, &seen));
            record.stage == Stage::Active && rest.is_some()
        })
    }

    fn write(&self, record: &Record) -> Result<(), LedgerError> {
        self.ledger.write(self.files, record)
    }

    /// The clock, and the latest that it was seen to show. Without them everything is over.
    fn time(&self) -> Option<(Reading, MaxSeen)> {
        Some((self.clock.read().ok()?, self.ledger.seen().ok()?))
    }

    /// The same, and notes it: a host that comes back with an older clock must not have the time once more.
    fn noted_time(&self) -> Option<(Reading, MaxSeen)> {
        let time = self.time()?;
        // What cannot be written keeps nothing from its end.
        let _ = self.ledger.see(self.files, &time.0);
        Some(time)
    }

    /// All other orders that can be read.
    fn others(&self, id: &OrderId) -> Vec<Record> {
        let records = self.ledger.all().unwrap_or_default();
        records
            .read
            .into_iter()
            .filter(|(other, _)| other != id)
            .map(|(_, record)| record)
            .collect()
    }
}
