//! What was done by which right on a host, from the record that the gateway exports (a line of JSON for each entry).
//!
//! An entry counts for a Grant if it is of the host that the Grant is for: what another host says of it is that host's alone.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use lapse_crds::Grant;
use lapse_engine::activity::{Event, Exported, STREAM};
use serde::Serialize;

use super::lines;
use crate::fault::Fault;

/// How many programs are named of each Grant.
const MOST_PROGRAMS: usize = 64;

/// What was done by one right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// How many commands were called.
    pub(super) commands: u64,
    /// What they started.
    pub(super) started: u64,
    /// The programs that were called, at most 64 of them.
    pub(super) programs: BTreeSet<String>,
    /// How many entries say that something is missing.
    pub(super) gaps: u64,
}

/// What was done by rights on hosts.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// By the Grant and the UID of the Endpoint.
    by_grant: HashMap<(String, String), Done>,
    /// How many entries there were.
    entries: u64,
}

/// Reads records; `-` is standard input.
pub(super) fn read(files: &[PathBuf]) -> Result<Records, Fault> {
    let mut records = Records::default();
    for path in files {
        let before = records.entries;
        let failed = |error| Fault::Other(format!("reading {}: {error}", path.display()));
        let log = lines::open(path).map_err(failed)?;
        lines::each(log, |line| records.note(line)).map_err(failed)?;
        if records.entries == before {
            return Err(none_in(path));
        }
    }
    Ok(records)
}

fn none_in(path: &Path) -> Fault {
    Fault::Other(format!(
        "{} has no entry of {STREAM}, one per line as JSON (the standard output of lapse-gateway)",
        path.display()
    ))
}

impl Records {
    fn note(&mut self, line: Option<&[u8]>) {
        let entry = line.and_then(|line| serde_json::from_slice::<Exported>(line).ok());
        let Some(Exported { line, entry }) = entry.filter(|it| it.line.stream == STREAM) else {
            // Of another log, most often: standard error is collected beside it.
            return;
        };
        self.entries += 1;
        let Some(under) = entry.under else { return };
        let done = self.by_grant.entry((under.grant, line.endpoint_uid)).or_default();
        match entry.event {
            Event::Command(call) if call.is_child => done.started += 1,
            Event::Command(call) => {
                done.commands += 1;
                if done.programs.len() < MOST_PROGRAMS {
                    done.programs.insert(call.program);
                }
            }
            Event::Lost { .. } => done.gaps += 1,
            Event::Session { .. } | Event::Exit { .. } | Event::Refused { .. } => {}
        }
    }

    /// What was done by a Grant.
    pub(super) fn by(&self, grant: &Grant) -> Done {
        let endpoint = grant.spec.target.endpoint.as_ref().and_then(|target| target.uid.clone());
        let found = endpoint.and_then(|uid| self.by_grant.get(&(grant.name_any(), uid)));
        found.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::usage::tests::grant;
    use super::*;

    fn line(uid: &str, more: &Value) -> String {
        let mut line = json!({
            "stream": STREAM, "heardAt": "2026-01-01T00:00:01.000000Z", "endpoint": "web-1", "endpointUid": uid,
            "series": "a", "sequence": 1, "at": "2026-01-01T00:00:00.000000Z", "user": "al",
            "grant": "fix-0a", "request": {"namespace": "shop", "name": "fix", "uid": "u"}, "holder": "alice",
        });
        for (name, value) in more.as_object().unwrap() {
            line[name] = value.clone();
        }
        line.to_string()
    }

    #[test]
    fn what_a_host_says_counts_for_the_grants_on_it() {
        let command = |program: &str, is_child: bool| json!({"kind": "Command", "session": "1.2", "program": program, "isChild": is_child});
        let log = [
            line("u-1", &command("/usr/bin/bash", false)),
            line("u-1", &command("/usr/bin/id", true)),
            line("u-1", &json!({"kind": "Exit", "session": "1.2", "exit": 0})),
            line("u-1", &json!({"kind": "Lost", "why": "the log of sudo was full"})),
            line("u-2", &command("/usr/bin/ls", false)),
            line(
                "u-1",
                &json!({"kind": "Command", "session": "1.3", "program": "/bin/true", "grant": null}),
            ),
            "{\"level\":\"INFO\",\"message\":\"ready\"}".to_owned(),
        ];
        let mut records = Records::default();
        lines::each(log.join("\n").as_bytes(), |line| records.note(line)).unwrap();
        assert_eq!(records.entries, 6);
        let mut on_host = grant(&json!([]));
        assert_eq!(records.by(&on_host), Done::default());
        on_host.spec.target.endpoint =
            serde_json::from_value(json!({"name": "web-1", "uid": "u-1", "admin": {}})).unwrap();
        let programs = BTreeSet::from(["/usr/bin/bash".to_owned()]);
        assert_eq!(records.by(&on_host), Done { commands: 1, started: 1, programs, gaps: 1 });
    }

    #[test]
    fn a_file_without_entries_is_told() {
        let told = none_in(Path::new("gateway.log")).to_string();
        assert_eq!(
            told,
            "gateway.log has no entry of lapse.dev/session-record, one per line as JSON (the standard output of lapse-gateway)"
        );
    }
}
