//! What was found that would outlast rights, until somebody has accepted it. Bounded, whoever makes how much of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{ComparedGrant, DriftFinding, MOST_FINDINGS, MOST_GRANTS_OF_FINDING};
use lapse_engine::order::DriftReport;
use serde::{Deserialize, Serialize};

use super::deviation::Deviation;
use crate::journal::{JournalError, read};
use crate::places::Places;
use crate::system::System;

/// The longest text that is told, in bytes.
const LONGEST: usize = 256;
/// How long something is told that nobody accepts.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How many Grants are told of that the host was compared for.
const MOST_COMPARED: usize = 64;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Findings {
    /// The oldest first.
    kept: Vec<Kept>,
    left_out: u32,
    compared: Vec<ComparedGrant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    finding: DriftFinding,
    /// Whether somebody has accepted it: then it is told no more, and known until what it is compared with is another.
    #[serde(default)]
    is_accepted: bool,
}

/// What came of noting something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// Nobody knew of it.
    New,
    /// It was known, and has been undone since, or has come back for good.
    Other {
        /// Whether it is undone now.
        is_reverted: bool,
    },
    /// It was known.
    Known,
    /// There is no room for it.
    LeftOut,
}

fn path(places: &Places) -> PathBuf {
    places.drift().join("findings.json")
}

