//! What happens when somebody who has a right calls sudo: the process of sudo is put into the group of the right, before
//! it starts anything, so that what it starts can be ended as one; and systemd ends that by itself when the time is up.
//!
//! Called by PAM, for the services that the rules of Lapse name. Nobody else's sudo comes here. A user may stop their own
//! sudo after it has looked at its rules and let it go on when the right has ended: so what is no longer in force is refused
//! here, and looked at once more after the move, since an end first removes the rule and then kills the group. And a sudo that
//! was started before one of the user's rules went is refused, whatever else they still hold: it may have read that one.

use std::fs;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use lapse_crds::Command;

use crate::accounts;
use crate::bus::{BUS, Scope};
use crate::clock::Clock;
use crate::journal::Journal;
use crate::places::{Id, Places};
use crate::processes::{Stat, TICK_MS};
use crate::record::{Record, Stage};
use crate::right::Elevation;
use crate::system::System;

/// How long systemd may take to move a process, and how often it is looked whether it has.
const MOVE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_micros(200);
/// How long processes are asked to end before they are killed, when systemd ends them.
const GRACE: Duration = Duration::from_millis(100);

/// Why sudo does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no right any more.
    #[error("Lapse: your access on this host has ended. Request it again")]
    Over,
    /// What it starts could not be ended.
    #[error("Lapse: what sudo starts could not be put where it ends with your access: {0}")]
    Uncontained(String),
}

/// A right with sudo that is in force now.
struct Held {
    id: Id,
    record: Record,
    rest: TimeDelta,
}

/// Puts a process of sudo, called by this user, into the group of their right; returns the name of its Grant.
///
/// # Errors
/// If it must not go on.
pub fn open_session(
    system: &dyn System,
    clock: &dyn Clock,
    places: &Places,
    user: &str,
    process: u32,
) -> Result<String, SessionError> {
    let held = held(clock, places, user, process)?;
    let held = of_session(held).ok_or(SessionError::Over)?;
    let unit = unit_of(clock, &held.id, process)?;
    start_scope(system, places, &held, &unit, process)?;
    wait_for_move(places, &unit, process)?;
    // An end that came meanwhile may have killed the group before this process was in it.
    let still = self::held(clock, places, user, process)?;
    let is_in_force = still.iter().any(|still| still.id == held.id);
    if is_in_force { Ok(held.record.grant) } else { Err(SessionError::Over) }
}

fn uncontained(error: &dyn std::fmt::Display) -> SessionError {
    SessionError::Uncontained(error.to_string())
}

/// The rights with sudo that a user holds, if this process of sudo can have been started under nothing but them.
fn held(
    clock: &dyn Clock,
    places: &Places,
    user: &str,
    process: u32,
) -> Result<Vec<Held>, SessionError> {
    let found = accounts::user(places, user).map_err(|error| uncontained(&error))?;
    let uid = found.ok_or(SessionError::Over)?.uid;
    let journal = Journal::open(places).map_err(|error| uncontained(&error))?;
    let now = clock.read().map_err(|error| uncontained(&error))?;
    let seen = journal.max_seen().map_err(|error| uncontained(&error))?;
    let records = journal.all().map_err(|error| uncontained(&error))?.read;
    let mut held = Vec::new();
    for (id, record) in records {
        let Some(right) = &record.right else { continue };
        if right.uid != uid || right.elevation.commands().is_none() || !record.is_in_force() {
            continue;
        }
        let rest = record.rest(&now, &seen).filter(|_| record.stage != Stage::Ending);
        // One that is over and not gone: sudo may have read its rule.
        let rest = rest.ok_or(SessionError::Over)?;
        if places.rule(&id).exists() {
            held.push(Held { id, record, rest });
        }
    }
    let last_end = fs::read_to_string(places.last_end(uid)).ok();
    if let Some(last_end) = last_end {
        let last_end: u64 = last_end.trim().parse().map_err(|error| uncontained(&error))?;
        // What began before a rule was removed may have read it, and been stopped since.
        if started(places, process)? <= last_end + TICK_MS {
            return Err(SessionError::Over);
        }
    }
    Ok(held)
}

/// When a process started: milliseconds since the host did (proc(5), `starttime`).
fn started(places: &Places, process: u32) -> Result<u64, SessionError> {
    let path = places.at("/proc").join(process.to_string()).join("stat");
    let stat = fs::read_to_string(path).map_err(|error| uncontained(&error))?;
    let stat = Stat::of(&stat);
    let unknown = || SessionError::Uncontained("its start is not known".to_owned());
    Ok(stat.ok_or_else(unknown)?.started_ms)
}

