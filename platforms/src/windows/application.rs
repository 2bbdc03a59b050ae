//! One program with all rights, which the agent starts for its holder. All that it starts is in a job object, which none of it
//! can leave: the end of the job is the end of all of it, and so is the death of the agent, which alone holds the job.

use super::access::{Part, changed_by};
use super::calls::{CallError, Calls};
use crate::driver::Driver;
use crate::host::Bench;
use crate::order::{Gives, OrderId, Program, Undo};
use crate::record::{Record, Stage};

/// What the job object of an order is called.
#[must_use]
pub fn job_name(id: &OrderId) -> String {
    format!(r"Global\Lapse-{id}")
}

/// The folders on the way to a file, the outermost first, and the file itself. `None`: it is no path of a program that is the
/// same whoever reads it.
fn parts(path: &str) -> Option<Vec<String>> {
    let rest = path.get(3..).filter(|rest| !rest.is_empty())?;
    let mut head = path.chars();
    let is_drive = head.next()?.is_ascii_alphabetic() && head.next() == Some(':');
    if !is_drive || head.next() != Some('\\') || !rest.to_ascii_lowercase().ends_with(".exe") {
        return None;
    }
    let is_plain = |c: char| !c.is_control() && !"<>:\"/|?*".contains(c);
    let mut so_far = path[..3].to_owned();
    let mut all = vec![so_far.clone()];
    for part in rest.split('\\') {
        // Windows leaves out dots and spaces at the end of a name.
        if part.is_empty() || part.ends_with(['.', ' ']) || !part.chars().all(is_plain) {
            return None;
        }
        if !so_far.ends_with('\\') {
            so_far.push('\\');
        }
        so_far.push_str(part);
        all.push(so_far.clone());
    }
    Some(all)
}

/// Looks at the file of a program: that it is what was approved, and that nobody but the system and its administrators may
/// change it.
///
/// # Errors
/// If it is not, in words that are shown on the request and to who runs it.
pub fn verify(calls: &dyn Calls, program: &Program) -> Result<(), String> {
    let Program { path, args: _, env: _, sha256 } = program;
    let parts = parts(path).ok_or_else(|| {
        format!(
            "{path} is not the whole path of a program, such as C:\\Program Files\\Dump\\dump.exe"
        )
    })?;
    let expected = sha256.as_ref().ok_or_else(|| {
        format!("{path} has no sha256 in the policy: on Windows nothing else tells which file was approved")
    })?;
    let real = calls.real_path(path).map_err(|error| format!("looking at {path}: {error}"))?;
    if !real.eq_ignore_ascii_case(path) {
        return Err(format!("{path} leads to {real}: have the policy name that"));
    }
    for (index, part) in parts.iter().enumerate() {
        let words = |error: CallError| format!("looking at {part}: {error}");
        let access = calls.access(part).map_err(words)?;
        let is_own = index + 2 >= parts.len();
        if let Some(who) = changed_by(&access, if is_own { Part::Own } else { Part::Above }) {
            return Err(format!(
                "{part} {who}, so whoever may change it could run anything with all rights. Let administrators alone write to it"
            ));
        }
    }
    let found = calls.digest(path).map_err(|error| format!("reading {path}: {error}"))?;
    if found == *expected {
        return Ok(());
    }
    Err(format!(
        "{path} has the digest {found}, and the one that was approved has {expected}: install that file, or have the policy \
         name this one"
    ))
}

/// The environment that a program sees: what the policy says, and what no program does without.
///
/// # Errors
/// If the order is not one for an application, or is not in force.
pub fn environment(record: &Record, windows: &str) -> Result<Vec<(String, String)>, String> {
    let Gives::Application(program) = &record.right.gives else {
        return Err("this right is not one to an application".to_owned());
    };
    if record.stage != Stage::Active {
        return Err("your access to it has ended: request it again".to_owned());
    }
    let system = format!(r"{windows}\System32");
    let own = [
        ("SystemRoot", windows.to_owned()),
        ("Path", format!("{system};{windows}")),
        ("TEMP", format!(r"{windows}\Temp")),
        ("TMP", format!(r"{windows}\Temp")),
        ("LAPSE_GRANT", record.grant.clone()),
    ];
    let is_own = |name: &str| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let asked = program.env.iter().filter(|(name, _)| !is_own(name));
    let asked = asked.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>();
    Ok(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain(asked).collect())
}

pub(super) struct Application<'a> {
    pub(super) calls: &'a dyn Calls,
    pub(super) id: &'a OrderId,
    pub(super) program: &'a Program,
}

