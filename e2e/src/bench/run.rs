//! Runs the cases that are asked for, with each build that is asked for.

use anyhow::{Context as _, Result, ensure};

use super::cases::Case;
use super::machine::Machine;
use super::options::Options;
use super::report::{Build, Outcome, Report};
use super::setting::{Setting, Size};
use crate::plane::Progress;

/// Measures, and prints what was measured.
///
/// # Errors
/// If this is no release build and the size is not small, or if a case did not give all figures; the figures of the
/// others are printed.
pub async fn run(options: Options) -> Result<()> {
    if options.list {
        println!("{}", list());
        return Ok(());
    }
    let is_debug = cfg!(debug_assertions);
    ensure!(
        !is_debug || options.size == Size::Small,
        "measure a release build: cargo run --release …"
    );
    let own = if options.programs.is_some() { Build::Given } else { Build::Own };
    let mut builds = vec![(own, options.programs.clone())];
    if options.before.is_some() {
        builds.insert(0, (Build::Before, options.before.clone()));
    }
    let mut outcomes = Vec::new();
    for case in Case::chosen(&options.cases) {
        // One after the other, so that both find the machine in the same state.
        for (build, programs) in &builds {
            Progress::Steps.step(&format!("measuring {} ({build:?})", case.name()));
            let setting = Setting {
                programs: programs.clone(),
                size: options.size,
                agents: options.agents,
                folder: options.folder.clone(),
            };
            let mut figures = Vec::new();
            let done = case.run(&setting, &mut figures).await;
            let error = done.err().map(|error| failure(*build, &error));
            if let Some(error) = &error {
                Progress::Steps.step(error);
            }
            outcomes.push(Outcome { case: case.name(), build: *build, figures, error });
        }
    }
    let report = Report {
        machine: Machine::this()?,
        date: lapse_cluster::clock::now().format("%Y-%m-%d").to_string(),
        size: if is_debug { "small, a debug build" } else { options.size.word() },
        outcomes,
    };
    println!("{}", report.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    ensure!(!report.failed(), "some cases did not give all figures");
    Ok(())
}

fn failure(build: Build, error: &anyhow::Error) -> String {
    let error = format!("{error:#}");
    // What follows the first line is the end of a log.
    let error = error.lines().next().unwrap_or_default();
    match build {
        Build::Own => error.to_owned(),
        Build::Before | Build::Given => format!(
            "{error} (the chart is this workspace's own: programs of another build may not fit it)"
        ),
    }
}

fn list() -> String {
    let lines = Case::ALL.iter().map(|case| format!("{:<16} {}", case.name(), case.about()));
    lines.collect::<Vec<_>>().join("\n")
}
