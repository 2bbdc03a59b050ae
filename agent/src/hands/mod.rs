//! Gives rights and takes them back, one at a time, so that a crash between any two steps leaves what the next start, a
//! timer or the agent can finish.
//!
//! At the start: what was there is written down, then the ends, then the right. At the end: the right goes first, then
//! what runs under it, then the ends; the record says last that it is over. Nothing of an end waits for a disk that is full.

mod steps;

use std::cell::OnceCell;
use std::fs::{self, File};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{error, warn};

use crate::clock::{Clock, ClockError, MaxSeen, Reading};
use crate::elevation::{Bench, driver};
use crate::journal::{Journal, JournalError, Records};
use crate::places::{Id, Places};
use crate::probe::{Probe, probe};
use crate::processes::thaw;
use crate::record::{Next, Record, Stage};
use crate::right::{Elevation, check};
use crate::sudo::Dialect;
use crate::system::System;
use crate::timers;

/// How much older than now the time may be that is noted while a right is in force.
const NOTED: TimeDelta = TimeDelta::minutes(1);

/// What gives rights on a host and takes them back.
pub struct Hands {
    system: Box<dyn System + Send>,
    clock: Box<dyn Clock + Send>,
    places: Places,
    journal: Journal,
    dialect: OnceCell<Dialect>,
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is known cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What came of a look at all orders.
#[derive(Debug, Default)]
pub struct Round {
    /// All that is known, as it is now.
    pub records: Vec<Record>,
    /// What keeps the agent from its work, in words.
    pub problem: Option<String>,
    /// When something is to be done next, by the wall clock.
    pub due: Option<DateTime<Utc>>,
    /// What the clock showed.
    pub now: Option<Reading>,
}

impl Hands {
    /// Those of a host. What its sudo understands is found out when it is asked for first: no end waits for that.
    ///
    /// # Errors
    /// If there is no place for what is known.
    pub fn new(
        system: Box<dyn System + Send>,
        clock: Box<dyn Clock + Send>,
        places: Places,
    ) -> Result<Self, JournalError> {
        let journal = Journal::open(&places)?;
        Ok(Self { system, clock, places, journal, dialect: OnceCell::new() })
    }

    /// The same, where it is known what its sudo understands.
    #[cfg(test)]
    pub(crate) fn knowing(self, dialect: Dialect) -> Self {
        Self { dialect: OnceCell::from(dialect), ..self }
    }

    /// What the sudo of the host understands. A try that failed is tried again.
    fn dialect(&self) -> Result<Dialect, String> {
        if let Some(known) = self.dialect.get() {
            return Ok(*known);
        }
        self.probe().sudo()
    }

    /// Finds out what the host can do, and remembers what its sudo understands.
    pub fn probe(&self) -> Probe {
        let found = probe(self.system(), &self.places);
        if let Ok(dialect) = found.sudo() {
            // If it was known before, that was the same.
            let _ = self.dialect.set(dialect);
        }
        found
    }

    fn with_bench<T>(&self, others: &[Record], work: impl FnOnce(&Bench<'_>) -> T) -> T {
        let dialect = || self.dialect();
        work(&Bench {
            system: self.system(),
            clock: &*self.clock,
            places: &self.places,
            dialect: &dialect,
            others,
        })
    }

    /// What is known of orders.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Where things lie.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What changes the host.
    #[must_use]
    pub fn system(&self) -> &dyn System {
        &*self.system
    }

    /// What the clock shows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn now(&self) -> Result<Reading, ClockError> {
        self.clock.read()
    }

    /// Keeps others from changing anything, until the file is dropped.
    ///
    /// # Errors
    /// If the lock cannot be had.
    pub fn lock(&self) -> Result<File, JournalError> {
        self.journal.lock()
    }

    /// Remembers an order that came, or what is said instead of it.
    ///
    /// # Errors
    /// If it cannot be written: then nothing of it counts.
    pub fn remember(&self, record: &Record) -> Result<(), JournalError> {
        self.journal.write(self.system(), record)
    }

    /// Does what is to be done now. One order that cannot be dealt with stops no other. Rights are given one by one, and what
    /// falls due meanwhile ends in between.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn round(&self) -> Result<Round, HandsError> {
        loop {
            let _lock = self.lock()?;
            let (round, is_done) = self.locked_round()?;
            if is_done {
                return Ok(round);
            }
        }
    }