impl<'bench> Driver<Bench<'bench>, Undo> for Application<'_> {
    fn prepare(&self, _: &Bench<'bench>) -> Result<Undo, String> {
        verify(self.calls, self.program)?;
        Ok(Undo::default())
    }

    fn apply(&self, _: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        Ok(())
    }

    /// There is nothing of it but the record.
    fn observe(&self, _: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        Ok(true)
    }

    /// The record says that it ends. What starts looks at that once it is in the job, so it is ended, or sees it.
    fn revert(&self, _: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        Ok(())
    }

    fn stop(&self, _: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        let ended = self.calls.end_job(&job_name(self.id));
        ended.map_err(|error| format!("ending what runs: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta};
    use rstest::rstest;

    use super::*;
    use crate::clock::Reading;
    use crate::order::{Named, Right};

    #[rstest]
    #[case::a_program(r"C:\a b\c.exe", Some(vec![r"C:\", r"C:\a b", r"C:\a b\c.exe"]))]
    #[case::of_the_drive(r"d:\c.EXE", Some(vec![r"d:\", r"d:\c.EXE"]))]
    #[case::a_script(r"C:\a\c.cmd", None)]
    #[case::of_another_host(r"\\host\share\c.exe", None)]
    #[case::of_a_device(r"\\?\C:\c.exe", None)]
    #[case::from_where_it_is_called(r"c.exe", None)]
    #[case::of_the_folder_of_a_drive(r"C:c.exe", None)]
    #[case::up(r"C:\a\..\c.exe", None)]
    #[case::a_stream(r"C:\a\c:d.exe", None)]
    #[case::a_name_that_is_cut(r"C:\a.\c.exe", None)]
    #[case::nothing_between(r"C:\a\\c.exe", None)]
    #[case::other_slashes(r"C:/a/c.exe", None)]
    #[case::not_in_ascii("\u{e4}:\\c.exe", None)]
    fn a_path_is_one_that_is_read_in_one_way(
        #[case] path: &str,
        #[case] expected: Option<Vec<&str>>,
    ) {
        let found = parts(path);
        assert_eq!(
            found.as_deref(),
            expected
                .map(|all| { all.into_iter().map(str::to_owned).collect::<Vec<_>>() })
                .as_deref()
        );
    }

    fn record(gives: Gives, stage: Stage) -> Record {
        let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let now = Reading { wall, boottime_ms: 0, boot_id: "a".into() };
        let user = Named { name: "al".into(), id: "S-1-5-21-1-2-3-1001".into() };
        let right = Right { user, expires_at: wall + TimeDelta::hours(1), gives, log_off: false };
        let id = OrderId::read(&"a".repeat(32)).unwrap();
        Record { stage, ..Record::received(id, "ops-1".into(), right, &now) }
    }

    #[test]
    fn the_environment_is_that_of_the_policy_and_nobody_elses() {
        let env = [("DUMP_TO", r"D:\dumps"), ("PATH", r"C:\evil"), ("lapse_grant", "forged")];
        let env: BTreeMap<String, String> =
            env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let program = Program { path: r"C:\d.exe".into(), args: vec![], env, sha256: None };
        let record = record(Gives::Application(program), Stage::Active);
        let expected = [
            ("SystemRoot", r"C:\Windows"),
            ("Path", r"C:\Windows\System32;C:\Windows"),
            ("TEMP", r"C:\Windows\Temp"),
            ("TMP", r"C:\Windows\Temp"),
            ("LAPSE_GRANT", "ops-1"),
            ("DUMP_TO", r"D:\dumps"),
        ];
        let expected: Vec<(String, String)> =
            expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(environment(&record, r"C:\Windows"), Ok(expected));
    }

    #[test]
    fn nothing_starts_by_what_is_over_or_is_another_right() {
        let program =
            Program { path: r"C:\d.exe".into(), args: vec![], env: BTreeMap::new(), sha256: None };
        for stage in [Stage::Received, Stage::Giving, Stage::Ending, Stage::Over] {
            let record = record(Gives::Application(program.clone()), stage);
            let said = environment(&record, r"C:\Windows").unwrap_err();
            assert_eq!(said, "your access to it has ended: request it again", "{stage:?}");
        }
        let other = environment(&record(Gives::Enabled, Stage::Active), r"C:\Windows");
        assert_eq!(other, Err("this right is not one to an application".to_owned()));
    }
}
