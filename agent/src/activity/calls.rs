//! Which session of sudo a record of its log is of. Pure.
//!
//! The log names no process. But it says when sudo was called, to the nanosecond, and a session says when its process was started
//! and when it was let go on, between which sudo was called. What a command starts has the time of its call up to sudo 1.9.13. Since
//! 1.9.14 it has one of its own, and an ID of its own: then it belongs to the calls that have not ended, and to which of several
//! is not known. Where both name a terminal they belong together only if it is the same: a sudo that waits for a password in one
//! is not what a shell in another one starts meanwhile.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::sudo::Called;

/// How exact the start of a process is known.
const SLACK: TimeDelta = TimeDelta::milliseconds(50);
/// How close two starts are that are not told from one another.
const CLOSE: TimeDelta = TimeDelta::milliseconds(30);
/// How long it is waited for the session of a call: sudo logs before it opens one.
const PATIENCE: TimeDelta = TimeDelta::seconds(5);
/// After which time sudo has logged nothing of a session.
const UNLOGGED: TimeDelta = TimeDelta::seconds(10);
/// How many sessions and calls are remembered.
const MOST: usize = 1024;

/// A session of sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of its note.
    pub note: String,
    /// The name of the Grant.
    pub grant: String,
    /// The number of its user.
    pub uid: u32,
    /// Its process.
    pub process: u32,
    /// When that was started.
    pub started_at: DateTime<Utc>,
    /// When it was let go on.
    pub opened_at: DateTime<Utc>,
    /// The terminal that sudo was called on.
    pub terminal: Option<String>,
    /// Whether sudo has logged what was called, or it is not looked whether it has.
    pub is_logged: bool,
}

/// By which right a command was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The name of the Grant, if it is known.
    pub grant: Option<String>,
    /// The process of sudo, if it is known.
    pub process: Option<u32>,
    /// Whether it was started by what was called.
    pub is_child: bool,
    /// When the call was made that it belongs to, if it is known.
    pub session: Option<DateTime<Utc>>,
}

/// A call whose end was not logged yet.
#[derive(Clone, Debug)]
struct Open {
    uid: u32,
    /// The ID that sudo gave it; empty if it was made before this agent started.
    id: String,
    /// Since when it starts something, at the latest.
    since: DateTime<Utc>,
    /// The terminal that sudo was called on.
    terminal: Option<String>,
    by: By,
}

/// The sessions that are known, and the calls that belong to them.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    sessions: Vec<Session>,
    /// By the user and the time of the call.
    known: BTreeMap<(u32, DateTime<Utc>), By>,
    /// The first first.
    open: VecDeque<Open>,
}

impl Calls {
    /// Remembers a session. What was called in one that was opened before this agent started was logged then, and is not told
    /// again; what that starts is still to be told.
    pub fn open(&mut self, session: Session) {
        if session.is_logged {
            let by = By {
                grant: Some(session.grant.clone()),
                process: Some(session.process),
                is_child: false,
                session: None,
            };
            let (uid, id, since) = (session.uid, String::new(), session.opened_at);
            let terminal = session.terminal.clone();
            self.begin(Open { uid, id, since, terminal, by });
        }
        self.sessions.push(session);
    }

    /// A call that goes on.
    fn begin(&mut self, open: Open) {
        // It is known by now, or its number was that of one that is gone.
        let is_its = |other: &Open| other.by.process == open.by.process;
        self.open.retain(|other| open.by.process.is_none() || !is_its(other));
        if self.open.len() >= MOST {
            // Who calls many has none of another forgotten.
            let own = self.open.iter().position(|other| other.uid == open.uid);
            self.open.remove(own.unwrap_or_default());
        }
        self.open.push_back(open);
    }

    /// Forgets the sessions of processes that are gone, and that were opened before this; and the oldest of too many. Those that
    /// are forgotten.
    pub fn forget(&mut self, before: DateTime<Utc>, lives: impl Fn(u32) -> bool) -> Vec<Session> {
        let mut beyond = self.sessions.len().saturating_sub(MOST);
        let is_forgotten = |session: &mut Session| {
            let is_beyond = beyond > 0;
            beyond = beyond.saturating_sub(1);
            is_beyond || (session.opened_at < before && !lives(session.process))
        };
        let forgotten: Vec<Session> = self.sessions.extract_if(.., is_forgotten).collect();
        // Of a sudo that was killed no end is logged.
        let is_gone = |process| forgotten.iter().any(|session| Some(session.process) == process);
        let has_session = |uid| self.sessions.iter().any(|session| session.uid == uid);
        self.open.retain(|open| match open.by.process {
            None => open.since >= before || has_session(open.uid),
            process => !is_gone(process),
        });
        forgotten
    }

    /// By which right a command was called; `None` if that may still be known.
    pub fn of(&mut self, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
        let by = self.find(uid, called, now)?;
        if self.known.len() >= MOST {
            // The oldest of whichever user: what is forgotten is found by its session.
            self.known.pop_first();
        }
        let session = by.session.or_else(|| self.session_of(uid, &by)).unwrap_or(called.called_at);
        let by = By { session: Some(session), ..by };
        self.known.insert((uid, called.called_at), By { is_child: true, ..by.clone() });
        if !by.is_child && by.grant.is_some() {
            let Called { id, called_at: since, terminal, .. } = called.clone();
            self.begin(Open { uid, id, since, terminal, by: by.clone() });
        }
        Some(by)
    }

