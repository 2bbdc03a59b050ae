//! The tables in the chart's README: of values, generated from the comments in `values.yaml`, and of what the
//! programs may do, generated from [`lapse_cluster::rights`].

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lapse_cluster::rights::{Component, needs};
use serde_json::Value;

use crate::plane::workspace;

const BEGIN: &str = "<!-- values: begin (generated from values.yaml) -->\n";
const END: &str = "<!-- values: end -->";
const RIGHTS_END: &str = "<!-- rights: end -->";
const COMMAND: &str = "cargo run --bin chartdoc";

/// Writes the tables, or with `check` fails when the README has others.
///
/// # Errors
/// If a file cannot be read or written, a value has no comment, or the README differs.
pub fn run(check: bool) -> Result<()> {
    let chart = workspace::root().join("charts/lapse");
    let read = |name: &str| {
        let path = chart.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (values, readme) = (read("values.yaml")?, read("README.md")?);
    let mut written = replaced(&readme, BEGIN, END, &table(&values)?)?;
    for component in Component::ALL {
        let begin = format!("<!-- rights of {}: begin (generated) -->\n", component.account());
        written = replaced(&written, &begin, RIGHTS_END, &rights(component))?;
    }
    if check {
        ensure!(written == readme, "charts/lapse/README.md differs; run `{COMMAND}`");
        return Ok(());
    }
    fs::write(chart.join("README.md"), written).context("writing README.md")
}

/// The text with another table between the two marks.
fn replaced(text: &str, begin: &str, end: &str, table: &str) -> Result<String> {
    let missing = || format!("README.md has no `{}`", begin.trim_end());
    let (before, rest) = text.split_once(begin).with_context(missing)?;
    let (_, after) = rest.split_once(end).with_context(|| format!("README.md has no `{end}`"))?;
    Ok(format!("{before}{begin}{table}{end}{after}"))
}

/// A row for each right of a program.
fn rights(of: Component) -> String {
    let rows = needs(of).iter().map(|need| need.row() + "\n");
    std::iter::once("| What | Where | What for |\n|---|---|---|\n".to_owned()).chain(rows).collect()
}

/// A row for each value whose comment begins with two dashes.
fn table(text: &str) -> Result<String> {
    let values: Value = serde_saphyr::from_str(text).context("values.yaml")?;
    let mut table = "| Value | Default | What it does |\n|---|---|---|\n".to_owned();
    let mut path: Vec<&str> = Vec::new();
    let mut comment = None;
    let mut documented = Vec::new();
    for line in text.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let line = line.trim_start();
        if let Some(text) = line.strip_prefix("# -- ") {
            comment = Some(text);
        } else if let Some((key, _)) = line.split_once(':').filter(|(key, _)| is_key(key)) {
            path.truncate(depth);
            path.push(key);
            if let Some(text) = comment.take() {
                let value = values.pointer(&format!("/{}", path.join("/")));
                let default = value.with_context(|| format!("no value {}", path.join(".")))?;
                let text = text.replace('|', "\\|");
                table.extend(["| `", &path.join("."), "` | `", &default.to_string(), "` | "]);
                table.extend([text.as_str(), " |\n"]);
                documented.push(path.join("."));
            }
        }
    }
    let undocumented = leaves(&values, "", &documented);
    ensure!(undocumented.is_empty(), "no comment for {}", undocumented.join(", "));
    Ok(table)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The values without a row of their own or of what they are part of.
fn leaves(value: &Value, path: &str, documented: &[String]) -> Vec<String> {
    if documented.iter().any(|known| known == path) {
        return Vec::new();
    }
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(key, value)| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, documented)
            })
            .collect(),
        _ => vec![path.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        run(true).unwrap();
    }

    #[test]
    fn a_value_without_a_comment_is_refused() {
        let documented = "# top\na:\n  # -- What b is.\n  b: [1]\n";
        assert!(table(documented).unwrap().contains("| `a.b` | `[1]` | What b is. |"));
        let error = table(&format!("{documented}  c: 2\n")).unwrap_err().to_string();
        assert_eq!(error, "no comment for a.c");
    }
}
