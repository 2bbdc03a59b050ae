//! Compares a host with what it was before somebody was given a right, undoes what is to be undone, and takes all of it down.
//!
//! Each look is taken while nobody else changes anything of Lapse's, so that nothing that Lapse does is half done then.

mod follow;
mod outcome;

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::time::{Duration, Instant};

use lapse_crds::{ComparedGrant, Guard};
use lapse_engine::order::DriftReport;
use tracing::info;

use self::outcome::{Outcome, Terms, log};
use super::DriftError;
use super::compare::{Comparison, Holder};
use super::critical::{PROGRAM, TRUST};
use super::deviation::{Deviation, Repair};
use super::entry::Snapshot;
use super::findings::{Ledger, Noted};
use super::look::{Cache, Scope, look};
use super::own::Own;
use super::pace::{Key, Paces};
use super::period::{Period, Watched, made_accounts, read_before, read_walk, write_walk};
use super::privileged::Programs;
use super::restore::Restorer;
use super::walk::Walk;
use crate::clock::{Clock, Reading};
use crate::journal::{Journal, Records};
use crate::places::{Id, Places};
use crate::record::Record;
use crate::system::System;

/// How often it is written down how often something came back.
const COUNTED: Duration = Duration::from_secs(5);

/// What is watched.
struct Open {
    period: Period,
    before: Snapshot,
}

/// What compares a host with what it was, and undoes what is to be undone.
pub(super) struct Guardian {
    places: Places,
    system: Box<dyn System + Send>,
    clock: Box<dyn Clock + Send>,
    journal: Journal,
    open: Option<Open>,
    cache: Cache,
    paces: Paces,
    /// What is not as it was, was told and is left as it is.
    standing: HashSet<Key>,
    findings: Ledger,
    /// When how often something came back was written down last.
    counted: Option<Instant>,
}

/// The Grants that are over.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// After whose end the files of the host are still to be compared.
    pub(super) to_settle: BTreeSet<String>,
    /// After whose end its programs are still to be compared.
    pub(super) to_compare: BTreeSet<String>,
}

impl Guardian {
    /// One of a host.
    pub(super) fn new(
        places: Places,
        system: Box<dyn System + Send>,
        clock: Box<dyn Clock + Send>,
        journal: Journal,
    ) -> Self {
        let findings = Ledger::open(&places);
        Self {
            places,
            system,
            clock,
            journal,
            open: None,
            cache: Cache::default(),
            paces: Paces::default(),
            standing: HashSet::new(),
            findings,
            counted: None,
        }
    }

    /// Where things lie.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Whether anything is watched.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What there was, if anything is watched.
    pub(super) fn before(&self) -> Option<&Snapshot> {
        self.open.as_ref().map(|open| &open.before)
    }

    /// What the cluster is told.
    pub(super) fn report(&mut self) -> DriftReport {
        self.findings.read(&self.places).report()
    }

    /// Keeps what was found of setuid programs while nobody may act as root.
    pub(super) fn keep(&mut self, walk: &Walk) -> Result<(), DriftError> {
        let _lock = self.journal.lock()?;
        // Somebody may since.
        if matches!(Period::read(&self.places), Ok(None)) {
            write_walk(&*self.system, &self.places, walk)?;
        }
        Ok(())
    }

    /// What the clocks show.
    pub(super) fn now(&self) -> Result<Reading, DriftError> {
        Ok(self.clock.read()?)
    }

    /// Looks what the guard looks after, for as long as a right is in force and its files are not compared; says which
    /// Grants are over.
    pub(super) fn check(&mut self) -> Result<Over, DriftError> {
        let lock = self.journal.lock()?;
        let records = self.journal.all()?;
        self.follow(&records)?;
        let Some(open) = &self.open else { return Ok(Over::default()) };
        let (mut over, mut held) = (Over::default(), Vec::new());
        for Watched { grant, is_settled, .. } in &open.period.watched {
            if *is_settled {
                over.to_compare.insert(grant.clone());
            } else if is_in_force(&records, grant) {
                held.push(grant.clone());
            } else {
                over.to_settle.insert(grant.clone());
            }
        }
        let terms = Terms { guard: open.period.guard(), reverts: false };
        if terms.guard == Guard::Off {
            return Ok(over);
        }
        let grants = if held.is_empty() { over.to_settle.iter().cloned().collect() } else { held };
        let (deviations, _) = self.deviations(&records, Scope::Guarded);
        let outcome = self.deal_with(&lock, deviations, terms, &grants);
        drop(lock);
        self.reload_after(&outcome?);
        Ok(over)
    }

