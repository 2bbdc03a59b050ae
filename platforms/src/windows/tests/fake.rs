//! A Windows that is a few maps, in German, and what goes wrong on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta};

use crate::clock::{Clock, ClockError, Reading};
use crate::files::Files;
use crate::ledger::Ledger;
use crate::order::{Elevation, Order, OrderId};
use crate::record::Record;
use crate::tools::{Ended, Tools};
use crate::windows::Windows;
use crate::windows::access::Access;
use crate::windows::calls::{CallError, Calls, User};
use crate::windows::sid::Sid;

pub(super) const PROGRAM: &str = r"C:\Program Files\Lapse\lapse-agent.exe";
/// A program that may be run, and its digest.
pub(super) const DUMP: (&str, &str) = (r"C:\Program Files\Dump\dump.exe", "sha256:d0");

pub(super) fn sid(number: u32) -> Sid {
    Sid::read(&format!("S-1-5-21-1-2-3-{number}")).unwrap()
}

/// What there is of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct People {
    pub(super) users: BTreeMap<String, User>,
    /// By their SIDs, each with its name.
    pub(super) groups: BTreeMap<Sid, (String, BTreeSet<Sid>)>,
    pub(super) profiles: BTreeSet<Sid>,
}

pub(super) struct State {
    pub(super) people: People,
    pub(super) sessions: BTreeMap<u32, Sid>,
    pub(super) processes: BTreeMap<u32, Sid>,
    pub(super) jobs: BTreeSet<String>,
    pub(super) tasks: BTreeMap<String, String>,
    pub(super) told: Vec<(u32, String, String)>,
    /// Those of files and folders that are not as they should be.
    pub(super) access: BTreeMap<String, Access>,
    /// Where a file really is, if it is elsewhere.
    pub(super) links: BTreeMap<String, String>,
    pub(super) now: Reading,
    /// What is not Windows, is a controller, or has no rights.
    pub(super) imitation: Option<String>,
    pub(super) is_controller: bool,
    pub(super) is_privileged: bool,
    pub(super) steps: usize,
    /// At which step the power goes: before it has an effect, or after.
    pub(super) crash: Option<(usize, bool)>,
    /// What fails, by a word of it.
    pub(super) fails: Option<&'static str>,
    next: u32,
}

pub(super) struct Fake {
    pub(super) state: RefCell<State>,
    folder: tempfile::TempDir,
}

fn user(number: u32, is_off: bool, expires: Option<i64>) -> User {
    User { sid: sid(number), is_off, expires, comment: String::new() }
}

impl Fake {
    pub(super) fn new() -> Self {
        let users = [
            ("Administrator", user(500, false, None)),
            ("al", user(1001, false, None)),
            ("bo", user(1002, false, None)),
            ("off", user(1003, true, Some(4_000_000_000))),
            ("old", user(1004, false, Some(1_000_000_000))),
        ];
        let groups = [
            (Sid::administrators(), "Administratoren", vec![sid(500)]),
            (Sid::users(), "Benutzer", vec![sid(1001), sid(1002), sid(1003), sid(1004)]),
            (sid(2000), "ops", vec![sid(1002)]),
        ];
        let people = People {
            users: users.map(|(name, user)| (name.to_owned(), user)).into(),
            groups: groups
                .map(|(sid, name, members)| (sid, (name.to_owned(), members.into_iter().collect())))
                .into(),
            profiles: BTreeSet::new(),
        };
        let now = Reading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
            boottime_ms: 1_000_000,
            boot_id: "a".into(),
        };
        let state = State {
            people,
            sessions: [(1, sid(1001)), (2, sid(1002))].into(),
            processes: [(10, sid(1001)), (11, sid(1001)), (20, sid(1002))].into(),
            jobs: BTreeSet::new(),
            tasks: BTreeMap::new(),
            told: Vec::new(),
            access: BTreeMap::new(),
            links: BTreeMap::new(),
            now,
            imitation: None,
            is_controller: false,
            is_privileged: true,
            steps: 0,
            crash: None,
            fails: None,
            next: 1005,
        };
        Self { state: RefCell::new(state), folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn windows(&self) -> Windows<'_> {
        Windows {
            calls: self,
            tools: self,
            files: self,
            system: r"C:\Windows\System32".into(),
            folder: self.folder.path().to_owned(),
            program: PROGRAM.into(),
        }
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::in_folder(self.folder.path())
    }

    pub(super) fn record(&self, id: &OrderId) -> Option<Record> {
        self.ledger().read(id).unwrap()
    }