/// By which of several rights something is started: nobody says. If the one that lasts longest allows all that the others do,
/// it is that one; otherwise the one that ends first, so that nothing outlives what it may have been started by.
fn of_session(mut held: Vec<Held>) -> Option<Held> {
    held.sort_by_key(|held| held.rest);
    let covers = held
        .last()
        .is_some_and(|last| held.iter().all(|other| covers(&last.record, &other.record)));
    if covers { held.pop() } else { held.into_iter().next() }
}

fn covers(last: &Record, other: &Record) -> bool {
    let commands = |record: &Record| -> Option<Vec<Command>> {
        match &record.right.as_ref()?.elevation {
            Elevation::Commands(commands) => Some(commands.clone()),
            Elevation::Admin
            | Elevation::Group { .. }
            | Elevation::Application { .. }
            | Elevation::Account { .. } => None,
        }
    };
    match (commands(last), commands(other)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(all), Some(some)) => some.iter().all(|command| all.contains(command)),
    }
}

fn unit_of(clock: &dyn Clock, id: &Id, process: u32) -> Result<String, SessionError> {
    // The number of a process is used again.
    let now = clock.read().map_err(|error| uncontained(&error))?;
    Ok(format!("lapse-{id}-{process}-{}.scope", now.boottime_ms))
}

fn start_scope(
    system: &dyn System,
    places: &Places,
    held: &Held,
    unit: &str,
    process: u32,
) -> Result<(), SessionError> {
    let (slice, description) =
        (held.id.slice(), format!("sudo by the Grant {}", held.record.grant));
    let longest = held.rest.to_std().unwrap_or_default();
    let (slice, description) = (slice.as_str(), description.as_str());
    let scope = Scope { unit, process, slice, description, longest, grace: GRACE };
    system.start_scope(&places.at(BUS), &scope).map_err(|error| uncontained(&error))
}

/// systemd answers before the process is moved.
fn wait_for_move(places: &Places, unit: &str, process: u32) -> Result<(), SessionError> {
    let path = places.at("/proc").join(process.to_string()).join("cgroup");
    let began = Instant::now();
    loop {
        let groups = fs::read_to_string(&path).map_err(|error| uncontained(&error))?;
        if groups.lines().any(|line| line.ends_with(&format!("/{unit}"))) {
            return Ok(());
        }
        if began.elapsed() > MOVE {
            return Err(SessionError::Uncontained("systemd does not move it".to_owned()));
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rstest::rstest;

    use super::*;
    use crate::clock::Reading;
    use crate::right::Right;

    fn held(grant: &str, commands: Option<&[&str]>, rest: i64) -> Held {
        let now = Reading { wall: DateTime::UNIX_EPOCH, boottime_ms: 0, boot_id: "a".into() };
        let command =
            |path: &&str| Command { path: (*path).into(), args: vec![], args_pattern: None };
        let elevation = commands.map_or(Elevation::Admin, |commands| {
            Elevation::Commands(commands.iter().map(command).collect())
        });
        let right = Right {
            user: "al".into(),
            uid: 1000,
            starts_at: now.wall,
            expires_at: now.wall + TimeDelta::seconds(rest),
            elevation,
            log_off: false,
            containment: None,
            records_children: false,
        };
        let record = Record::received(grant.into(), "u".into(), right, &now);
        Held { id: Id::of(grant), record, rest: TimeDelta::seconds(rest) }
    }

    #[rstest]
    #[case::one(vec![held("a", Some(&["/x"]), 9)], "a")]
    #[case::the_longer_allows_everything(vec![held("a", Some(&["/x"]), 9), held("b", None, 20)], "b")]
    #[case::the_longer_allows_less(vec![held("a", None, 9), held("b", Some(&["/x"]), 20)], "a")]
    #[case::the_longer_allows_the_same(vec![held("b", Some(&["/y", "/x"]), 20), held("a", Some(&["/x"]), 9)], "b")]
    #[case::the_longer_allows_other_things(vec![held("b", Some(&["/y"]), 20), held("a", Some(&["/x"]), 9)], "a")]
    fn what_is_started_ends_no_later_than_what_may_have_started_it(
        #[case] held: Vec<Held>,
        #[case] expected: &str,
    ) {
        assert_eq!(of_session(held).unwrap().record.grant, expected);
    }
}
