//! The thread that keeps the record: it takes over what processes wrote down and what sudo logged, spools it, and offers it to
//! whoever talks to the gateway.

mod logs;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_engine::activity::{Batch, Call, Event};
use tokio::sync::watch;
use tracing::{info, warn};

use self::logs::Progress;
use super::calls::{Calls, Session};
use super::note::{Note, What, waiting};
use super::page::{Author, Page};
use super::spool::{MOST, Spool};
use super::under;
use crate::chance::random_name;
use crate::clock::{Clock, ClockError, HostClock};
use crate::journal::{Journal, JournalError};
use crate::outbox::Noted;
use crate::places::{Id, Places};
use crate::record::Record;

/// How often it is looked for something new while there is a log; and while there is none.
const WATCHFUL: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(3);
/// How many notes are taken over at once.
const NOTES: usize = 64;
/// How long a session is remembered whose process is gone.
const REMEMBERED: TimeDelta = TimeDelta::minutes(1);

/// Why nothing can be recorded now.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is kept cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is to be recorded cannot be read.
    #[error("reading {path}: {why}")]
    Source {
        /// What.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// How long after a failure it is tried again to begin.
const AGAIN: Duration = Duration::from_secs(10);

/// Keeps the record until nobody is there who could say that something was noted. While that is not possible, it says so.
pub fn keep(
    places: &Places,
    noted: &Receiver<Noted>,
    offered: &watch::Sender<Option<Arc<Batch>>>,
    tell: impl Fn(Option<String>),
) {
    loop {
        match Recorder::new(places.clone(), Box::new(HostClock)) {
            Ok(recorder) => return recorder.work(noted, offered, tell),
            Err(error) => tell(Some(unrecorded(&error))),
        }
        if noted.recv_timeout(AGAIN) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn unrecorded(error: &RecordError) -> String {
    format!("what is done with sudo is not recorded: {error}")
}

/// What keeps the record.
pub struct Recorder {
    places: Places,
    journal: Journal,
    clock: Box<dyn Clock + Send>,
    spool: Spool,
    calls: Calls,
    /// How far each log was read that is there.
    logs: HashMap<Id, Progress>,
    /// Whether there was no room for what sudo logs.
    was_full: bool,
    /// What sudo does not log although it was told to, in words.
    gap: Option<String>,
}

impl Recorder {
    /// The one of this host.
    ///
    /// # Errors
    /// If the spool cannot be read or made.
    pub fn new(places: Places, clock: Box<dyn Clock + Send>) -> Result<Self, RecordError> {
        let journal = Journal::open(&places)?;
        let spool = Spool::open(places.spool(), MOST, random_name())?;
        let (calls, logs) = (Calls::default(), HashMap::new());
        let (was_full, gap) = (false, None);
        let mut recorder = Self { places, journal, clock, spool, calls, logs, was_full, gap };
        recorder.recall()?;
        Ok(recorder)
    }

    fn work(
        mut self,
        noted: &Receiver<Noted>,
        offered: &watch::Sender<Option<Arc<Batch>>>,
        tell: impl Fn(Option<String>),
    ) {
        // That it could not begin before is over.
        tell(None);
        let mut told = None;
        loop {
            let polled = self.poll();
            let problem = match &polled {
                Ok(_) => self.gap.clone(),
                Err(error) => Some(unrecorded(error)),
            };
            if problem != told {
                if let Some(problem) = &problem {
                    warn!("{problem}");
                } else {
                    info!("what is done with sudo is recorded");
                }
                tell(problem.clone());
                told = problem;
            }
            self.offer(offered);
            let pause = match polled {
                Ok(true) => Duration::ZERO,
                Ok(false) if self.logs.is_empty() => CALM,
                _ => WATCHFUL,
            };
            match noted.recv_timeout(pause) {
                Ok(Noted { series, last }) => {
                    if let Err(error) = self.spool.noted(&series, last) {
                        warn!(%error, "that a part of the record was noted cannot be written down");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.take_all() {
                        warn!(%error, "what is done with sudo is recorded when the agent is back");
                    }
                    return;
                }
            }
        }
    }

    fn offer(&mut self, offered: &watch::Sender<Option<Arc<Batch>>>) {
        let batch = self.spool.offer().unwrap_or_else(|error| {
            warn!(%error, "a part of the record cannot be sent");
            None
        });
        offered.send_if_modified(|known| {
            let is_other = *known != batch;
            *known = batch;
            is_other
        });
    }

    /// Takes over all that is there.
    ///
    /// # Errors
    /// As [`Recorder::poll`].
    pub fn take_all(&mut self) -> Result<(), RecordError> {
        while self.poll()? {}
        Ok(())
    }

    /// What the cluster does not have yet.
    pub fn spool(&mut self) -> &mut Spool {
        &mut self.spool
    }

    /// Takes over a page of what is there; whether there is more.
    ///
    /// # Errors
    /// If it cannot be read or kept. Then nothing of it counts, and it is taken over later.
    pub fn poll(&mut self) -> Result<bool, RecordError> {
        let polled = self.try_poll();
        if polled.is_err() {
            // What was read and not kept is read again.
            (self.calls, self.logs) = (Calls::default(), HashMap::new());
            self.recall()?;
        }
        polled
    }

    fn try_poll(&mut self) -> Result<bool, RecordError> {
        let now = self.clock.read()?.wall;
        let mut page = Page::after(self.spool.marks());
        let logs = self.find_logs(&mut page)?;
        let taken = self.take_notes(&mut page, now)?;
        self.look_for_room(&mut page, now);
        let mut has_more = taken.len() >= NOTES || page.is_full();
        for log in &logs {
            has_more |= self.read_log(log, &mut page, now)?;
        }
        if !has_more {
            self.look_for_gaps(&mut page, now);
        }
        if !page.is_empty() {
            self.spool.append(page, now)?;
        }
        self.put_away(&taken);
        for log in &logs {
            self.give_back(log, now);
        }
        if !has_more {
            self.forget(now);
        }
        Ok(has_more)
    }

    /// What sessions were opened before this agent started.
    fn recall(&mut self) -> Result<(), RecordError> {
        let path = self.places.sessions();
        let wrong = |why| RecordError::Source { path: path.clone(), why };
        for (name, note) in waiting(&path, usize::MAX).map_err(wrong)? {
            match note.and_then(|note| self.session(&name, &note)) {
                Some(session) => self.calls.open(Session { is_logged: true, ..session }),
                None => _ = fs::remove_file(path.join(name)),
            }
        }
        Ok(())
    }

    /// The session that a note is of, if it is of one.
    fn session(&self, name: &str, note: &Note) -> Option<Session> {
        let Note { grant, at: opened_at, what } = note.clone();
        let What::Session { process, started_at, terminal, called: _ } = what else { return None };
        let uid = self.record(&Id::of(&grant))?.right?.uid;
        let (note, is_logged) = (name.to_owned(), false);
        Some(Session { note, grant, uid, process, started_at, opened_at, terminal, is_logged })
    }

    fn record(&self, id: &Id) -> Option<Record> {
        self.journal.read(id).ok().flatten()
    }

    /// Whose an entry is: by this Grant; or, if that is not known, of the user of this order.
    fn author(&self, grant: Option<&str>, of: Option<&Record>) -> Author {
        let by = grant.and_then(|grant| self.record(&Id::of(grant)));
        let right = by.as_ref().or(of).and_then(|record| record.right.as_ref());
        Author {
            user: right.map(|right| right.user.clone()),
            uid: right.map(|right| right.uid),
            under: by.as_ref().map(under),
        }
    }

    /// Takes notes over; their names, and whether each is of a session. They are put away once they are spooled.
    fn take_notes(
        &mut self,
        page: &mut Page,
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, bool)>, RecordError> {
        let path = self.places.notes();
        let wrong = |why| RecordError::Source { path: path.clone(), why };
        let mut taken = Vec::new();
        for (name, note) in waiting(&path, NOTES).map_err(wrong)? {
            if page.is_full() {
                break;
            }
            let session = note.as_ref().and_then(|note| self.session(&name, note));
            // One that is spooled is only to be put away: the agent died in between.
            let is_spooled = self.spool.marks().notes.contains(&name);
            page.marks.notes.push(name.clone());
            taken.push((name, session.is_some()));
            if let Some(session) = session {
                self.calls.open(Session { is_logged: is_spooled, ..session });
            }
            match note {
                _ if is_spooled => {}
                Some(Note { grant, at, what }) => {
                    let author = self.author(Some(&grant), None);
                    page.add(at, noted(what), author);
                }
                None => {
                    let why = "what a process of Lapse wrote down cannot be read";
                    page.add_lost(now, Some(1), why, Author::default());
                }
            }
        }
        Ok(taken)
    }

    /// Puts notes away: those of sessions are needed for as long as something is logged of them.
    fn put_away(&self, taken: &[(String, bool)]) {
        let (from, to) = (self.places.notes(), self.places.sessions());
        for (name, is_session) in taken {
            let keep = || {
                fs::create_dir_all(&to).and_then(|()| fs::rename(from.join(name), to.join(name)))
            };
            if !is_session || keep().is_err() {
                // One that stays is put away the next time.
                let _ = fs::remove_file(from.join(name));
            }
        }
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        let lives = |process: u32| self.places.at("/proc").join(process.to_string()).exists();
        for session in self.calls.forget(now - REMEMBERED, lives) {
            let _ = fs::remove_file(self.places.sessions().join(session.note));
        }
    }

    /// Tells of which sessions sudo has logged nothing although it was told to.
    fn look_for_gaps(&mut self, page: &mut Page, now: DateTime<Utc>) {
        for Session { grant, process, .. } in self.calls.unlogged(now) {
            let record = self.record(&Id::of(&grant));
            if !record.as_ref().is_some_and(logs::is_logged) {
                continue;
            }
            let why = "sudo has logged nothing of what it ran: its log was full, or a setting of sudo on this host \
                       (log_format, logfile) comes after the rule of the Grant";
            self.gap = Some(format!("process {process} of the Grant {grant}: {why}"));
            page.add_lost(now, None, why, self.author(Some(&grant), None));
        }
    }
}

/// What a note says.
fn noted(what: What) -> Event {
    match what {
        What::Session { process, terminal, called, .. } => {
            Event::Session { process, terminal, called }
        }
        What::Started { session, process, program, arguments, folder, run_as } => {
            let process = Some(process);
            let call =
                Call { session, program, arguments, folder, run_as, process, ..Call::default() };
            Event::Command(call)
        }
        What::Ended { session, exit, signal } => Event::Exit { session, exit, signal },
    }
}

#[cfg(test)]
mod tests;