    /// Compares the files of the host after these Grants; whether that is done. If not, something that was undone may come
    /// back, and it is to be looked at once more, unless this is the last time.
    pub(super) fn settle(
        &mut self,
        over: &BTreeSet<String>,
        is_last: bool,
    ) -> Result<bool, DriftError> {
        let lock = self.journal.lock()?;
        let records = self.journal.all()?;
        self.follow(&records)?;
        let Some(open) = &self.open else { return Ok(true) };
        let terms = Terms { guard: open.period.guard(), reverts: open.period.reverts() };
        let (deviations, now) = self.deviations(&records, Scope::All);
        let grants = self.grants();
        let outcome = self.deal_with(&lock, deviations, terms, &grants)?;
        let is_done = is_last || !outcome.is_restless();
        if is_done {
            self.give_up(&outcome.back, &grants)?;
            self.adopt_left(&outcome, &now, &records)?;
            if let Some(open) = &mut self.open {
                for of in open.period.watched.iter_mut().filter(|of| over.contains(&of.grant)) {
                    of.is_settled = true;
                }
                open.period.write(&*self.system, &self.places)?;
            }
        }
        drop(lock);
        self.reload_after(&outcome);
        Ok(is_done)
    }

    /// Has systemd read its units again, if one was put back or removed. Nobody waits for that.
    fn reload_after(&self, outcome: &Outcome) {
        if outcome.has_units() {
            self.restorer().reload();
        }
    }

    /// Takes down of what comes back for ever that it stays.
    fn give_up(&mut self, back: &[Deviation], grants: &[String]) -> Result<(), DriftError> {
        let now = self.clock.read()?.wall;
        let stays = Err("it comes back each time".to_owned());
        for deviation in back {
            let findings = self.findings.read(&self.places);
            let noted = findings.note(deviation, grants, Some(&stays), now);
            self.count(noted, false, grants);
        }
        if back.is_empty() {
            Ok(())
        } else {
            Ok(self.findings.write(&*self.system, &self.places)?)
        }
    }

    /// Compares the programs of the host after these Grants, whose files are compared, takes down what came of all of that,
    /// and forgets them.
    pub(super) fn conclude(
        &mut self,
        over: &BTreeSet<String>,
        walk: &Walk,
    ) -> Result<(), DriftError> {
        let lock = self.journal.lock()?;
        let records = self.journal.all()?;
        self.follow(&records)?;
        let now = self.clock.read()?.wall;
        let Some(open) = &self.open else { return Ok(()) };
        let terms = Terms { guard: Guard::Off, reverts: open.period.reverts() };
        let (deviations, grants) = (self.programs(walk), self.grants());
        self.deal_with(&lock, deviations, terms, &grants)?;
        let Some(Open { period, before }) = &mut self.open else { return Ok(()) };
        let unseen = [&before.cut, &walk.cut].into_iter().flatten().next().cloned();
        let is_over = |of: &Watched| of.is_settled && over.contains(&of.grant);
        let (gone, rest): (Vec<Watched>, Vec<Watched>) =
            period.watched.drain(..).partition(is_over);
        period.watched = rest;
        let is_open = !period.watched.is_empty();
        let findings = self.findings.read(&self.places);
        for Watched { grant, found, reverted, .. } in gone {
            info!(grant, found, reverted, "the host was compared with what it was before");
            let unseen = unseen.clone();
            findings.compared(ComparedGrant { grant, found, reverted, unseen });
        }
        findings.tidy(now, is_open);
        let (system, places) = (&*self.system, &self.places);
        write_walk(system, places, walk)?;
        // They are told before what they are compared with is forgotten.
        self.findings.write(system, places)?;
        if is_open {
            period.write(system, places)?;
        } else {
            Period::end(system, places)?;
            self.open = None;
            (self.cache, self.paces, self.standing) = Default::default();
        }
        Ok(())
    }

    fn grants(&self) -> Vec<String> {
        let watched = self.open.iter().flat_map(|open| &open.period.watched);
        watched.map(|of| of.grant.clone()).collect()
    }

    fn holders(&self) -> Vec<Holder> {
        self.open.as_ref().map(|open| open.period.holders()).unwrap_or_default()
    }

