//! The figures as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::figure::{Figure, Part, Reach, Summary};
use super::machine::Machine;

/// Whose programs were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Build {
    /// Those of the folder named with `--before`.
    Before,
    /// Those of the folder named with `--programs`.
    Given,
    /// This workspace's own.
    Own,
}

/// What a case gave with one build.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) case: &'static str,
    pub(super) build: Build,
    pub(super) figures: Vec<Figure>,
    /// Why there are no more of them.
    pub(super) error: Option<String>,
}

/// All of a run.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// The day, as `2026-01-31`.
    pub(super) date: String,
    pub(super) size: &'static str,
    pub(super) outcomes: Vec<Outcome>,
}

/// The columns after the first, each with its width.
const COLUMNS: [(&str, usize); 9] = [
    ("n", 6),
    ("p50", 9),
    ("p90", 9),
    ("p99", 9),
    ("max", 9),
    ("beside", 9),
    ("ratio", 7),
    ("reach", 14),
    ("", 4),
];

impl Report {
    /// Whether some case did not give all figures.
    pub(super) fn failed(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.error.is_some())
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("{}; {}; size {}\n", self.machine.words(), self.date, self.size);
        for outcome in &self.outcomes {
            outcome_lines(outcome, &mut table);
        }
        let quotients = self.quotients();
        if !quotients.is_empty() {
            table += "\nbefore and now\n";
        }
        for (name, part, before, now, unit) in quotients {
            let times = before / now;
            let _ = writeln!(
                table,
                "  {name} ({}): {} → {} {unit}, {times:.1} times less",
                part_word(part),
                number(before),
                number(now),
            );
        }
        table
    }

    pub(super) fn json(&self) -> Value {
        let outcome = |outcome: &Outcome| {
            let Outcome { case, build, figures, error } = outcome;
            let figures: Vec<Value> = figures.iter().map(figure_json).collect();
            json!({"case": case, "build": build, "figures": figures, "error": error})
        };
        let quotient = |(name, part, before, now, unit): (String, Part, f64, f64, &str)| {
            json!({
                "figure": name, "part": part, "unit": unit, "before": before, "now": now,
                "beforeByNow": before / now,
            })
        };
        json!({
            "machine": self.machine, "date": self.date, "size": self.size,
            "outcomes": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "quotients": self.quotients().into_iter().map(quotient).collect::<Vec<_>>(),
        })
    }

    /// Each figure that both builds gave: its name, the part that is compared, before, now, and the unit.
    fn quotients(&self) -> Vec<(String, Part, f64, f64, &'static str)> {
        let of = |build| {
            let outcomes = self.outcomes.iter().filter(move |outcome| outcome.build == build);
            outcomes.flat_map(|outcome| outcome.figures.iter().map(|figure| (outcome.case, figure)))
        };
        let mut quotients = Vec::new();
        for (case, now) in of(Build::Own) {
            let before =
                of(Build::Before).find(|(other, before)| *other == case && before.what == now.what);
            if let Some((_, before)) = before {
                let name = format!("{case}: {}", now.what);
                let part = now.part;
                let parts = (before.lapse.part(part), now.lapse.part(part));
                quotients.push((name, part, parts.0, parts.1, now.unit));
            }
        }
        quotients
    }
}

fn outcome_lines(outcome: &Outcome, table: &mut String) {
    let build = match outcome.build {
        Build::Before => " (before)",
        Build::Given => " (programs of the folder)",
        Build::Own => "",
    };
    let title = format!("{}{build}", outcome.case);
    let _ = write!(table, "\n{title:<52}");
    for (column, width) in COLUMNS {
        let _ = write!(table, "{column:>width$}");
    }
    table.truncate(table.trim_end().len());
    table.push('\n');
    outcome.figures.iter().for_each(|figure| figure_lines(figure, table));
    if let Some(error) = &outcome.error {
        let _ = writeln!(table, "  no more figures: {error}");
    }
}

