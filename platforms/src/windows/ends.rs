//! The two scheduled tasks by which Windows ends a right, whether the agent lives or not. One goes by the calendar: it survives
//! a power cut, and runs after a start that was missed. The other counts from when it was made: a clock that is set back does
//! not move it. Both call `expire`, which looks at all clocks itself.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::files::Files;
use crate::order::OrderId;
use crate::tools::{Tools, succeed};
use crate::xml::escape;

/// The folder of the tasks, in the tree of tasks.
const FOLDER: &str = r"\Lapse";

/// What the tasks of an order are called: the one that goes by the calendar, and the one that counts.
#[must_use]
pub fn names(id: &OrderId) -> [String; 2] {
    [format!(r"{FOLDER}\end-{id}"), format!(r"{FOLDER}\after-{id}")]
}

/// The text of the task that goes by the calendar. `StartWhenAvailable` has a missed start made up for, minutes after the host has
/// started; the second trigger does so at once. It is repeated each minute until it is removed: an end that failed is tried
/// again.
#[must_use]
pub fn calendar_text(id: &OrderId, grant: &str, program: &str, end: DateTime<Utc>) -> String {
    let whole = end + TimeDelta::nanoseconds(999_999_999);
    let at = whole.to_rfc3339_opts(SecondsFormat::Secs, true);
    let triggers = format!(
        "    <TimeTrigger>\n      <StartBoundary>{at}</StartBoundary>\n{REPEATED}    </TimeTrigger>\n    \
         <BootTrigger>\n{REPEATED}    </BootTrigger>\n"
    );
    text(id, grant, program, &triggers)
}

/// The text of the task that counts: by whole seconds, the last of them too much rather than too little.
#[must_use]
pub fn counting_text(id: &OrderId, grant: &str, program: &str, rest: TimeDelta) -> String {
    let seconds = (rest.num_milliseconds().max(1) + 999) / 1000;
    let triggers = format!(
        "    <RegistrationTrigger>\n{REPEATED}      <Delay>PT{seconds}S</Delay>\n    </RegistrationTrigger>\n"
    );
    text(id, grant, program, &triggers)
}

/// Each minute, for as long as the task is there.
const REPEATED: &str =
    "      <Repetition>\n        <Interval>PT1M</Interval>\n      </Repetition>\n";

/// The account is that of the system by its SID, as its name is in the language of the host. Nothing of the host's power plan
/// keeps an end from its time.
fn text(id: &OrderId, grant: &str, program: &str, triggers: &str) -> String {
    let (grant, program) = (escape(grant), escape(program));
    format!(
        r#"<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>The end of the Grant {grant}. Written by Lapse, and removed by it at the end.</Description>
  </RegistrationInfo>
  <Triggers>
{triggers}  </Triggers>
  <Principals>
    <Principal id="System">
      <UserId>S-1-5-18</UserId>
      <RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>Queue</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <Enabled>true</Enabled>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <ExecutionTimeLimit>PT1H</ExecutionTimeLimit>
    <Priority>4</Priority>
  </Settings>
  <Actions Context="System">
    <Exec>
      <Command>{program}</Command>
      <Arguments>expire {id}</Arguments>
    </Exec>
  </Actions>
</Task>
"#
    )
}

/// The text of a task as the program that reads it wants it: UTF-16 with a mark of its order.
fn encoded(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// What makes and removes tasks.
pub(super) struct Tasks<'a> {
    pub(super) tools: &'a dyn Tools,
    pub(super) files: &'a dyn Files,
    /// `schtasks.exe`, by its whole path.
    pub(super) schtasks: PathBuf,
    /// A folder of the agent's, for the text of a task while it is read.
    pub(super) folder: &'a Path,
}

