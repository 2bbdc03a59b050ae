//! The thread that looks after a host while somebody may act as root, and compares it with what it was before when they may
//! no more.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lapse_engine::order::DriftReport;
use tokio::sync::watch::Sender;
use tracing::error;

use super::DriftError;
use super::guardian::{Guardian, Over};
use super::look::folders;
use super::notice::Notice;
use super::period::{make_folder, read_walk};
use super::walk::walk;
use super::walker::{Outcome, Walker};
use crate::clock::{Clock, HostClock};
use crate::journal::{Journal, JournalError};
use crate::places::Places;
use crate::system::{HostSystem, System};

/// How often is looked while somebody may act as root, whatever is noticed.
const WATCHFUL: Duration = Duration::from_secs(1);
/// And while nobody may.
const CALM: Duration = Duration::from_hours(1);
/// How often is looked whether file systems are looked through.
const WALKING: Duration = Duration::from_millis(100);
/// How old what is known of setuid programs may be while nobody may act as root. What was changed since is told by its time.
const OLDEST: TimeDelta = TimeDelta::days(1);
/// How often what is undone at an end may come back until it is left.
const TRIES: usize = 5;
/// How often the cluster is told of something else, and how often of how often something came back.
const TOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Why file systems are looked through.
enum Purpose {
    /// To know what there is while nobody may act as root.
    Refresh,
    /// To compare them after the end of these Grants.
    Compare(BTreeSet<String>),
}

/// The thread's own.
pub struct Watch {
    guardian: Guardian,
    notice: Notice,
    walking: Option<(Walker, Purpose)>,
    /// When the walk that is under way, or the last one, was begun, and when the next may be: walks are to take half of the
    /// time at the most.
    walked: (Instant, Instant),
    /// How often the files of the host were compared in vain, and when they were last.
    settled: (usize, Option<Instant>),
    told: Sender<DriftReport>,
    told_at: Option<Instant>,
}

impl Watch {
    /// One of this host, that tells what is found.
    ///
    /// # Errors
    /// If there is no place for what is known.
    pub fn new(places: Places, told: Sender<DriftReport>) -> Result<Self, JournalError> {
        let mut guardian = guardian(places, Box::new(HostSystem), Box::new(HostClock))?;
        told.send_replace(guardian.report());
        let now = Instant::now();
        Ok(Self {
            guardian,
            notice: Notice::new(),
            walking: None,
            walked: (now, now),
            settled: (0, None),
            told,
            told_at: None,
        })
    }

    /// Watches, for ever.
    pub fn run(mut self) {
        loop {
            let began = Instant::now();
            let pause = self.turn().unwrap_or_else(|error| {
                error!(%error, "what outlasts access cannot be looked for yet");
                WATCHFUL
            });
            let untold = self.tell();
            self.notice.watch(self.folders());
            // Whoever changes something again and again does not take all of the agent's time.
            sleep(began.elapsed().min(WATCHFUL));
            self.notice.wait(untold.map_or(pause, |untold| untold.min(pause)));
        }
    }

    /// What is to be watched.
    fn folders(&self) -> HashSet<PathBuf> {
        let places = self.guardian.places();
        let own = [places.drift(), places.records()];
        let before = self.guardian.before();
        let guarded = before.map(|before| folders(&before.entries)).unwrap_or_default();
        guarded.iter().map(|folder| places.under_root(folder)).chain(own).collect()
    }

    /// Does what is to be done now; how long nothing is to be done.
    fn turn(&mut self) -> Result<Duration, DriftError> {
        let Over { to_settle, to_compare } = self.guardian.check()?;
        if !to_settle.is_empty() {
            self.settle(&to_settle)?;
        }
        self.walk(to_compare)?;
        Ok(match (&self.walking, self.guardian.is_open()) {
            (Some(_), _) => WALKING,
            (None, true) => WATCHFUL,
            (None, false) => CALM,
        })
    }

    /// Compares the files of the host after the end of these Grants, and once more as long as something comes back.
    fn settle(&mut self, over: &BTreeSet<String>) -> Result<(), DriftError> {
        let (tries, last) = self.settled;
        if last.is_some_and(|last| last.elapsed() < WATCHFUL) {
            return Ok(());
        }
        let is_done = self.guardian.settle(over, tries + 1 >= TRIES)?;
        self.settled = if is_done { (0, None) } else { (tries + 1, Some(Instant::now())) };
        Ok(())
    }

