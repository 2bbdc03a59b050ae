//! The two timers by which systemd ends a right, whether the agent lives or not. One goes by the calendar: it survives
//! a power cut, and fires at the next start if its time has passed. The other counts: a clock that is set back does not
//! move it. Both call `lapse-agent expire`.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use crate::places::{Id, Places};
use crate::system::System;

/// The service that both start, which comes with the package.
pub const SERVICE: &str = "lapse-end@.service";

/// Why a right has no timers.
#[derive(Debug, thiserror::Error)]
pub enum TimerError {
    /// A file cannot be written or removed.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// systemd does not take them.
    #[error("systemd does not start the timers of its end: {0}")]
    Start(String),
}

struct Files {
    calendar: PathBuf,
    wanted: PathBuf,
    counting: PathBuf,
    stamp: PathBuf,
}

/// What the timers of a right are called: the one that goes by the calendar, and the one that counts.
#[must_use]
pub fn names(id: &Id) -> [String; 2] {
    [format!("lapse-end-{id}.timer"), format!("lapse-after-{id}.timer")]
}

/// Whose timer has this name, if it is one of these.
#[must_use]
pub fn whose(timer: &str) -> Option<Id> {
    let timer = timer.strip_suffix(".timer")?;
    Id::read(timer.strip_prefix("lapse-end-").or(timer.strip_prefix("lapse-after-"))?)
}

fn files(places: &Places, id: &Id) -> Files {
    let [calendar, counting] = names(id);
    Files {
        wanted: places.at("/etc/systemd/system/timers.target.wants").join(&calendar),
        stamp: places.at("/var/lib/systemd/timers").join(format!("stamp-{calendar}")),
        calendar: places.at("/etc/systemd/system").join(calendar),
        counting: places.at("/run/systemd/system").join(counting),
    }
}

fn text(id: &Id, grant: &str, when: &str) -> String {
    format!(
        "# Written by lapse-agent, and removed by it at the end.\n[Unit]\nDescription=The end of the Grant {grant}\n\n\
         [Timer]\n{when}\nAccuracySec=50ms\nUnit=lapse-end@{id}.service\n"
    )
}

/// The text of the timer of a right that goes by the calendar.
#[must_use]
pub fn calendar_text(id: &Id, grant: &str, end: DateTime<Utc>) -> String {
    let at = end.format("OnCalendar=%Y-%m-%d %H:%M:%S%.6f UTC\nPersistent=true");
    text(id, grant, &at.to_string())
}

/// Starts the timers of a right that ends at this time by the clock, and after this time in any case.
///
/// # Errors
/// If one of them does not run.
pub fn arm(
    system: &dyn System,
    places: &Places,
    (id, grant): (&Id, &str),
    end: DateTime<Utc>,
    rest: TimeDelta,
) -> Result<(), TimerError> {
    let Files { calendar, wanted, counting, stamp: _ } = files(places, id);
    let after = format!("OnActiveSec={}us", rest.num_microseconds().unwrap_or(i64::MAX).max(1));
    let wrong = |path: &PathBuf| {
        let path = path.clone();
        move |why| TimerError::File { path, why }
    };
    for (path, text) in
        [(&calendar, calendar_text(id, grant, end)), (&counting, text(id, grant, &after))]
    {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrong(path))?;
        }
        system.replace(path, text.as_bytes(), 0o644).map_err(wrong(path))?;
    }
    if let Some(folder) = wanted.parent() {
        std::fs::create_dir_all(folder).map_err(wrong(&wanted))?;
    }
    let [first, second] = names(id);
    system.link(&format!("../{first}"), &wanted).map_err(wrong(&wanted))?;
    let ran = system.run("systemctl", &["start", &first, &second]);
    match ran {
        Ok(ran) if ran.is_ok() => Ok(()),
        Ok(ran) => Err(TimerError::Start(ran.said())),
        Err(error) => Err(TimerError::Start(error.to_string())),
    }
}

/// The orders of which systemd has a timer, also where its file is gone: an agent that was stopped while it took one away has
/// removed the files, perhaps, and the timer was not stopped.
#[must_use]
pub fn armed(system: &dyn System) -> BTreeSet<Id> {
    let quiet = ["list-units", "--all", "--plain", "--no-legend", "--full"];
    let ran = system
        .run("systemctl", &[&quiet[..], &["lapse-end-*.timer", "lapse-after-*.timer"]].concat());
    let listed = ran.map(|ran| ran.stdout).unwrap_or_default();
    listed.lines().filter_map(|line| whose(line.split_whitespace().next()?)).collect()
}

/// Stops and removes them, whatever of them is there.
///
/// # Errors
/// If a file stays.
pub fn disarm(system: &dyn System, places: &Places, id: &Id) -> Result<(), TimerError> {
    let [first, second] = names(id);
    // A timer whose right is gone does nothing, so one that does not stop is no harm.
    let _ = system.run("systemctl", &["stop", &first, &second]);
    let Files { calendar, wanted, counting, stamp } = files(places, id);
    for path in [wanted, calendar, counting, stamp] {
        system.remove(&path).map_err(|why| TimerError::File { path, why })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Ran;

    struct Listing(&'static str);

    impl System for Listing {
        fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran> {
            assert_eq!((program, arguments[0]), ("systemctl", "list-units"));
            Ok(Ran { code: Some(0), stdout: self.0.to_owned(), ..Ran::default() })
        }
    }

    #[test]
    fn the_orders_are_known_whose_timers_systemd_has() {
        let (id, other) = (Id::of("a"), Id::of("b"));
        let [calendar, counting] = names(&id);
        let listed = format!(
            "{calendar} loaded active waiting The end of the Grant a\n\
             {counting} not-found active waiting {counting}\n\
             {} loaded active waiting The end of the Grant b\n\
             lapse-end-nothing.timer loaded active waiting Somebody else's\n\nunit files",
            names(&other)[1]
        );
        assert_eq!(armed(&Listing(listed.leak())), BTreeSet::from([id, other]));
        assert_eq!(armed(&Listing("")), BTreeSet::new());
    }
}