    /// An order that lasts for a minute from now.
    pub(super) fn order(&self, letter: char, user: &str, elevation: Elevation) -> Order {
        Order {
            id: OrderId::read(&letter.to_string().repeat(32)).unwrap(),
            grant: format!("ops-{letter}"),
            user: user.to_owned(),
            expires_at: self.state.borrow().now.wall + TimeDelta::minutes(1),
            elevation,
            log_off: false,
        }
    }

    pub(super) fn pass(&self, seconds: i64) {
        let now = &mut self.state.borrow_mut().now;
        now.wall += TimeDelta::seconds(seconds);
        now.boottime_ms += u64::try_from(seconds).unwrap() * 1000;
    }

    pub(super) fn people(&self) -> People {
        self.state.borrow().people.clone()
    }

    pub(super) fn is_in(&self, group: &Sid, user: &Sid) -> bool {
        self.state.borrow().people.groups[group].1.contains(user)
    }

    pub(super) fn user_now(&self, name: &str) -> User {
        self.state.borrow().people.users[name].clone()
    }

    pub(super) fn tasks(&self) -> Vec<String> {
        self.state.borrow().tasks.keys().cloned().collect()
    }

    /// Does something that changes the host, unless it is told to fail or to stop there.
    fn step<T>(&self, what: &str, effect: impl FnOnce(&mut State) -> T) -> Option<T> {
        let (crash, number) = {
            let mut state = self.state.borrow_mut();
            let number = state.steps;
            state.steps += 1;
            if state.fails.is_some_and(|word| what.contains(word)) {
                return None;
            }
            (state.crash, number)
        };
        assert_ne!(crash, Some((number, false)), "the power goes before {what}");
        let done = effect(&mut self.state.borrow_mut());
        assert_ne!(crash, Some((number, true)), "the power goes after {what}");
        Some(done)
    }

    fn call<T>(
        &self,
        what: &str,
        call: &'static str,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, CallError> {
        self.step(what, effect).ok_or(CallError { call, code: 5 })
    }
}

impl Clock for Fake {
    fn read(&self) -> Result<Reading, ClockError> {
        Ok(self.state.borrow().now.clone())
    }
}

impl Files for Fake {
    fn replace(&self, path: &Path, content: &[u8], _: u32) -> io::Result<()> {
        let what = format!("write {}", path.display());
        let done = self.step(&what, |_| fs::write(path, content).unwrap());
        done.ok_or_else(|| io::Error::other("no space left"))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let what = format!("remove {}", path.display());
        let done = self.step(&what, |_| _ = fs::remove_file(path));
        done.ok_or_else(|| io::Error::other("no space left"))
    }
}

impl Tools for Fake {
    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> io::Result<Ended> {
        assert!(program.display().to_string().ends_with("schtasks.exe"), "{program:?}");
        assert_eq!(input, "");
        let ended = |is_ok: bool| Ok(Ended { code: Some(i32::from(!is_ok)), ..Ended::default() });
        match arguments {
            ["/Query"] => ended(true),
            ["/Query", "/TN", name] => ended(self.state.borrow().tasks.contains_key(*name)),
            ["/Create", "/TN", name, "/XML", file, "/F"] => {
                let bytes = fs::read(file)?;
                let units: Vec<u16> =
                    bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
                let text = String::from_utf16(&units).unwrap();
                let made = self.step(&format!("task {name}"), |state| {
                    state.tasks.insert((*name).to_owned(), text);
                });
                ended(made.is_some())
            }
            ["/Delete", "/TN", name, "/F"] => {
                let gone = self.step(&format!("no task {name}"), |state| state.tasks.remove(*name));
                ended(gone.flatten().is_some())
            }
            _ => panic!("schtasks {arguments:?}"),
        }
    }
}

impl Calls for Fake {
    fn imitation(&self) -> Option<String> {
        self.state.borrow().imitation.clone()
    }

    fn is_controller(&self) -> Result<bool, CallError> {
        Ok(self.state.borrow().is_controller)
    }

    fn is_privileged(&self) -> Result<bool, CallError> {
        Ok(self.state.borrow().is_privileged)
    }

    fn user(&self, name: &str) -> Result<Option<User>, CallError> {
        Ok(self.state.borrow().people.users.get(name).cloned())
    }

    fn name_of(&self, user: &Sid) -> Result<Option<String>, CallError> {
        let state = self.state.borrow();
        let found = state.people.users.iter().find(|(_, found)| found.sid == *user);
        Ok(found.map(|(name, _)| name.clone()))
    }

