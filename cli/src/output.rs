//! Tables, and whole objects.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use kube::ResourceExt;
use kube::core::{Resource, object::HasStatus};
use lapse_crds::{AccessRequest, RequestPhase};
use serde::Serialize;
use serde_json::json;
use tabwriter::TabWriter;

use crate::args::Format;
use crate::fault::Fault;

/// A table, as kubectl prints it.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, with columns aligned, and no space at their ends.
    pub(crate) fn lines(&self) -> Result<Vec<String>, Fault> {
        let mut writer = TabWriter::new(Vec::new()).padding(3).minwidth(0).ansi(true);
        for row in &self.rows {
            writeln!(writer, "{}", row.join("\t"))?;
        }
        let written = writer.into_inner().map_err(|error| Fault::Other(error.to_string()))?;
        Ok(String::from_utf8_lossy(&written)
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect())
    }

    pub(crate) fn print(&self) -> Result<(), Fault> {
        for line in self.lines()? {
            say(&line)?;
        }
        Ok(())
    }
}

/// What somebody else wrote, on one line: without what would steer the terminal, or turn the direction of what follows.
pub(crate) fn plain(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |character| match character {
        '\t' | '\n' => ' ',
        other if steers(other) => char::REPLACEMENT_CHARACTER,
        other => other,
    };
    text.chars().map(shown).collect()
}

/// How many there are, with what is said of one or of several: `1 grant is`, `2 grants are`.
pub(crate) fn number(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// A line to standard output. Colours are left out where it is no terminal, and where `NO_COLOR` is set.
pub(crate) fn say(line: &str) -> Result<(), Fault> {
    Ok(writeln!(anstream::stdout().lock(), "{line}")?)
}

/// A phase in its colour: what is held in green, what waits in yellow, what got nothing in red.
pub(crate) fn phase(phase: RequestPhase) -> String {
    let style = match phase {
        RequestPhase::Active => AnsiColor::Green.on_default(),
        RequestPhase::Pending | RequestPhase::Scheduled => AnsiColor::Yellow.on_default(),
        RequestPhase::Denied | RequestPhase::Failed | RequestPhase::TimedOut => {
            AnsiColor::Red.on_default()
        }
        RequestPhase::Withdrawn | RequestPhase::Ended => Style::new().dimmed(),
    };
    format!("{style}{phase}{style:#}")
}

/// Where a request stands; one that the controller has not looked at yet is pending.
pub(crate) fn phase_of(request: &AccessRequest) -> RequestPhase {
    request.status().map(|status| status.phase).unwrap_or_default()
}

/// Prints whole objects in a format that is no table: one by itself, or several as a list.
pub(crate) fn objects<K>(mut objects: Vec<K>, format: Format, as_list: bool) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    for object in &mut objects {
        object.meta_mut().managed_fields = None;
    }
    if format == Format::Name {
        for object in &objects {
            say(&reference(object))?;
        }
        return Ok(());
    }
    let value = match (objects.as_slice(), as_list) {
        ([one], false) => json(one)?,
        (all, _) => {
            let items = all.iter().map(json).collect::<Result<Vec<_>, _>>()?;
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        }
    };
    whole(&value, format)
}

/// Prints something whole, as YAML or JSON.
pub(crate) fn whole(value: &impl Serialize, format: Format) -> Result<(), Fault> {
    let text = match format {
        Format::Yaml => {
            serde_saphyr::to_string(value).map_err(|error| Fault::Other(error.to_string()))?
        }
        _ => {
            serde_json::to_string_pretty(value).map_err(|error| Fault::Other(error.to_string()))?
        }
    };
    say(text.trim_end())
}

fn json(object: &impl Serialize) -> Result<serde_json::Value, Fault> {
    serde_json::to_value(object).map_err(|error| Fault::Other(error.to_string()))
}

/// An object as kubectl names it: `accessrequest.lapse.dev/fix-checkout`.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}.{}/{}", K::kind(&()).to_lowercase(), K::group(&()), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let mut table = Table::new(&["NAME", "PHASE", "TARGET"]);
        let row = |name: &str, phase_: RequestPhase, target: &str| {
            vec![name.to_owned(), phase(phase_), plain(target)]
        };
        table.row(row("fix", RequestPhase::Active, "edit in shop"));
        table.row(row(
            "fix-checkout",
            RequestPhase::Pending,
            "two\nlines\tand a tab \u{1b}[2J\u{202e}",
        ));
        table.row(row("x", RequestPhase::Ended, ""));
        let lines = table.lines().unwrap().join("\n");
        let plain = anstream::adapter::strip_str(&lines).to_string();
        insta::assert_snapshot!(plain, @r"
        NAME           PHASE     TARGET
        fix            Active    edit in shop
        fix-checkout   Pending   two lines and a tab �[2J�
        x              Ended
        ");
    }
}