fn figure_lines(figure: &Figure, table: &mut String) {
    let Summary { count, p50, p90, p99, max } = figure.lapse;
    let beside = figure.beside.as_ref().map(|beside| beside.figures.part(figure.part));
    let reached = figure.is_reached().map_or("", |reached| if reached { "yes" } else { "no" });
    let cells = [
        count.to_string(),
        number(p50),
        number(p90),
        number(p99),
        number(max),
        beside.map(number).unwrap_or_default(),
        figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        figure.reach.map(|reach| reach_words(reach, figure.part)).unwrap_or_default(),
        reached.to_owned(),
    ];
    let name = format!("{}, {}", figure.what, figure.unit);
    let _ = write!(table, "  {name:<50}");
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        let _ = write!(table, "{cell:>width$}");
    }
    table.truncate(table.trim_end().len());
    table.push('\n');
    if let Some(beside) = &figure.beside {
        let _ = writeln!(table, "    beside: {} ({})", beside.what, part_word(figure.part));
    }
    if let Some(note) = &figure.note {
        let _ = writeln!(table, "    {note}");
    }
}

fn figure_json(figure: &Figure) -> Value {
    let mut value = json!(figure);
    value["ratio"] = json!(figure.ratio());
    value["reached"] = json!(figure.is_reached());
    value
}

fn reach_words(reach: Reach, part: Part) -> String {
    let part = part_word(part);
    match reach {
        Reach::AtMost(limit) => format!("{part} ≤ {limit}"),
        Reach::Times(times) => format!("{part} ≤ {times}×"),
        Reach::More(more) => format!("{part} ≤ +{more}"),
    }
}

fn part_word(part: Part) -> &'static str {
    match part {
        Part::P50 => "p50",
        Part::P99 => "p99",
        Part::Max => "max",
    }
}

/// With as many digits as it deserves.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let figures = |values: &[f64]| {
            vec![
                Figure::new("call to binding", "ms", values.to_vec())
                    .beside("one plain write", vec![4.0])
                    .reach(Part::P50, Reach::Times(7.0)),
                Figure::new("memory", "MiB", vec![24.26]).note("at rest"),
            ]
        };
        let machine = Machine { cores: 2, memory_gib: 24, system: "Debian 12".to_owned() };
        Report {
            machine,
            date: "2026-01-31".to_owned(),
            size: "full",
            outcomes: vec![
                outcome("approval", Build::Before, figures(&[120.0]), None),
                outcome("approval", Build::Own, figures(&[12.0, 20.0]), None),
                outcome("burst", Build::Own, Vec::new(), Some("too slow")),
            ],
        }
    }

    fn outcome(
        case: &'static str,
        build: Build,
        figures: Vec<Figure>,
        error: Option<&str>,
    ) -> Outcome {
        Outcome { case, build, figures, error: error.map(str::to_owned) }
    }

    #[test]
    fn the_table_says_what_is_reached_and_what_failed() {
        let table = report().table();
        for line in [
            "2 cores, 24 GiB, Debian 12; 2026-01-31; size full",
            "approval (before)",
            "call to binding, ms",
            "beside: one plain write (p50)",
            "p50 ≤ 7×  no",
            "p50 ≤ 7× yes",
            "at rest",
            "no more figures: too slow",
            "approval: call to binding (p50): 120 → 12.0 ms, 10.0 times less",
        ] {
            assert!(table.contains(line), "{line:?} is missing:\n{table}");
        }
        assert!(report().failed());
    }

    #[test]
    fn the_json_holds_ratios_and_judgement() {
        let json = report().json();
        let at = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/machine/cores"), 2);
        assert_eq!(at("/outcomes/0/build"), "before");
        assert_eq!(at("/outcomes/0/figures/0/ratio"), 30.0);
        assert_eq!(at("/outcomes/1/figures/0/reached"), true);
        assert_eq!(at("/outcomes/1/figures/0/lapse/max"), 20.0);
        assert_eq!(at("/outcomes/1/figures/1/beside"), Value::Null);
        assert_eq!(at("/outcomes/2/error"), "too slow");
        assert_eq!(at("/quotients/0/beforeByNow"), 10.0);
    }
}
