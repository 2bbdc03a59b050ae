//! While somebody may act as root, and until the host was compared with what it was before: what it was, and who held which
//! right. Written before the first right is given, so that a crash or a power cut loses nothing of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lapse_crds::Guard;
use serde::{Deserialize, Serialize};

use super::accounts::without_own;
use super::compare::Holder;
use super::critical::{PASSWD, TRUST};
use super::entry::{Content, Snapshot};
use super::findings::Findings;
use super::keys::resolved;
use super::look::{Scope, look};
use super::mounts::Mounts;
use super::name::shown;
use super::own::{Own, is_own};
use super::walk::Walk;
use crate::accounts::HOMES;
use crate::clock::Reading;
use crate::journal::{Journal, JournalError, read};
use crate::places::Places;
use crate::record::Record;
use crate::right::{Containment, Right};
use crate::system::System;

/// The release of this agent.
pub(super) const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// A right by which somebody may act as root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watched {
    /// The name of the Grant.
    pub(super) grant: String,
    /// Who holds it.
    pub(super) user: String,
    /// Their number.
    pub(super) uid: u32,
    /// Their home, as it was before they were given it: who is root may put a link to another folder in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) home: Option<String>,
    /// What is done about changes.
    pub(super) containment: Containment,
    /// Whether it is over, and the files of the host were compared after it: then its programs are still to be.
    #[serde(default)]
    pub(super) is_settled: bool,
    /// How many changes were found.
    #[serde(default)]
    pub(super) found: u32,
    /// How many of them were undone.
    #[serde(default)]
    pub(super) reverted: u32,
}

/// The time from before the first of some rights until the host was compared after the last of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Period {
    /// When it began.
    pub(super) began: DateTime<Utc>,
    /// After which start of the host.
    #[serde(default)]
    pub(super) boot: String,
    /// The release of the agent.
    pub(super) release: String,
    /// Which file systems there were then.
    pub(super) devices: BTreeSet<String>,
    /// The rights.
    pub(super) watched: Vec<Watched>,
}

fn path(places: &Places, name: &str) -> PathBuf {
    places.drift().join(name)
}

fn write<T: Serialize>(system: &dyn System, path: &Path, value: &T) -> Result<(), JournalError> {
    let malformed = |error: serde_json::Error| JournalError::Malformed {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let bytes = serde_json::to_vec(value).map_err(malformed)?;
    let written = system.replace(path, &bytes, 0o600);
    written.map_err(|why| JournalError::Write { path: path.to_owned(), why })
}

fn remove(system: &dyn System, path: PathBuf) -> Result<(), JournalError> {
    system.remove(&path).map_err(|why| JournalError::Write { path, why })
}

impl Period {
    /// One that begins now.
    fn new(places: &Places, now: &Reading) -> Self {
        Self {
            began: now.wall,
            boot: now.boot_id.clone(),
            release: RELEASE.to_owned(),
            devices: Mounts::read(places).devices(),
            watched: Vec::new(),
        }
    }

    /// The one that is open, if one is.
    pub(super) fn read(places: &Places) -> Result<Option<Self>, JournalError> {
        read(path(places, "period.json"))
    }

    /// Writes it.
    pub(super) fn write(&self, system: &dyn System, places: &Places) -> Result<(), JournalError> {
        write(system, &path(places, "period.json"), self)
    }

    /// Ends it.
    pub(super) fn end(system: &dyn System, places: &Places) -> Result<(), JournalError> {
        // The other first: what it is compared with is worth nothing without it.
        remove(system, path(places, "period.json"))?;
        remove(system, path(places, "before.json"))
    }

    /// What the guard does: the strictest that any of the rights says.
    pub(super) fn guard(&self) -> Guard {
        let says = |guard: Guard| {
            self.watched.iter().any(|of| !of.is_settled && of.containment.guard == guard)
        };
        let strict = [Guard::Enforce, Guard::Audit].into_iter().find(|guard| says(*guard));
        strict.unwrap_or(Guard::Off)
    }

    /// Whether no right is in force, and the files of the host were compared after all of them.
    pub(super) fn is_settled(&self) -> bool {
        self.watched.iter().all(|of| of.is_settled)
    }

    /// Whether everything is undone: nothing tells by which of several rights it was changed, so the strictest counts.
    pub(super) fn reverts(&self) -> bool {
        self.watched.iter().any(|watched| watched.containment.reverts)
    }

    /// What is known of the rights in memory, and those that came since: what the file says of a right that was known is
    /// worth nothing, as its holder may write there.
    #[must_use]
    pub(super) fn with_those_of(mut self, file: Option<Self>) -> Self {
        let came = file.into_iter().flat_map(|file| file.watched);
        for watched in came {
            if self.watched.iter().all(|known| known.grant != watched.grant) {
                self.watched.push(watched);
            }
        }
        self
    }

    /// Who holds the rights.
    pub(super) fn holders(&self) -> Vec<Holder> {
        let watched = self.watched.iter();
        watched
            .map(|of| Holder { name: of.user.clone(), uid: of.uid, home: of.home.clone() })
            .collect()
    }
}

/// The home of a user, as what lies there is called.
fn home_of(places: &Places, before: &Snapshot, user: &str) -> Option<String> {
    let rows = before.text(PASSWD).lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = rows.filter(|row| row.first() == Some(&user));
    let own = own.find_map(|row| row.get(5).copied()).filter(|home| home.len() > 1)?;
    placed(places, &Mounts::read(places), Path::new(own))
}

/// A home without links on its way. It may be made by whoever logs in first.
fn placed(places: &Places, mounts: &Mounts, home: &Path) -> Option<String> {
    let there = resolved(places, mounts, home);
    let later = || Some(resolved(places, mounts, home.parent()?)?.join(home.file_name()?));
    there.or_else(later).map(|home| shown(&home))
}

/// The accounts that Lapse has made for rights in force, each with its home: all that lies there is theirs, and goes with them.
/// A link in its place leads nobody elsewhere.
pub(super) fn made_accounts(places: &Places, own: &Own) -> Vec<Holder> {
    // Mostly there is none, and each look of the guard asks.
    if own.members.made().next().is_none() {
        return Vec::new();
    }
    let homes = resolved(places, &Mounts::read(places), Path::new(HOMES));
    let home = |name: &str| homes.as_ref().map(|homes| shown(&homes.join(name)));
    let made = own.members.made();
    made.map(|(name, uid)| Holder { name: name.to_owned(), uid, home: home(name) }).collect()
}

/// What the host was before the first right.
pub(super) fn read_before(places: &Places) -> Result<Option<Snapshot>, JournalError> {
    read(path(places, "before.json"))
}

/// Writes what the host was, or is taken for from now on.
pub(super) fn write_before(
    system: &dyn System,
    places: &Places,
    before: &Snapshot,
) -> Result<(), JournalError> {
    write(system, &path(places, "before.json"), before)
}

/// Which programs ran as somebody else when that was looked at last, if it was.
pub(super) fn read_walk(places: &Places) -> Option<Walk> {
    read(path(places, "programs.json")).ok().flatten()
}

/// Writes that.
pub(super) fn write_walk(
    system: &dyn System,
    places: &Places,
    walk: &Walk,
) -> Result<(), JournalError> {
    write(system, &path(places, "programs.json"), walk)
}

/// Makes the folder for all of this.
pub(super) fn make_folder(places: &Places) -> Result<(), JournalError> {
    let path = places.drift();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|why| JournalError::Write { path, why })
}