    /// When the call was made that something was started by, of which the process is known.
    fn session_of(&self, uid: u32, by: &By) -> Option<DateTime<Utc>> {
        let is_it = |open: &&Open| open.uid == uid && open.by.process == by.process;
        let open = self.open.iter().rfind(is_it).filter(|_| by.is_child && by.process.is_some());
        open.and_then(|open| open.by.session)
    }

    /// The same, of what was called and ended: by its ID, or else by the time of the call.
    pub fn of_end(&mut self, uid: u32, id: &str, called_at: DateTime<Utc>) -> By {
        let is_it = |open: &Open| open.uid == uid && open.id == id && !id.is_empty();
        if let Some(open) = self.open.iter().position(is_it).and_then(|at| self.open.remove(at)) {
            return open.by;
        }
        if let Some(known) = self.known.get(&(uid, called_at)) {
            return known.clone();
        }
        // The end of a command names no terminal.
        let sessions: Vec<&Session> = self.around(uid, called_at, None).collect();
        let by = by(&sessions, called_at);
        self.open.retain(|open| by.process.is_none() || open.by.process != by.process);
        by
    }

    /// The sessions of which sudo has logged nothing; each once.
    pub fn unlogged(&mut self, now: DateTime<Utc>) -> Vec<Session> {
        let is_late =
            |session: &&mut Session| !session.is_logged && now - session.opened_at > UNLOGGED;
        let late = self.sessions.iter_mut().filter(is_late);
        late.map(|session| {
            session.is_logged = true;
            session.clone()
        })
        .collect()
    }

    /// The sessions of which something can be that was called then, on this terminal if that is known.
    fn around(
        &self,
        uid: u32,
        called_at: DateTime<Utc>,
        terminal: Option<&str>,
    ) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(move |session| {
            session.uid == uid
                && is_same(session.terminal.as_deref(), terminal) != Some(false)
                && session.started_at - SLACK <= called_at
                && called_at <= session.opened_at + SLACK
        })
    }

    fn find(&mut self, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
        if let Some(known) = self.known.get(&(uid, called.called_at)) {
            return Some(known.clone());
        }
        let terminal = called.terminal.as_deref();
        let around: Vec<&Session> = self.around(uid, called.called_at, terminal).collect();
        // What is called is logged before its session is opened, and what it starts after that.
        let is_child = |session: &&Session| called.at > session.opened_at;
        let fresh: Vec<&Session> =
            around.iter().filter(|session| !session.is_logged).copied().collect();
        if let Some(first) = nearest(&fresh, called.called_at).filter(|first| !is_child(first)) {
            let found = By { is_child: false, ..by(&fresh, called.called_at) };
            let process = first.process;
            let own = self.sessions.iter_mut().rfind(|session| session.process == process);
            if let Some(own) = own {
                own.is_logged = true;
            }
            return Some(found);
        }
        if let Some(session) = nearest(&around, called.called_at) {
            let is_child = is_child(&session);
            return Some(By { is_child, ..by(&around, called.called_at) });
        }
        let age = now - called.at;
        let may_come = age < PATIENCE && age > -PATIENCE;
        (!may_come).then(|| self.started(uid, called))
    }

    /// By what something was started that has a time of its own.
    fn started(&self, uid: u32, called: &Called) -> By {
        let is_it = |open: &&Open| open.uid == uid && open.since <= called.called_at;
        let terminal = called.terminal.as_deref();
        let is_there = |open: &&Open| is_same(open.terminal.as_deref(), terminal) == Some(true);
        let mut calls: Vec<&Open> = self.open.iter().filter(is_it).collect();
        if calls.iter().any(is_there) {
            calls.retain(is_there);
        }
        let [first, others @ ..] = calls.as_slice() else { return By::default() };
        let is_alone = others.is_empty();
        let is_one_grant = others.iter().all(|other| other.by.grant == first.by.grant);
        By {
            grant: first.by.grant.clone().filter(|_| is_one_grant),
            process: first.by.process.filter(|_| is_alone),
            is_child: true,
            session: first.by.session.filter(|_| is_alone),
        }
    }
}

/// Whether two terminals are the same, if both are known.
fn is_same(one: Option<&str>, other: Option<&str>) -> Option<bool> {
    fn plain(path: &str) -> &str {
        path.strip_prefix("/dev/").unwrap_or(path)
    }
    Some(plain(one?) == plain(other?))
}

fn distance(session: &Session, called_at: DateTime<Utc>) -> TimeDelta {
    (called_at - session.started_at).abs()
}

fn nearest<'a>(sessions: &[&'a Session], called_at: DateTime<Utc>) -> Option<&'a Session> {
    sessions.iter().copied().min_by_key(|session| distance(session, called_at))
}

/// What the nearest of these says, as far as those say the same that are as near.
fn by(sessions: &[&Session], called_at: DateTime<Utc>) -> By {
    let Some(first) = nearest(sessions, called_at) else { return By::default() };
    let limit = distance(first, called_at) + CLOSE;
    let mut rivals = sessions.iter().filter(|other| distance(other, called_at) < limit);
    let is_alone = rivals.clone().count() == 1;
    let is_one_grant = rivals.all(|other| other.grant == first.grant);
    By {
        grant: is_one_grant.then(|| first.grant.clone()),
        process: is_alone.then_some(first.process),
        is_child: false,
        session: None,
    }
}

#[cfg(test)]
mod tests;
