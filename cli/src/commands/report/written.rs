//! Rows as they are written, one by one, so that none is held.

use std::io::{Stdout, Write as _};

use super::row::Row;
use super::usage::Usage;
use crate::args::Format;
use crate::fault::Fault;
use crate::output::plain;

const COLUMNS: [&str; 15] = [
    "grant",
    "namespace",
    "request",
    "holder",
    "target",
    "policy",
    "reason",
    "ticket",
    "emergency",
    "approvedBy",
    "startedAt",
    "endedAt",
    "endReason",
    "review",
    "reviewedBy",
];
/// What an audit log adds.
const USAGE: [&str; 5] = ["calls", "rulesGranted", "rulesUsed", "unusedRules", "smallerRole"];

/// Where rows go.
pub(super) enum Written {
    Csv { writer: Box<csv::Writer<Stdout>>, has_usage: bool },
    Json { count: usize },
}

impl Written {
    pub(super) fn new(format: Option<Format>, has_usage: bool) -> Result<Self, Fault> {
        match format {
            None | Some(Format::Csv) => {
                let mut writer = Box::new(csv::Writer::from_writer(std::io::stdout()));
                let more: &[&str] = if has_usage { &USAGE } else { &[] };
                writer.write_record(COLUMNS.iter().chain(more)).map_err(failed)?;
                Ok(Self::Csv { writer, has_usage })
            }
            Some(Format::Json) => Ok(Self::Json { count: 0 }),
            Some(_) => Err(Fault::Usage("a report is written as -o csv or -o json".to_owned())),
        }
    }

    pub(super) fn row(&mut self, row: &Row) -> Result<(), Fault> {
        match self {
            Self::Csv { writer, has_usage } => {
                let mut cells = cells(row);
                if *has_usage {
                    cells.extend(usage(row.usage.as_ref()));
                }
                writer.write_record(cells.iter().map(|cell| harmless(cell))).map_err(failed)
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

/// The end of whoever reads is the end of a report, as of every other output.
fn failed(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Fault::Output(error),
        other => Fault::Other(format!("{other:?}")),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let Row {
        grant,
        namespace,
        request,
        holder,
        target,
        policy,
        reason,
        ticket,
        emergency,
        approved_by,
        started_at,
        ended_at,
        end_reason,
        review,
        reviewed_by,
        usage: _,
    } = row.clone();
    vec![
        grant,
        namespace,
        request,
        holder,
        target,
        policy,
        reason,
        ticket,
        emergency.to_string(),
        approved_by.join(" "),
        started_at,
        ended_at,
        end_reason,
        review,
        reviewed_by,
    ]
}

fn usage(usage: Option<&Usage>) -> Vec<String> {
    let Some(Usage { calls, granted, used, unused, smaller_role }) = usage else {
        return vec![String::new(); USAGE.len()];
    };
    let number =
        |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    vec![
        calls.to_string(),
        number(*granted),
        number(*used),
        unused.join("; "),
        serde_json::to_string(smaller_role).unwrap_or_default(),
    ]
}

/// What people wrote, so that no spreadsheet takes it for a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>), and no terminal is steered by it.
fn harmless(cell: &str) -> String {
    let cell = plain(cell);
    if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")")]
    #[case("@SUM(1)", "'@SUM(1)")]
    #[case("\t=1", " =1")]
    #[case("Checkout fails = bad", "Checkout fails = bad")]
    fn a_reason_is_no_formula(#[case] cell: &str, #[case] written: &str) {
        assert_eq!(harmless(cell), written);
    }
}
