//! Which programs run as somebody else than who starts them, or with capabilities of their own, and did not before. Pure.

use chrono::{DateTime, Utc};
use lapse_crds::DriftKind;

use super::compare::Holder;
use super::deviation::{Deviation, Repair};
use super::period::Period;
use super::walk::{SET_IDS, Special, Walk};

/// How far the clock of files lags behind that of the wall, in nanoseconds.
const LAG: i64 = 100_000_000;
const SETUID: u32 = 0o4000;

/// What is compared.
pub(super) struct Programs<'a> {
    /// What was found before, if anybody has looked: maybe long before.
    pub(super) before: Option<&'a Walk>,
    /// What was found after.
    pub(super) now: &'a Walk,
    /// The time of the rights: when it began, and which file systems there were then.
    pub(super) period: &'a Period,
    /// Who holds rights.
    pub(super) holders: &'a [Holder],
}

fn nanoseconds(time: DateTime<Utc>) -> i64 {
    time.timestamp_nanos_opt().unwrap_or_default()
}

impl Programs<'_> {
    /// What is not as it was.
    pub(super) fn deviations(&self) -> Vec<Deviation> {
        let files = self.now.files.iter();
        let found = files.filter(|(_, file)| !self.is_of_holder(file));
        found.filter_map(|(path, file)| self.compare_one(path, file)).collect()
    }

    /// Whether somebody could make it of what is theirs without any right.
    fn is_of_holder(&self, file: &Special) -> bool {
        let is_setuid = file.owner.mode & SET_IDS == SETUID && file.capabilities.is_none();
        is_setuid
            && self.holders.iter().any(|holder| file.owner.uid == holder.uid && holder.uid != 0)
    }

    fn compare_one(&self, path: &str, file: &Special) -> Option<Deviation> {
        let known = self.before.and_then(|before| before.files.get(path));
        if known.is_some_and(|known| file.is_as(known)) || !self.is_of_now(known.is_some(), file) {
            return None;
        }
        let Special { id, owner, capabilities, .. } = file;
        let mode = owner.mode & SET_IDS;
        let of = |kind, change: &str, repair| {
            let (path, change) = (path.to_owned(), change.to_owned());
            Some(Deviation { kind, path, change, is_guarded: false, repair })
        };
        let had = known.map(|known| (known.owner.mode & SET_IDS, &known.capabilities));
        let reinstall = "what it was before is not kept: install its package again";
        match had {
            Some((had, _)) if had == mode && mode != 0 => of(
                DriftKind::Setuid,
                "was changed, and runs as its owner or its group",
                Repair::Nothing(reinstall),
            ),
            Some((0, had)) if had.is_some() && mode == 0 => of(
                DriftKind::Capabilities,
                "was changed, and has capabilities",
                Repair::Nothing(reinstall),
            ),
            _ if mode != 0 => {
                let change = match mode {
                    SETUID => format!("runs as the user {} (mode {:04o})", owner.uid, owner.mode),
                    SET_IDS => format!(
                        "runs as the user {} and the group {} (mode {:04o})",
                        owner.uid, owner.gid, owner.mode
                    ),
                    _ => format!("runs as the group {} (mode {:04o})", owner.gid, owner.mode),
                };
                of(DriftKind::Setuid, &change, Repair::Strip(*id))
            }
            _ => {
                let capabilities = capabilities.as_deref().unwrap_or_default();
                let change = format!("has the capabilities {capabilities}");
                of(DriftKind::Capabilities, &change, Repair::Incapacitate(*id))
            }
        }
    }

    /// Whether it can have become what it is under the rights. What was looked at before may be old: what was changed since,
    /// and before the first right began, was changed by somebody else. That is told by a time which root can set only with
    /// the clock; so what says that it is older than what was looked at, and was not there then, counts.
    fn is_of_now(&self, is_known: bool, file: &Special) -> bool {
        let began = nanoseconds(self.period.began) - LAG;
        if file.changed >= began {
            return true;
        }
        let Some(before) = self.before else { return false };
        let was_changed_between = file.changed >= nanoseconds(before.began);
        let was_looked_at = before.devices.contains(&file.device);
        let Period { boot, devices, .. } = self.period;
        let is_one_boot = before.boot == *boot && self.now.boot == *boot;
        // One that was there, and that nobody looked through.
        let is_strange = is_one_boot && !was_looked_at && devices.contains(&file.device);
        let is_unknown = before.cut.is_some() && !is_known;
        !was_changed_between && !is_strange && !is_unknown
    }
}

#[cfg(test)]
mod tests;
