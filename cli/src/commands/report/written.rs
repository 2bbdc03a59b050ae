//! Rows as they are written, one by one, so that none is held.

use std::io::{Stdout, Write as _};

use super::records::Done;
use super::row::Row;
use super::usage::Usage;
use crate::args::Format;
use crate::fault::Fault;
use crate::output::plain;

/// A column: its name, which is that of the same in JSON, and what it says.
type Column<T> = (&'static str, fn(&T) -> String);

const COLUMNS: [Column<Row>; 15] = [
    ("grant", |row| row.grant.clone()),
    ("namespace", |row| row.namespace.clone()),
    ("request", |row| row.request.clone()),
    ("holder", |row| row.holder.clone()),
    ("target", |row| row.target.clone()),
    ("policy", |row| row.policy.clone()),
    ("reason", |row| row.reason.clone()),
    ("ticket", |row| row.ticket.clone()),
    ("emergency", |row| row.emergency.to_string()),
    ("approvedBy", |row| row.approved_by.join(" ")),
    ("startedAt", |row| row.started_at.clone()),
    ("endedAt", |row| row.ended_at.clone()),
    ("endReason", |row| row.end_reason.clone()),
    ("review", |row| row.review.clone()),
    ("reviewedBy", |row| row.reviewed_by.clone()),
];
/// What an audit log adds.
const USAGE: [Column<Usage>; 5] = [
    ("calls", |usage| usage.calls.to_string()),
    ("rulesGranted", |usage| number(usage.granted)),
    ("rulesUsed", |usage| number(usage.used)),
    ("unusedRules", |usage| usage.unused.join("; ")),
    ("smallerRole", |usage| serde_json::to_string(&usage.smaller_role).unwrap_or_default()),
];

/// What the record of hosts adds.
const RECORD: [Column<Done>; 4] = [
    ("commands", |done| done.commands.to_string()),
    ("startedByThem", |done| done.started.to_string()),
    ("programs", |done| done.programs.iter().cloned().collect::<Vec<_>>().join(" ")),
    ("gaps", |done| done.gaps.to_string()),
];

/// What goes beyond the columns that every report has.
#[derive(Clone, Copy)]
pub(super) struct More {
    /// What an audit log adds.
    pub(super) usage: bool,
    /// What the record of hosts adds.
    pub(super) record: bool,
}

/// The names of columns.
fn header<T>(columns: &[Column<T>]) -> impl Iterator<Item = &'static str> {
    columns.iter().map(|(name, _)| *name)
}

/// What columns say; nothing of what there is not.
fn cells<T>(columns: &[Column<T>], of: Option<&T>) -> impl Iterator<Item = String> {
    columns.iter().map(move |(_, cell)| of.map(cell).unwrap_or_default())
}

/// Where rows go.
pub(super) enum Written {
    Csv { writer: Box<csv::Writer<Stdout>>, more: More },
    Json { count: usize },
}

impl Written {
    pub(super) fn new(format: Option<Format>, more: More) -> Result<Self, Fault> {
        match format {
            None | Some(Format::Csv) => {
                let mut writer = Box::new(csv::Writer::from_writer(std::io::stdout()));
                let names = header(&COLUMNS).chain(header(if_any(more.usage, &USAGE)));
                let names = names.chain(header(if_any(more.record, &RECORD)));
                writer.write_record(names).map_err(failed)?;
                Ok(Self::Csv { writer, more })
            }
            Some(Format::Json) => Ok(Self::Json { count: 0 }),
            Some(_) => Err(Fault::Usage("a report is written as -o csv or -o json".to_owned())),
        }
    }

    pub(super) fn row(&mut self, row: &Row) -> Result<(), Fault> {
        match self {
            Self::Csv { writer, more } => {
                let used = cells(if_any(more.usage, &USAGE), row.usage.as_ref());
                let done = cells(if_any(more.record, &RECORD), row.record.as_ref());
                let cells = cells(&COLUMNS, Some(row)).chain(used).chain(done);
                writer.write_record(cells.map(|cell| harmless(&cell))).map_err(failed)
            }
            Self::Json { count } => {
                let text =
                    serde_json::to_string(row).map_err(|error| Fault::Other(error.to_string()))?;
                let before = if *count == 0 { "[\n" } else { ",\n" };
                *count += 1;
                Ok(write!(std::io::stdout().lock(), "{before}{text}")?)
            }
        }
    }

    pub(super) fn end(self) -> Result<(), Fault> {
        match self {
            Self::Csv { mut writer, .. } => Ok(writer.flush()?),
            Self::Json { count } => {
                let end = if count == 0 { "[]" } else { "\n]" };
                Ok(writeln!(std::io::stdout().lock(), "{end}")?)
            }
        }
    }
}

fn if_any<T>(is_any: bool, columns: &[Column<T>]) -> &[Column<T>] {
    if is_any { columns } else { &[] }
}

/// The end of whoever reads is the end of a report, as of every other output.
fn failed(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Fault::Output(error),
        other => Fault::Other(format!("{other:?}")),
    }
}

fn number(number: Option<usize>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// What people wrote, so that no spreadsheet takes it for a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>), and no terminal is steered by it.
fn harmless(cell: &str) -> String {
    let cell = plain(cell);
    if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;
    use serde_json::json;

    use super::super::usage::tests::grant;
    use super::*;

    #[test]
    fn columns_are_named_as_in_json() {
        let row = Row::of(&grant(&json!([])), None, (None, None));
        let written: Vec<String> = cells(&COLUMNS, Some(&row)).collect();
        assert_eq!(written[..5], ["fix-0a", "shop", "fix", "alice", "ClusterRole edit in shop"]);
        let row = serde_json::to_value(row).unwrap();
        let fields: BTreeSet<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, header(&COLUMNS).collect());
    }

    #[rstest]
    #[case("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")")]
    #[case("@SUM(1)", "'@SUM(1)")]
    #[case("\t=1", " =1")]
    #[case("Checkout fails = bad", "Checkout fails = bad")]
    fn a_reason_is_no_formula(#[case] cell: &str, #[case] written: &str) {
        assert_eq!(harmless(cell), written);
    }
}