/// The beginning of a text.
fn short(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl Findings {
    /// Those that are kept. What cannot be read is worth nothing.
    pub(super) fn read(places: &Places) -> Self {
        read(path(places)).ok().flatten().unwrap_or_default()
    }

    /// Keeps them.
    pub(super) fn write(&self, system: &dyn System, places: &Places) -> Result<(), JournalError> {
        let path = path(places);
        let malformed = |error: serde_json::Error| JournalError::Malformed {
            path: path.clone(),
            why: error.to_string(),
        };
        let bytes = serde_json::to_vec(self).map_err(malformed)?;
        let written = system.replace(&path, &bytes, 0o600);
        written.map_err(|why| JournalError::Write { path: path.clone(), why })
    }

    /// Notes a change that was made under these Grants, whether it was undone, and why not.
    pub(super) fn note(
        &mut self,
        deviation: &Deviation,
        grants: &[String],
        undone: Option<&Result<(), String>>,
        at: DateTime<Utc>,
    ) -> Noted {
        let reverted = matches!(undone, Some(Ok(())));
        let change = match undone {
            Some(Err(why)) => format!("{} (not undone: {why})", deviation.change),
            Some(Ok(())) | None => deviation.change.clone(),
        };
        let (path, change) = (short(&deviation.path), short(&change));
        let is_it = |kept: &&mut Kept| {
            let DriftFinding { grants: known, kind, path: of, change: how, .. } = &kept.finding;
            *kind == deviation.kind
                && *of == path
                && (*how == change || how.starts_with(&deviation.change))
                && known.iter().any(|known| grants.contains(known))
        };
        if let Some(kept) = self.kept.iter_mut().find(is_it) {
            let finding = &mut kept.finding;
            let is_other = finding.reverted != reverted;
            finding.reverted = reverted;
            finding.change = change;
            if undone.is_some() && reverted {
                finding.count = finding.count.saturating_add(1);
            }
            return if is_other { Noted::Other { is_reverted: reverted } } else { Noted::Known };
        }
        if self.kept.len() >= MOST_FINDINGS {
            self.left_out = self.left_out.saturating_add(1);
            return Noted::LeftOut;
        }
        let mut grants = grants.to_vec();
        grants.truncate(MOST_GRANTS_OF_FINDING);
        let (kind, at) = (deviation.kind, at.into());
        let finding = DriftFinding { grants, kind, path, change, reverted, count: 1, at };
        self.kept.push(Kept { finding, is_accepted: false });
        Noted::New
    }

    /// Takes down that the host was compared with what it was before a Grant.
    pub(super) fn compared(&mut self, compared: ComparedGrant) {
        self.compared.retain(|known| known.grant != compared.grant);
        if self.compared.len() >= MOST_COMPARED {
            self.compared.remove(0);
        }
        self.compared.push(compared);
    }

    /// Takes off what is old, and what was accepted and is compared with nothing any more.
    pub(super) fn tidy(&mut self, now: DateTime<Utc>, is_open: bool) {
        self.kept.retain(|kept| {
            let is_old = now - kept.finding.at.time() > KEPT;
            is_open || !(is_old || kept.is_accepted)
        });
        if self.kept.is_empty() {
            self.left_out = 0;
        }
    }

    /// Accepts all of it; how much that was.
    pub(super) fn accept(&mut self) -> usize {
        let open = self.kept.iter_mut().filter(|kept| !kept.is_accepted);
        let accepted = open.map(|kept| kept.is_accepted = true).count();
        let left_out = std::mem::take(&mut self.left_out) as usize;
        accepted + left_out
    }

    /// What the cluster is told.
    pub(super) fn report(&self) -> DriftReport {
        let open = self.kept.iter().filter(|kept| !kept.is_accepted);
        DriftReport {
            findings: open.map(|kept| kept.finding.clone()).collect(),
            left_out: self.left_out,
            compared: self.compared.clone(),
        }
    }

    /// Forgets all of it.
    pub(super) fn forget(places: &Places) {
        // What is not there need not go.
        let _ = fs::remove_file(path(places));
    }
}

/// What was found, and the file that it is in: whoever accepts it is another process, and writes there, too.
pub(super) struct Ledger {
    findings: Findings,
    file: Option<(u64, i64)>,
}

fn file(places: &Places) -> Option<(u64, i64)> {
    let found = fs::metadata(path(places)).ok()?;
    Some((found.ino(), found.mtime_nsec()))
}

impl Ledger {
    /// The one of this host.
    pub(super) fn open(places: &Places) -> Self {
        Self { file: file(places), findings: Findings::read(places) }
    }

    /// What it holds now.
    pub(super) fn read(&mut self, places: &Places) -> &mut Findings {
        let file = file(places);
        if file != self.file {
            *self = Self { file, findings: Findings::read(places) };
        }
        &mut self.findings
    }

    /// Keeps it.
    pub(super) fn write(
        &mut self,
        system: &dyn System,
        places: &Places,
    ) -> Result<(), JournalError> {
        self.findings.write(system, places)?;
        self.file = file(places);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lapse_crds::DriftKind;

    use super::super::deviation::Repair;
    use super::*;

    fn at(days: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + days)
    }

    fn change(path: &str) -> Deviation {
        Deviation {
            kind: DriftKind::Sudoers,
            path: path.into(),
            change: "was added".into(),
            is_guarded: true,
            repair: Repair::Take,
        }
    }

    fn of(grant: &str) -> Vec<String> {
        vec![grant.to_owned()]
    }

    #[test]
    fn what_comes_back_is_counted_and_told_once() {
        let mut findings = Findings::default();
        let undone = Ok(());
        for number in 1..4 {
            let noted = findings.note(&change("/x"), &of("g"), Some(&undone), at(0));
            assert_eq!(noted, if number == 1 { Noted::New } else { Noted::Known });
        }
        let report = findings.report();
        assert_eq!((report.findings.len(), report.findings[0].count), (1, 3));
        // Of another right it is another one.
        assert_eq!(findings.note(&change("/x"), &of("h"), None, at(0)), Noted::New);
        let stays = Err("Read-only file system".to_owned());
        let noted = findings.note(&change("/x"), &of("g"), Some(&stays), at(0));
        assert_eq!(noted, Noted::Other { is_reverted: false });
        let said = &findings.report().findings[0];
        assert_eq!(said.change, "was added (not undone: Read-only file system)");
        let noted = findings.note(&change("/x"), &of("g"), Some(&undone), at(0));
        assert_eq!(noted, Noted::Other { is_reverted: true });
        assert_eq!(findings.report().findings[0].change, "was added");
    }

    #[test]
    fn there_is_room_for_so_many_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        for number in 0..100 {
            findings.note(&change(&format!("/{number}")), &of("g"), None, at(0));
        }
        let long = "é".repeat(1000);
        assert_eq!((findings.report().findings.len(), findings.report().left_out), (64, 36));
        assert_eq!(findings.accept(), 100);
        assert_eq!((findings.report().findings.len(), findings.report().left_out), (0, 0));
        // What was accepted is not found again while it is compared with the same.
        assert_eq!(findings.note(&change("/1"), &of("g"), None, at(0)), Noted::Known);
        assert_eq!(findings.report().findings.len(), 0);
        findings.tidy(at(0), true);
        assert_eq!(findings.kept.len(), 64);
        findings.tidy(at(0), false);
        assert_eq!(findings.kept.len(), 0);
        findings.note(&change(&long), &of("g"), None, at(0));
        assert!(findings.report().findings[0].path.len() <= 256);
        findings.tidy(at(30), false);
        assert_eq!(findings.kept.len(), 1);
        findings.tidy(at(31), false);
        assert_eq!(findings.kept.len(), 0);
    }

    #[test]
    fn the_last_comparisons_are_told() {
        let mut findings = Findings::default();
        for number in 0..70 {
            let grant = format!("g{number}");
            findings.compared(ComparedGrant { grant, found: 0, reverted: 0, unseen: None });
        }
        let again = ComparedGrant { grant: "g69".into(), found: 1, reverted: 0, unseen: None };
        findings.compared(again.clone());
        let compared = findings.report().compared;
        assert_eq!((compared.len(), &compared[0].grant[..]), (64, "g6"));
        assert_eq!(compared[63], again);
    }
}
