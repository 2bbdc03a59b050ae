//! Which session of sudo a record of its log is of. Pure.
//!
//! The log names no process. But it says when sudo was called, to the nanosecond, and what a command starts has that time, too; and
//! a session says when its process was started and when it was let go on, between which sudo was called.

use std::collections::BTreeMap;

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
}

/// The sessions that are known, and the calls that belong to them.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    sessions: Vec<Session>,
    /// By the user and the time of the call.
    known: BTreeMap<(u32, DateTime<Utc>), By>,
}

impl Calls {
    /// Remembers a session.
    pub fn open(&mut self, session: Session) {
        self.sessions.push(session);
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
        self.sessions.extract_if(.., is_forgotten).collect()
    }

    /// By which right a command was called; `None` if that may still be known.
    pub fn of(&mut self, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
        let by = self.find(uid, called, now)?;
        if self.known.len() >= MOST {
            // The oldest of whichever user: what is forgotten is found by its session.
            self.known.pop_first();
        }
        self.known.insert((uid, called.called_at), By { is_child: true, ..by.clone() });
        Some(by)
    }

    /// The same, of what is known by the time of its call alone: what was called ended.
    #[must_use]
    pub fn of_end(&self, uid: u32, called_at: DateTime<Utc>) -> By {
        if let Some(known) = self.known.get(&(uid, called_at)) {
            return known.clone();
        }
        let sessions: Vec<&Session> = self.around(uid, called_at).collect();
        by(&sessions, called_at)
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

    fn around(&self, uid: u32, called_at: DateTime<Utc>) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(move |session| {
            session.uid == uid
                && session.started_at - SLACK <= called_at
                && called_at <= session.opened_at + SLACK
        })
    }

    fn find(&mut self, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
        if let Some(known) = self.known.get(&(uid, called.called_at)) {
            return Some(known.clone());
        }
        let around: Vec<&Session> = self.around(uid, called.called_at).collect();
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
        (!may_come).then(By::default)
    }
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
    }

    fn session(grant: &str, process: u32, started: i64, opened: i64) -> Session {
        let (started_at, opened_at) = (at(started), at(opened));
        Session {
            note: process.to_string(),
            grant: grant.into(),
            uid: 1000,
            process,
            started_at,
            opened_at,
            is_logged: false,
        }
    }

    fn called(called_at: i64, logged_at: i64) -> Called {
        Called { at: at(logged_at), called_at: at(called_at), ..Called::default() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be found")]
    fn found(grant: &str, process: u32, is_child: bool) -> Option<By> {
        Some(By { grant: Some(grant.into()), process: Some(process), is_child })
    }

    #[test]
    fn a_command_is_told_with_the_right_that_it_was_called_by() {
        let mut calls = Calls::default();
        assert_eq!(calls.of(1000, &called(5, 20), at(100)), None, "its session is opened later");
        calls.open(session("a", 7, 0, 40));
        calls.open(session("b", 8, 300, 340));
        assert_eq!(calls.of(1000, &called(5, 20), at(100)), found("a", 7, false));
        assert_eq!(calls.of(1000, &called(305, 320), at(400)), found("b", 8, false));
        assert_eq!(calls.of(1000, &called(5, 5000), at(6000)), found("a", 7, true));
        assert_eq!(calls.of_end(1000, at(305)), found("b", 8, true).unwrap());
        assert_eq!(calls.of(1001, &called(5, 20), at(100)), None, "of another user");
        assert_eq!(calls.unlogged(at(60_000)), []);
    }

    #[test]
    fn an_agent_that_starts_anew_finds_what_belongs_together() {
        let mut calls = Calls::default();
        calls.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
        assert_eq!(calls.of(1000, &called(5, 5000), at(6000)), found("a", 7, true));
        assert_eq!(calls.of_end(1000, at(5)), found("a", 7, true).unwrap());
        let mut anew = Calls::default();
        anew.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
        assert_eq!(anew.of_end(1000, at(5)), found("a", 7, false).unwrap());
        assert_eq!(anew.of(1000, &called(5, 20), at(100)), found("a", 7, false));
    }

    #[test]
    fn what_is_called_at_the_same_time_is_told_apart_as_far_as_it_can_be() {
        let mut calls = Calls::default();
        for process in 1..=3 {
            calls.open(session("a", process, i64::from(process), 100));
        }
        for call in 4..=6 {
            let by = calls.of(1000, &called(call, 50), at(200)).unwrap();
            assert_eq!((by.grant.as_deref(), by.is_child), (Some("a"), false));
        }
        assert_eq!(calls.unlogged(at(60_000)), [], "each session has its call");
        // By two rights at once: nobody can say.
        let mut calls = Calls::default();
        calls.open(session("a", 1, 0, 100));
        calls.open(session("b", 2, 1, 100));
        assert_eq!(calls.of(1000, &called(2, 50), at(200)), Some(By::default()));
        // One that waits for a password does not take what others call meanwhile.
        let mut calls = Calls::default();
        calls.open(session("a", 1, 0, 9000));
        calls.open(session("b", 2, 5000, 5050));
        assert_eq!(calls.of(1000, &called(5005, 5010), at(9500)), found("b", 2, false));
        assert_eq!(calls.of(1000, &called(5, 8990), at(9500)), found("a", 1, false));
    }

    #[test]
    fn what_was_never_let_go_on_is_by_no_right() {
        let mut calls = Calls::default();
        assert_eq!(calls.of(1000, &called(5, 20), at(5019)), None);
        assert_eq!(calls.of(1000, &called(5, 20), at(5020)), Some(By::default()));
        let child = calls.of(1000, &called(5, 5010), at(5020)).unwrap();
        assert!(child.is_child && child.grant.is_none(), "its children are not waited for");
    }

    #[test]
    fn a_session_without_a_log_is_noticed_once() {
        let mut calls = Calls::default();
        calls.open(session("a", 7, 0, 40));
        assert_eq!(calls.unlogged(at(5000)), []);
        assert_eq!(calls.unlogged(at(10_041)).len(), 1);
        assert_eq!(calls.unlogged(at(10_041)), []);
        assert_eq!(calls.forget(at(60_000), |process| process == 7), []);
        assert_eq!(calls.forget(at(30), |_| false), []);
        assert_eq!(calls.forget(at(60_000), |_| false)[0].note, "7");
        for process in 0..=u32::try_from(MOST).unwrap() {
            calls.open(session("a", process, 0, 40));
        }
        assert_eq!(calls.forget(at(0), |_| true)[0].note, "0");
        assert_eq!(calls.sessions.len(), MOST);
    }
}