    /// What is not as it was, and what there is.
    fn deviations(&mut self, records: &Records, scope: Scope) -> (Vec<Deviation>, Snapshot) {
        let (own, is_all) = (Own::of(records), scope == Scope::All);
        let mut holders = self.holders();
        holders.extend(made_accounts(&self.places, &own));
        // What is compared at the end is read anew, whatever the times of a file say.
        let cache = (!is_all).then_some(&mut self.cache);
        let now = look(&self.places, scope, cache);
        let Some(open) = &mut self.open else { return (Vec::new(), now) };
        if open.before.entries.get(TRUST) != now.entries.get(TRUST) {
            // The agent changes it, too, and says so.
            let written = read_before(&self.places).ok().flatten();
            let trust = written.and_then(|mut written| written.entries.remove(TRUST));
            open.before.entries.extend(trust.map(|trust| (TRUST.to_owned(), trust)));
        }
        let comparison = Comparison {
            before: &open.before.entries,
            now: &now.entries,
            own: &own,
            holders: &holders,
            is_all,
        };
        (comparison.deviations(), now)
    }

    fn programs(&self, now: &Walk) -> Vec<Deviation> {
        let Some(open) = &self.open else { return Vec::new() };
        let (before, holders) = (read_walk(&self.places), self.holders());
        let (before, period) = (before.as_ref(), &open.period);
        Programs { before, now, period, holders: &holders }.deviations()
    }

    /// Undoes what is to be undone, and takes down all of it.
    fn deal_with(
        &mut self,
        _lock: &File,
        deviations: Vec<Deviation>,
        terms: Terms,
        grants: &[String],
    ) -> Result<Outcome, DriftError> {
        let now = self.clock.read()?.wall;
        let keys: HashSet<Key> = deviations.iter().map(key).collect();
        self.standing.retain(|key| keys.contains(key));
        let (mut outcome, mut is_news, mut is_counted) = (Outcome::default(), false, false);
        for deviation in deviations {
            let key = key(&deviation);
            let mut undone = None;
            if terms.undo(&deviation) {
                if !self.paces.may(&key, Instant::now()) {
                    let is_told = self.standing.contains(&key);
                    let kept = if is_told { &mut outcome.left } else { &mut outcome.back };
                    kept.push(deviation);
                    continue;
                }
                undone = Some(self.restorer().undo(&deviation));
            }
            let is_undone = matches!(undone, Some(Ok(())));
            if is_undone && matches!(deviation.repair, Repair::Program(_)) {
                self.adopt(|path, _| path == PROGRAM)?;
            }
            // What is left as it is is told once.
            let is_told = !is_undone && !self.standing.insert(key);
            if !is_told {
                let findings = self.findings.read(&self.places);
                let noted = findings.note(&deviation, grants, undone.as_ref(), now);
                self.count(noted, is_undone, grants);
                is_news |= matches!(noted, Noted::New | Noted::Other { .. });
                is_counted |= is_undone || noted == Noted::LeftOut;
                log(noted, &deviation, undone.as_ref(), grants);
            }
            let kept = if is_undone { &mut outcome.undone } else { &mut outcome.left };
            kept.push(deviation);
        }
        let is_due = self.counted.is_none_or(|counted| counted.elapsed() > COUNTED);
        if is_news || (is_counted && is_due) {
            self.counted = Some(Instant::now());
            self.findings.write(&*self.system, &self.places)?;
            if let Some(open) = &self.open {
                open.period.write(&*self.system, &self.places)?;
            }
        }
        Ok(outcome)
    }

    fn restorer(&self) -> Restorer<'_> {
        Restorer {
            system: &*self.system,
            clock: &*self.clock,
            places: &self.places,
            journal: &self.journal,
        }
    }

    /// Counts, for each Grant, how much was changed and how much of that was undone.
    fn count(&mut self, noted: Noted, is_undone: bool, grants: &[String]) {
        let Some(open) = &mut self.open else { return };
        for of in open.period.watched.iter_mut().filter(|of| grants.contains(&of.grant)) {
            match noted {
                Noted::New | Noted::LeftOut => {
                    of.found = of.found.saturating_add(1);
                    of.reverted = of.reverted.saturating_add(u32::from(is_undone));
                }
                Noted::Other { is_reverted: true } => of.reverted = of.reverted.saturating_add(1),
                Noted::Other { is_reverted: false } => of.reverted = of.reverted.saturating_sub(1),
                Noted::Known => {}
            }
        }
    }
}

fn key(deviation: &Deviation) -> Key {
    (deviation.path.clone(), deviation.change.clone())
}

/// Whether some of a right may be there. One that is not known is over.
fn is_in_force(records: &Records, grant: &str) -> bool {
    let id = Id::of(grant);
    // Of one that cannot be read nobody knows.
    records.broken.contains_key(&id) || records.read.get(&id).is_some_and(Record::is_open)
}

#[cfg(test)]
mod tests;