impl Tasks<'_> {
    fn is_there(&self, name: &str) -> Result<bool, String> {
        let ended = self.tools.run(&self.schtasks, &["/Query", "/TN", name], "");
        Ok(ended.map_err(|error| format!("looking for the task {name}: {error}"))?.is_ok())
    }

    fn make(&self, name: &str, text: &str) -> Result<(), String> {
        let what = format!("making the task {name}");
        let path = self.folder.join("task.xml");
        let written = self.files.replace(&path, &encoded(text), 0o600);
        written.map_err(|error| format!("{what}: writing {}: {error}", path.display()))?;
        let file = path.display().to_string();
        let arguments = ["/Create", "/TN", name, "/XML", &file, "/F"];
        let made = succeed(self.tools, &what, (&self.schtasks, &arguments), "");
        // What is left of it is replaced by the next one.
        let _ = self.files.remove(&path);
        made?;
        let is_there = self.is_there(name)?;
        is_there.then_some(()).ok_or_else(|| format!("{what}: it is not there all the same"))
    }

    /// Makes both tasks of an order. Those that are there are replaced.
    pub(super) fn arm(
        &self,
        (id, grant, program): (&OrderId, &str, &str),
        end: DateTime<Utc>,
        rest: TimeDelta,
    ) -> Result<(), String> {
        let [calendar, counting] = names(id);
        self.make(&calendar, &calendar_text(id, grant, program, end))?;
        self.make(&counting, &counting_text(id, grant, program, rest))
    }

    /// Removes both, whatever of them is there.
    pub(super) fn disarm(&self, id: &OrderId) -> Result<(), String> {
        let mut problems = Vec::new();
        for name in names(id) {
            // One that is not there cannot be removed, which is no harm.
            let _ = self.tools.run(&self.schtasks, &["/Delete", "/TN", &name, "/F"], "");
            match self.is_there(&name) {
                Ok(false) => {}
                Ok(true) => problems.push(format!("the task {name} is still there")),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = r"C:\Program Files\Lapse\lapse-agent.exe";

    fn id() -> OrderId {
        OrderId::read(&"a".repeat(32)).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// What stands between two tags, each of which is there once.
    fn inside<'a>(text: &'a str, tag: &str) -> &'a str {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(text.matches(&open).count(), 1, "{tag} in {text}");
        let start = text.find(&open).unwrap() + open.len();
        &text[start..text.find(&close).unwrap()]
    }

    #[test]
    fn one_goes_by_the_calendar_and_makes_up_for_a_missed_start() {
        let text = calendar_text(&id(), "ops-1", PROGRAM, at("2026-12-01T10:00:00Z"));
        assert_eq!(inside(&text, "StartBoundary"), "2026-12-01T10:00:00Z");
        assert_eq!(inside(&text, "StartWhenAvailable"), "true");
        assert!(inside(&text, "BootTrigger").contains("<Interval>PT1M</Interval>"), "{text}");
        assert!(inside(&text, "TimeTrigger").contains("<Interval>PT1M</Interval>"), "{text}");
        assert!(!text.contains("RegistrationTrigger"), "{text}");
    }

    #[test]
    fn one_counts_and_no_clock_moves_it() {
        let text = counting_text(&id(), "ops-1", PROGRAM, TimeDelta::milliseconds(90_001));
        assert!(inside(&text, "RegistrationTrigger").contains("<Delay>PT91S</Delay>"), "{text}");
        assert!(!text.contains("StartBoundary") && !text.contains("BootTrigger"), "{text}");
        let over = counting_text(&id(), "ops-1", PROGRAM, TimeDelta::seconds(-5));
        assert!(over.contains("<Delay>PT1S</Delay>"), "{over}");
    }

    #[test]
    fn an_end_within_a_second_is_at_the_next_one() {
        for (end, expected) in [
            ("2026-12-01T10:00:00.000001Z", "2026-12-01T10:00:01Z"),
            ("2026-12-01T10:00:00.999999Z", "2026-12-01T10:00:01Z"),
            ("2026-12-31T23:59:59.5Z", "2027-01-01T00:00:00Z"),
        ] {
            let text = calendar_text(&id(), "ops-1", PROGRAM, at(end));
            assert_eq!(inside(&text, "StartBoundary"), expected, "{end}");
        }
    }

    #[test]
    fn both_run_the_program_as_the_system_whatever_the_power_plan() {
        let end = at("2026-12-01T10:00:00Z");
        for text in [
            calendar_text(&id(), "ops-1", PROGRAM, end),
            counting_text(&id(), "ops-1", PROGRAM, TimeDelta::seconds(60)),
        ] {
            assert_eq!(inside(&text, "UserId"), "S-1-5-18");
            assert_eq!(inside(&text, "Command"), PROGRAM);
            assert_eq!(inside(&text, "Arguments"), format!("expire {}", id()));
            for tag in ["DisallowStartIfOnBatteries", "StopIfGoingOnBatteries", "RunOnlyIfIdle"] {
                assert_eq!(inside(&text, tag), "false");
            }
        }
    }

    #[test]
    fn no_name_of_a_grant_or_a_folder_is_read_as_a_part_of_the_task() {
        let hostile = "g</Description><Command>cmd.exe</Command>";
        let text = counting_text(&id(), hostile, r"C:\R&D\<x>.exe", TimeDelta::seconds(1));
        assert_eq!(inside(&text, "Command"), r"C:\R&amp;D\&lt;x&gt;.exe");
        assert!(inside(&text, "Description").contains("&lt;Command&gt;cmd.exe"), "{text}");
    }

    #[test]
    fn the_text_is_in_utf_16_with_a_mark() {
        assert_eq!(encoded("<\u{e4}"), [0xFF, 0xFE, b'<', 0, 0xE4, 0]);
    }
}