    /// The same, and ends what somebody else has taken away.
    ///
    /// # Errors
    /// As there.
    pub fn thorough_round(&self) -> Result<Round, HandsError> {
        let mut round = self.round()?;
        let _lock = self.lock()?;
        round.records = self.journal.all()?.read.into_values().collect();
        self.end_changed(&mut round);
        Ok(round)
    }

    /// Ends what is to end, then gives one right; whether that was all.
    fn locked_round(&self) -> Result<(Round, bool), HandsError> {
        let Records { read, broken } = self.journal.all()?;
        let (now, seen) = self.time();
        let mut round = Round { now: now.clone(), ..Round::default() };
        for (id, error) in broken {
            round.problem = Some(self.end_unreadable(&id, &error));
        }
        let mut records: Vec<Record> = read.into_values().collect();
        // Ends come before everything else.
        records.sort_by_key(|record| (record.next(now.as_ref(), &seen) != Next::End, record.due()));
        let mut is_done = true;
        for index in 0..records.len() {
            let mut record = records[index].clone();
            let next = records[index].next(now.as_ref(), &seen);
            let others = others(&records, index);
            let done = match next {
                Next::Nothing => continue,
                Next::End => self.end(&mut record, &others, None),
                Next::Give(right) => self.give(&mut record, right, &others),
                Next::Forget => self.journal.forget(self.system(), &Id::of(&record.grant)),
            };
            // What could not be written down is as it was, and is tried in the next round, not in this one again.
            let is_given = done.is_ok() && matches!(next, Next::Give(_));
            if let Err(error) = done {
                round.problem = Some(error.to_string());
            }
            records[index] = record;
            if is_given && index + 1 < records.len() {
                is_done = false;
                break;
            }
        }
        round.due = records.iter().filter_map(Record::due).min();
        if let Some(now) = &now {
            if seen.is_set_back(now) {
                round.problem = Some(set_back(&seen, now));
            } else if records.iter().any(Record::is_in_force) && now.wall - seen.wall > NOTED {
                // A host that comes back with an older clock must not have the time once more.
                self.journal.see(self.system(), now)?;
            }
        }
        round.records = records;
        Ok((round, is_done))
    }

    /// The clock, and the latest that it was seen to show. Without them everything is over.
    fn time(&self) -> (Option<Reading>, MaxSeen) {
        let never = MaxSeen { wall: DateTime::<Utc>::MAX_UTC };
        let now = match self.clock.read() {
            Ok(now) => now,
            Err(error) => {
                error!(%error, "the time cannot be told: what is in force ends");
                return (None, never);
            }
        };
        let seen = self.journal.max_seen().unwrap_or_else(|error| {
            error!(%error, "whether the clock was set back cannot be told: what is in force ends");
            never
        });
        (Some(now), seen)
    }

