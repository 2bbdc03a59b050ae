//! Which session of sudo a record of its log is of. Pure.
//!
//! The log names no process. But it says when sudo was called, to the nanosecond, and a session says when its process was started
//! and when it was let go on, between which sudo was called. What a command starts has the time of its call up to sudo 1.9.13. Since
//! 1.9.14 it has one of its own, and an ID of its own: then it belongs to the calls that have not ended, and to which of several
//! is not known.

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
    /// The ID that sudo gave it.
    id: String,
    called_at: DateTime<Utc>,
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
        let forgotten: Vec<Session> = self.sessions.extract_if(.., is_forgotten).collect();
        // Of a sudo that was killed no end is logged.
        let is_gone = |process| forgotten.iter().any(|session| Some(session.process) == process);
        let has_session = |uid| self.sessions.iter().any(|session| session.uid == uid);
        self.open.retain(|open| match open.by.process {
            None => open.called_at >= before || has_session(open.uid),
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
            if self.open.len() >= MOST {
                self.open.pop_front();
            }
            let (id, called_at) = (called.id.clone(), called.called_at);
            self.open.push_back(Open { uid, id, called_at, by: by.clone() });
        }
        Some(by)
    }

    /// When the call was made that something was started by, of which the process is known.
    fn session_of(&self, uid: u32, by: &By) -> Option<DateTime<Utc>> {
        let is_it = |open: &&Open| open.uid == uid && open.by.process == by.process;
        let open = self.open.iter().rfind(is_it).filter(|_| by.is_child && by.process.is_some());
        open.map(|open| open.called_at)
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
        (!may_come).then(|| self.started(uid, called))
    }

    /// By what something was started that has a time of its own.
    fn started(&self, uid: u32, called: &Called) -> By {
        let is_it = |open: &&Open| open.uid == uid && open.called_at <= called.called_at;
        let mut calls = self.open.iter().filter(is_it);
        let Some(first) = calls.next() else { return By::default() };
        let is_alone = calls.clone().next().is_none();
        let is_one_grant = calls.all(|other| other.by.grant == first.by.grant);
        By {
            grant: first.by.grant.clone().filter(|_| is_one_grant),
            process: first.by.process.filter(|_| is_alone),
            is_child: true,
            session: is_alone.then_some(first.called_at),
        }
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
        session: None,
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
        Some(By { grant: Some(grant.into()), process: Some(process), is_child, session: None })
    }

    /// What is said of a call, apart from its session.
    fn of(calls: &mut Calls, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
        calls.of(uid, called, now).map(|by| By { session: None, ..by })
    }

    fn of_end(calls: &mut Calls, uid: u32, called_at: DateTime<Utc>) -> By {
        By { session: None, ..calls.of_end(uid, "", called_at) }
    }

    /// As sudo 1.9.16 logs it.
    fn with_id(id: &str, called: Called) -> Called {
        Called { id: id.to_owned(), ..called }
    }

    #[test]
    fn what_has_a_time_of_its_own_belongs_to_the_call_that_has_not_ended() {
        let mut calls = Calls::default();
        calls.open(session("a", 7, 0, 40));
        let bash = calls.of(1000, &with_id("1", called(5, 20)), at(100)).unwrap();
        assert_eq!((bash.session, bash.is_child), (Some(at(5)), false));
        for (started, now) in [(60, 70), (900, 5901)] {
            let child = calls.of(1000, &with_id("2", called(started, started)), at(now)).unwrap();
            assert_eq!(child, By { is_child: true, ..bash.clone() });
        }
        let early = calls.of(1000, &with_id("3", called(950, 950)), at(1000));
        assert_eq!(early, None, "it may be a call whose session is opened later");
        let end = calls.of_end(1000, "1", at(4));
        assert_eq!(end.session, Some(at(5)), "by its ID, whatever time its end says");
        let late = calls.of(1000, &with_id("4", called(1000, 1000)), at(7000)).unwrap();
        assert_eq!((late.grant, late.is_child), (None, false), "it has ended");
    }

    #[test]
    fn which_of_several_calls_started_something_is_not_made_up() {
        let mut calls = Calls::default();
        for (grant, process, start) in [("a", 7, 0), ("a", 8, 300), ("b", 9, 600)] {
            calls.open(session(grant, process, start, start + 40));
            let id = process.to_string();
            calls.of(1000, &with_id(&id, called(start + 5, start + 20)), at(start + 100)).unwrap();
            let child = calls.of(1000, &with_id("c", called(start + 200, start + 200)), at(9000));
            let child = child.unwrap();
            let known = (child.grant.as_deref(), child.process, child.is_child);
            let expected = match process {
                7 => (Some("a"), Some(7), true),
                8 => (Some("a"), None, true),
                _ => (None, None, true),
            };
            assert_eq!(known, expected);
        }
        // One was killed, and another has ended.
        assert_eq!(calls.forget(at(60_000), |process| process != 7).len(), 1);
        calls.of_end(1000, "9", at(605));
        let child = calls.of(1000, &with_id("d", called(1000, 1000)), at(9000)).unwrap();
        assert_eq!((child.process, child.session), (Some(8), Some(at(305))));
    }

    #[test]
    fn a_command_is_told_with_the_right_that_it_was_called_by() {
        let mut calls = Calls::default();
        assert_eq!(
            of(&mut calls, 1000, &called(5, 20), at(100)),
            None,
            "its session is opened later"
        );
        calls.open(session("a", 7, 0, 40));
        calls.open(session("b", 8, 300, 340));
        assert_eq!(of(&mut calls, 1000, &called(5, 20), at(100)), found("a", 7, false));
        assert_eq!(of(&mut calls, 1000, &called(305, 320), at(400)), found("b", 8, false));
        assert_eq!(of(&mut calls, 1000, &called(5, 5000), at(6000)), found("a", 7, true));
        assert_eq!(of_end(&mut calls, 1000, at(305)), found("b", 8, true).unwrap());
        assert_eq!(of(&mut calls, 1001, &called(5, 20), at(100)), None, "of another user");
        assert_eq!(calls.unlogged(at(60_000)), []);
    }

    #[test]
    fn an_agent_that_starts_anew_finds_what_belongs_together() {
        let mut calls = Calls::default();
        calls.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
        assert_eq!(of(&mut calls, 1000, &called(5, 5000), at(6000)), found("a", 7, true));
        assert_eq!(of_end(&mut calls, 1000, at(5)), found("a", 7, true).unwrap());
        let mut anew = Calls::default();
        anew.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
        assert_eq!(of_end(&mut anew, 1000, at(5)), found("a", 7, false).unwrap());
        assert_eq!(of(&mut anew, 1000, &called(5, 20), at(100)), found("a", 7, false));
    }

    #[test]
    fn what_is_called_at_the_same_time_is_told_apart_as_far_as_it_can_be() {
        let mut calls = Calls::default();
        for process in 1..=3 {
            calls.open(session("a", process, i64::from(process), 100));
        }
        for call in 4..=6 {
            let by = of(&mut calls, 1000, &called(call, 50), at(200)).unwrap();
            assert_eq!((by.grant.as_deref(), by.is_child), (Some("a"), false));
        }
        assert_eq!(calls.unlogged(at(60_000)), [], "each session has its call");
        // By two rights at once: nobody can say.
        let mut calls = Calls::default();
        calls.open(session("a", 1, 0, 100));
        calls.open(session("b", 2, 1, 100));
        assert_eq!(of(&mut calls, 1000, &called(2, 50), at(200)), Some(By::default()));
        // One that waits for a password does not take what others call meanwhile.
        let mut calls = Calls::default();
        calls.open(session("a", 1, 0, 9000));
        calls.open(session("b", 2, 5000, 5050));
        assert_eq!(of(&mut calls, 1000, &called(5005, 5010), at(9500)), found("b", 2, false));
        assert_eq!(of(&mut calls, 1000, &called(5, 8990), at(9500)), found("a", 1, false));
    }

    #[test]
    fn what_was_never_let_go_on_is_by_no_right() {
        let mut calls = Calls::default();
        assert_eq!(of(&mut calls, 1000, &called(5, 20), at(5019)), None);
        assert_eq!(of(&mut calls, 1000, &called(5, 20), at(5020)), Some(By::default()));
        let child = of(&mut calls, 1000, &called(5, 5010), at(5020)).unwrap();
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