/// What the host is now, without what Lapse has put there for a time.
pub(super) fn snapshot(places: &Places, own: &Own) -> Snapshot {
    let mut found = look(places, Scope::All, None);
    let made = made_accounts(places, own);
    let is_of_made = |path: &str| made.iter().any(|holder| holder.has_at_home(path));
    found.entries.retain(|path, _| !is_own(path) && !is_of_made(path));
    without_own(&mut found.entries, &own.members);
    found
}

/// Takes down what the host is before a right is given by which somebody may act as root, and that it is to be compared with
/// that. Called while nobody else changes anything of Lapse's.
///
/// # Errors
/// If it cannot be written: then the right must not be given.
pub fn begin(
    system: &dyn System,
    places: &Places,
    journal: &Journal,
    (record, right): (&Record, &Right),
    now: &Reading,
) -> Result<(), JournalError> {
    let Some(containment) = right.containment else { return Ok(()) };
    make_folder(places)?;
    // One that cannot be read says nothing of what there was: what there is now is all that can be known.
    let open = Period::read(places).unwrap_or_default();
    let open = open.zip(read_before(places).unwrap_or_default());
    let is_known = |of: &Watched| of.grant == record.grant;
    if open.as_ref().is_some_and(|(period, _)| period.watched.iter().any(is_known)) {
        return Ok(());
    }
    let (mut period, before) = match open {
        Some((period, before)) if !period.is_settled() => (period, before),
        // Nothing was looked after, or nothing was since.
        open => {
            let before = snapshot(places, &Own::of(&journal.all()?));
            write_before(system, places, &before)?;
            let period = open.map(|(period, _)| period);
            (period.unwrap_or_else(|| Period::new(places, now)), before)
        }
    };
    period.watched.push(Watched {
        grant: record.grant.clone(),
        user: right.user.clone(),
        uid: right.uid,
        home: home_of(places, &before, &right.user),
        containment,
        is_settled: false,
        found: 0,
        reverted: 0,
    });
    period.write(system, places)
}

/// Takes down that the agent itself has changed whom it trusts. Called while nobody else changes anything of Lapse's.
///
/// # Errors
/// If it cannot be written: then the guard puts back what there was.
pub fn expect_trust(system: &dyn System, places: &Places) -> Result<(), JournalError> {
    let Some(mut before) = read_before(places)? else { return Ok(()) };
    let now = look(places, Scope::Guarded, None).entries.remove(TRUST);
    let Some(now) = now.filter(|now| matches!(now.content, Content::Text(_))) else {
        return Ok(());
    };
    before.entries.insert(TRUST.to_owned(), now);
    write_before(system, places, &before)
}

/// Forgets all of it: this host is nobody any more, or another one.
pub fn forget(system: &dyn System, places: &Places) -> Result<(), JournalError> {
    Period::end(system, places)?;
    remove(system, path(places, "programs.json"))?;
    Findings::forget(places);
    Ok(())
}