    fn group(&self, name: &str) -> Result<Option<Sid>, CallError> {
        let state = self.state.borrow();
        let found = state.people.groups.iter().find(|(_, (own, _))| own == name);
        Ok(found.map(|(sid, _)| sid.clone()))
    }

    fn members(&self, group: &Sid) -> Result<Option<Vec<Sid>>, CallError> {
        let state = self.state.borrow();
        let found = state.people.groups.get(group);
        Ok(found.map(|(_, members)| members.iter().cloned().collect()))
    }

    fn join(&self, group: &Sid, user: &Sid) -> Result<(), CallError> {
        self.call(&format!("join {group}"), "NetLocalGroupAddMembers", |state| {
            state.people.groups.get_mut(group).unwrap().1.insert(user.clone());
        })
    }

    fn leave(&self, group: &Sid, user: &Sid) -> Result<(), CallError> {
        self.call(&format!("leave {group}"), "NetLocalGroupDelMembers", |state| {
            state.people.groups.get_mut(group).unwrap().1.remove(user);
        })
    }

    fn switch(&self, name: &str, is_off: bool) -> Result<(), CallError> {
        self.call(&format!("switch {name}"), "NetUserSetInfo", |state| {
            let user = state.people.users.get_mut(name).unwrap();
            assert!(is_off || user.expires.is_some(), "{name} is on without an end");
            user.is_off = is_off;
        })
    }

    fn expire(&self, name: &str, at: Option<i64>) -> Result<(), CallError> {
        self.call(&format!("expire {name}"), "NetUserSetInfo", |state| {
            state.people.users.get_mut(name).unwrap().expires = at;
        })
    }

    fn create(&self, name: &str, comment: &str, password: &str) -> Result<(), CallError> {
        assert!(password.len() > 30, "{password}");
        self.call(&format!("create {name}"), "NetUserAdd", |state| {
            let comment = comment.to_owned();
            let new = User { comment, ..user(state.next, true, None) };
            state.next += 1;
            state.people.profiles.insert(new.sid.clone());
            state.people.users.insert(name.to_owned(), new);
        })
    }

    fn remove_profile(&self, user: &Sid) -> Result<(), CallError> {
        self.call("remove profile", "DeleteProfileW", |state| {
            state.people.profiles.remove(user);
        })
    }

    fn remove_user(&self, name: &str) -> Result<(), CallError> {
        self.call(&format!("remove user {name}"), "NetUserDel", |state| {
            state.people.users.remove(name);
        })
    }

    fn sessions(&self, user: &Sid) -> Result<Vec<u32>, CallError> {
        let state = self.state.borrow();
        let theirs = state.sessions.iter().filter(|(_, whose)| *whose == user);
        Ok(theirs.map(|(id, _)| *id).collect())
    }

    fn log_off(&self, session: u32) -> Result<(), CallError> {
        self.call("log off", "WTSLogoffSession", |state| {
            state.sessions.remove(&session);
        })
    }

    fn tell(&self, session: u32, title: &str, text: &str) -> Result<(), CallError> {
        self.call("tell", "WTSSendMessageW", |state| {
            state.told.push((session, title.to_owned(), text.to_owned()));
        })
    }

    fn processes(&self, user: &Sid) -> Result<Vec<u32>, CallError> {
        let state = self.state.borrow();
        let theirs = state.processes.iter().filter(|(_, whose)| *whose == user);
        Ok(theirs.map(|(id, _)| *id).collect())
    }

    fn kill(&self, process: u32, user: &Sid) -> Result<(), CallError> {
        self.call("kill", "TerminateProcess", |state| {
            assert_eq!(state.processes.remove(&process).as_ref(), Some(user));
        })
    }

    fn end_job(&self, name: &str) -> Result<(), CallError> {
        self.call("end job", "TerminateJobObject", |state| {
            state.jobs.remove(name);
        })
    }

    fn access(&self, path: &str) -> Result<Access, CallError> {
        let usual = Access { owner: Sid::trusted_installer(), entries: Some(Vec::new()) };
        Ok(self.state.borrow().access.get(path).cloned().unwrap_or(usual))
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let state = self.state.borrow();
        Ok(state.links.get(path).cloned().unwrap_or_else(|| path.to_owned()))
    }

    fn digest(&self, path: &str) -> io::Result<String> {
        let is_there = path == DUMP.0;
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it is not there");
        is_there.then(|| DUMP.1.to_owned()).ok_or_else(missing)
    }
}