    /// Looks through the file systems after the end of these Grants, and now and then while nobody may act as root.
    fn walk(&mut self, over: BTreeSet<String>) -> Result<(), DriftError> {
        let Some((walker, purpose)) = self.walking.take() else { return self.begin_walk(over) };
        if matches!(purpose, Purpose::Refresh) && self.guardian.is_open() {
            // What is found from now on may be what somebody has made under a right.
            return Ok(());
        }
        match (walker.outcome(), purpose) {
            (Outcome::Waiting, purpose) => {
                self.walking = Some((walker, purpose));
                return Ok(());
            }
            (Outcome::Nothing, _) => {}
            (Outcome::Found(walk), Purpose::Refresh) => self.guardian.keep(&walk)?,
            (Outcome::Found(walk), Purpose::Compare(over)) => {
                self.guardian.conclude(&over, &walk)?;
            }
        }
        self.walked.1 = Instant::now() + self.walked.0.elapsed();
        Ok(())
    }

    fn begin_walk(&mut self, over: BTreeSet<String>) -> Result<(), DriftError> {
        let now = self.guardian.now()?;
        let purpose = if !over.is_empty() {
            Purpose::Compare(over)
        } else if !self.guardian.is_open() && self.is_old(now.wall) {
            Purpose::Refresh
        } else {
            return Ok(());
        };
        if Instant::now() >= self.walked.1 {
            self.walked.0 = Instant::now();
            let walker = Walker::begin(self.guardian.places().clone(), now);
            self.walking = walker.map(|walker| (walker, purpose));
        }
        Ok(())
    }

    /// Whether what is known of the programs of this host is old.
    fn is_old(&self, now: DateTime<Utc>) -> bool {
        let known = read_walk(self.guardian.places());
        known.is_none_or(|known| known.began > now || now - known.began >= OLDEST)
    }

    /// Tells the cluster what is found; in how long, if it is not the time for that yet.
    fn tell(&mut self) -> Option<Duration> {
        let report = self.guardian.report();
        let said = |report: &DriftReport| {
            let findings = report.findings.iter();
            let findings: Vec<_> = findings
                .map(|finding| (finding.path.clone(), finding.change.clone(), finding.reverted))
                .collect();
            (findings, report.compared.clone(), report.left_out > 0)
        };
        let is_other = said(&report) != said(&self.told.borrow());
        let pause = if is_other { TOLD.0 } else { TOLD.1 };
        let early = self.told_at.and_then(|at| pause.checked_sub(at.elapsed()));
        if let Some(rest) = early.filter(|rest| !rest.is_zero()) {
            return (report != *self.told.borrow()).then_some(rest);
        }
        let is_told = self.told.send_if_modified(|told| {
            let is_other = *told != report;
            *told = report;
            is_other
        });
        if is_told {
            self.told_at = Some(Instant::now());
        }
        None
    }
}

fn guardian(
    places: Places,
    system: Box<dyn System + Send>,
    clock: Box<dyn Clock + Send>,
) -> Result<Guardian, JournalError> {
    make_folder(&places)?;
    let journal = Journal::open(&places)?;
    Ok(Guardian::new(places, system, clock, journal))
}

/// Compares this host with what it was before the rights that are over, where no agent lives that would.
///
/// # Errors
/// If something cannot be read or written: then it is done when the agent is back.
pub fn conclude(places: &Places) -> Result<(), DriftError> {
    let mut guardian = guardian(places.clone(), Box::new(HostSystem), Box::new(HostClock))?;
    let over = guardian.check()?.to_settle;
    for tries in 1..=TRIES {
        if over.is_empty() || guardian.settle(&over, tries == TRIES)? {
            break;
        }
        sleep(WATCHFUL);
    }
    let over = guardian.check()?.to_compare;
    if !over.is_empty()
        && let Some(found) = walk(places, &guardian.now()?, &|| false)
    {
        guardian.conclude(&over, &found)?;
    }
    Ok(())
}