    /// Ends one order, for this reason or because its time is up. Whether nothing of it is left.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn end_now(&self, id: &Id, why: Option<&str>) -> Result<bool, HandsError> {
        let _lock = self.lock()?;
        let Records { mut read, broken } = self.journal.all()?;
        if let Some(error) = broken.get(id) {
            self.end_unreadable(id, error);
            return Ok(false);
        }
        let Some(mut record) = read.remove(id) else {
            // Nobody knows of it, so whatever bears its name is left over.
            self.clear(id).map_err(|why| left(&self.places, id, why))?;
            return Ok(true);
        };
        if record.is_open() {
            let others: Vec<Record> = read.into_values().collect();
            self.end(&mut record, &others, why)?;
        }
        Ok(!record.is_open())
    }

    /// Ends one order because its holder, by this number, says so on the host. What ends already goes on as it does. Whether
    /// nothing of it is left.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn end_by_holder(&self, id: &Id, uid: u32) -> Result<bool, HandsError> {
        let _lock = self.lock()?;
        let mut read = self.journal.all()?.read;
        let Some(mut record) = read.remove(id) else { return Ok(true) };
        let user = record.right.as_ref().filter(|right| right.uid == uid);
        let Some(why) = user.map(|right| format!("ended on the host by {}", right.user)) else {
            return Ok(false);
        };
        if record.is_open() && record.stage != Stage::Ending {
            record.ended_by_holder = true;
            let others: Vec<Record> = read.into_values().collect();
            self.end(&mut record, &others, Some(&why))?;
        }
        Ok(!record.is_open())
    }

    /// Ends all orders for this reason; how many are not gone, those that cannot be read among them.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn end_all(&self, why: &str) -> Result<usize, HandsError> {
        let Records { read, broken } = self.journal.all()?;
        let mut left = broken.len();
        for (id, _) in read.iter().filter(|(_, record)| record.is_open()) {
            left += usize::from(!self.end_now(id, Some(why))?);
        }
        Ok(left)
    }

    /// At a start: takes away what nobody knows of, ends what somebody else took away, and sees to it that what is in force
    /// has its ends.
    ///
    /// # Errors
    /// If nothing can be read.
    pub fn settle(&self) -> Result<Round, HandsError> {
        let lock = self.lock()?;
        let Records { read, broken } = self.journal.all()?;
        for id in rules(&self.places) {
            if !read.contains_key(&id) && !broken.contains_key(&id) {
                warn!(%id, "a rule of sudo that no order is known of is removed");
                if let Err(why) = self.clear(&id) {
                    error!(%id, why, "it is still there");
                }
            }
        }
        for id in timers::armed(self.system()) {
            let is_needed = broken.contains_key(&id) || read.get(&id).is_some_and(Record::is_open);
            if !is_needed && let Err(error) = timers::disarm(self.system(), &self.places, &id) {
                warn!(%id, %error, "timers of an order that has ended stay");
            }
        }
        let (now, seen) = self.time();
        for (id, record) in &read {
            let Some(right) = &record.right else { continue };
            if matches!(right.elevation, Elevation::Group { .. } | Elevation::Account { .. }) {
                thaw(self.system(), &self.places, right.uid);
            }
            let rest = now.as_ref().and_then(|now| record.rest(now, &seen));
            let (Stage::Active, Some(rest)) = (record.stage, rest) else { continue };
            let armed = timers::arm(
                self.system(),
                &self.places,
                (id, &record.grant),
                right.expires_at,
                rest,
            );
            if let Err(error) = armed {
                warn!(grant = record.grant, %error, "access is held without its timers");
            }
        }
        drop(lock);
        self.thorough_round()
    }

    /// Ends what somebody else has taken away, as whoever did it wants it gone; and what is no longer what was approved: the
    /// user's number is somebody else's, or others may change the program.
    fn end_changed(&self, Round { records, problem, .. }: &mut Round) {
        for index in 0..records.len() {
            let mut record = records[index].clone();
            let (Stage::Active, Some(right)) = (record.stage, record.right.clone()) else {
                continue;
            };
            let (id, grant) = (Id::of(&record.grant), record.grant.clone());
            let others = others(records, index);
            let observed = self.with_bench(&others, |bench| {
                let undo = record.undo.clone().unwrap_or_default();
                driver(&id, &grant, &right).observe(bench, &undo)
            });
            let why = match (observed, check(&self.places, &right)) {
                (Ok(false), _) => "it was removed or changed on the host".to_owned(),
                (_, Err(error)) => error.to_string(),
                _ => continue,
            };
            if let Err(error) = self.end(&mut record, &others, Some(&why)) {
                *problem = Some(error.to_string());
            }
            records[index] = record;
        }
    }
}

/// All but one.
fn others(records: &[Record], index: usize) -> Vec<Record> {
    let others = records.iter().enumerate().filter(|(other, _)| *other != index);
    others.map(|(_, record)| record.clone()).collect()
}

fn left(places: &Places, id: &Id, why: String) -> JournalError {
    JournalError::Malformed { path: places.rule(id), why }
}

fn set_back(seen: &MaxSeen, now: &Reading) -> String {
    let back = (seen.wall - now.wall).max(TimeDelta::zero()).num_seconds();
    format!(
        "the clock of this host shows {back} s less than it did ({}): nothing is granted. If it is correct now, run \
         `lapse-agent clock accept` on the host",
        seen.wall.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    )
}

/// The rules in the folder of sudo that bear our name.
fn rules(places: &Places) -> Vec<Id> {
    let Ok(entries) = fs::read_dir(places.at("/etc/sudoers.d")) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Id::read(name.strip_prefix("lapse-")?)).collect()
}

#[cfg(test)]
mod tests;
