//! What the guardian knows, and what the disk says.

use lapse_crds::DriftKind;
use tracing::error;

use super::super::DriftError;
use super::super::accounts::without_own;
use super::super::critical::{ACCOUNTS, PROGRAM};
use super::super::deviation::{Deviation, Edit, Repair};
use super::super::entry::{Content, Entry, Snapshot};
use super::super::look::{Scope, look};
use super::super::own::{Own, is_own};
use super::super::period::{Period, RELEASE, read_before, write_before};
use super::{Guardian, Open, Outcome};
use crate::journal::Records;
use crate::places::Id;

impl Guardian {
    /// Takes over what the disk says. What is known already is not unlearned: who is root may write there.
    pub(super) fn follow(&mut self, records: &Records) -> Result<(), DriftError> {
        let file = Period::read(&self.places);
        let broken = file.as_ref().err().map(ToString::to_string);
        let file = file.unwrap_or_default();
        if let Some(open) = &mut self.open {
            let known = open.period.clone().with_those_of(file.clone());
            // Whoever was given a right since found the host as it was then: nothing was looked after meanwhile.
            if open.period.is_settled() && !known.is_settled() {
                let before = read_before(&self.places).ok().flatten();
                open.before = before.unwrap_or_else(|| open.before.clone());
            }
            if file.as_ref() != Some(&known) {
                // Somebody else has forgotten it while no right is known any more: a host that is nobody.
                let is_any_known =
                    known.watched.iter().any(|of| records.read.contains_key(&Id::of(&of.grant)));
                if file.is_none() && !is_any_known {
                    self.open = None;
                    return Ok(());
                }
                known.write(&*self.system, &self.places)?;
                if !matches!(read_before(&self.places), Ok(Some(_))) {
                    write_before(&*self.system, &self.places, &open.before)?;
                }
            }
            open.period = known;
            return Ok(());
        }
        let before = read_before(&self.places).unwrap_or_default();
        self.open = file.zip(before).map(|(period, before)| Open { period, before });
        if let Some(why) = broken {
            error!(why, "what the host was before access was granted is lost");
        }
        let release = self.open.as_ref().map(|open| open.period.release.clone());
        if let Some(release) = release.filter(|release| release != RELEASE) {
            self.upgraded(&release)?;
        }
        Ok(())
    }

    /// Another release of the agent was installed meanwhile: what it brought is what is looked after from now on.
    fn upgraded(&mut self, release: &str) -> Result<(), DriftError> {
        self.adopt(|_, entry| entry.kind == DriftKind::Agent)?;
        if let Some(open) = &mut self.open {
            RELEASE.clone_into(&mut open.period.release);
        }
        let upgrade = Deviation {
            kind: DriftKind::Agent,
            path: PROGRAM.to_owned(),
            change: format!("was exchanged for that of release {RELEASE}, from {release}"),
            is_guarded: true,
            repair: Repair::Nothing("another release is installed"),
        };
        let (now, grants) = (self.clock.read()?.wall, self.grants());
        let noted = self.findings.read(&self.places).note(&upgrade, &grants, None, now);
        self.count(noted, false, &grants);
        self.findings.write(&*self.system, &self.places)?;
        if let Some(open) = &self.open {
            open.period.write(&*self.system, &self.places)?;
        }
        Ok(())
    }

    /// Takes what there is of these for what there was.
    pub(super) fn adopt(&mut self, are: impl Fn(&str, &Entry) -> bool) -> Result<(), DriftError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let now = look(&self.places, Scope::Guarded, None).entries;
        open.before.entries.retain(|path, entry| !are(path, entry));
        let adopted = now.into_iter().filter(|(path, entry)| are(path, entry) && !is_own(path));
        open.before.entries.extend(adopted);
        write_before(&*self.system, &self.places, &open.before)?;
        Ok(())
    }

    /// Takes what is left as it is for what there was: it was told, and whoever else holds a right has not changed it. What
    /// was undone is as it was; what nobody has told stays a change.
    pub(super) fn adopt_left(
        &mut self,
        outcome: &Outcome,
        now: &Snapshot,
        records: &Records,
    ) -> Result<(), DriftError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let left = outcome.left.iter().chain(&outcome.back).filter(|of| !is_own(&of.path));
        let (lines, files): (Vec<&Deviation>, Vec<&Deviation>) =
            left.partition(|of| is_of_lines(&of.repair) && ACCOUNTS.contains(&&*of.path));
        for Deviation { path, .. } in files {
            match now.entries.get(path) {
                Some(entry) => _ = open.before.entries.insert(path.clone(), entry.clone()),
                None => _ = open.before.entries.remove(path),
            }
        }
        if !lines.is_empty() {
            let undone = outcome.undone.iter().filter_map(|of| match &of.repair {
                Repair::Edits(edits) => Some(edits),
                _ => None,
            });
            let undone: Vec<&Edit> = undone.flatten().collect();
            for path in ACCOUNTS {
                let Some(entry) = now.entries.get(path) else { continue };
                let mut entry = entry.clone();
                if let Content::Text(text) = &mut entry.content {
                    let edits = undone.iter().filter(|edit| edit.path() == path);
                    *text = edits.fold(std::mem::take(text), |text, edit| edit.apply(&text));
                }
                open.before.entries.insert(path.to_owned(), entry);
            }
            without_own(&mut open.before.entries, &Own::of(records).members);
        }
        write_before(&*self.system, &self.places, &open.before)?;
        Ok(())
    }
}

/// Whether a change is one of lines of the accounts.
fn is_of_lines(repair: &Repair) -> bool {
    matches!(repair, Repair::Edits(_) | Repair::Nothing(_))
}
