//! What is held on this host, as people see it.

use super::protocol::{Application, Held, Process};
use crate::application::held::application;
use crate::clock::{MaxSeen, Reading};
use crate::places::{Id, Places};
use crate::processes::{command_of, within};
use crate::record::Record;
use crate::text::plain;

/// How many processes are listed of one right.
const MOST_PROCESSES: usize = 32;
/// The longest text that people wrote, in characters.
const LONGEST: usize = 512;
/// The longest name.
const LONGEST_NAME: usize = 253;

/// An order as people see it, if something of it is still to come.
#[must_use]
pub fn held(places: &Places, record: &Record, now: &Reading) -> Option<Held> {
    let right = record.right.as_ref().filter(|_| record.is_open())?;
    let asked = record.asked.as_ref();
    // That the clock was set back ends everything, which is not for this to say.
    let seen = MaxSeen { wall: now.wall };
    let left = record.rest(now, &seen).map(|rest| rest.num_seconds()).unwrap_or_default();
    let is_sudo = right.elevation.commands().is_some();
    let slice = places.slice(&Id::of(&record.grant));
    let application = application(right).map(|(name, program)| Application {
        name: name.to_owned(),
        runs: plain(&program.to_string(), LONGEST),
    });
    let has_group = is_sudo || application.is_some();
    let mut running = if has_group { within(&slice, MOST_PROCESSES + 1) } else { Vec::new() };
    let more_processes = running.len() > MOST_PROCESSES;
    running.truncate(MOST_PROCESSES);
    let process = |pid| Some(Process { pid, command: command_of(places, pid)? });
    let name = |text: &String| plain(text, LONGEST_NAME);
    Some(Held {
        grant: record.grant.clone(),
        request: asked.map(|asked| asked.request.clone()),
        ticket: asked.and_then(|asked| asked.ticket.as_ref()).map(name),
        approved_by: asked
            .map(|asked| asked.approved_by.iter().map(name).collect())
            .unwrap_or_default(),
        user: right.user.clone(),
        what: plain(&right.elevation.to_string(), LONGEST),
        is_sudo,
        application,
        state: record.receipt().state,
        since: record.since,
        starts_at: right.starts_at,
        expires_at: right.expires_at,
        seconds_left: u32::try_from(left).unwrap_or_default(),
        message: record.message.as_ref().map(|message| plain(message, LONGEST)),
        processes: running.into_iter().filter_map(process).collect(),
        more_processes,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::{DateTime, TimeDelta};
    use lapse_crds::OrderState;

    use super::*;
    use crate::asked::Asked;
    use crate::record::Stage;
    use crate::right::{Elevation, Right};

    fn reading(seconds: i64) -> Reading {
        let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds);
        let boottime_ms = u64::try_from(seconds * 1000).unwrap();
        Reading { wall, boottime_ms, boot_id: "a".into() }
    }

    fn record(elevation: Elevation) -> Record {
        let right = Right {
            user: "al".into(),
            uid: 1000,
            starts_at: reading(0).wall,
            expires_at: reading(600).wall,
            elevation,
            log_off: false,
            containment: None,
            records_children: false,
        };
        let asked = Asked {
            request: "shop/fix".into(),
            ticket: Some("INC1\x1b[2J".into()),
            approved_by: vec!["bob".into()],
            warnings: None,
        };
        let record = Record::received("g".into(), "u".into(), right, &reading(0));
        Record { asked: Some(asked), stage: Stage::Active, ..record }
    }

    #[test]
    fn it_says_what_until_when_and_what_runs() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let scope = places.slice(&Id::of("g")).join("lapse-g-7.scope");
        fs::create_dir_all(&scope).unwrap();
        let many: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
        fs::write(scope.join("cgroup.procs"), many.join("\n")).unwrap();
        for number in 1..=40 {
            let process = places.at("/proc").join(number.to_string());
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("cmdline"), "sleep\x009").unwrap();
        }
        let seen = held(&places, &record(Elevation::Admin), &reading(90)).unwrap();
        assert_eq!((seen.state, seen.seconds_left), (OrderState::Active, 510));
        assert_eq!(seen.ticket.as_deref(), Some("INC1?[2J"));
        assert_eq!((seen.processes.len(), seen.more_processes), (MOST_PROCESSES, true));
        assert_eq!(seen.processes[0], Process { pid: 1, command: "sleep 9".into() });
        let args = vec!["-f".into(), "a b".into()];
        let program = lapse_crds::Program {
            path: "/usr/bin/dump".into(),
            sha256: None,
            package: None,
            args,
            env: vec![],
        };
        let dump = Elevation::Application { name: "dump".into(), program };
        let seen = held(&places, &record(dump), &reading(90)).unwrap();
        let expected =
            Application { name: "dump".into(), runs: r#"/usr/bin/dump -f "a b""#.into() };
        assert_eq!((seen.application, seen.processes.len()), (Some(expected), MOST_PROCESSES));
        let group = Elevation::Group { name: "ops".into(), gid: 5 };
        let seen = held(&places, &record(group), &reading(90)).unwrap();
        assert_eq!(
            (seen.what.as_str(), seen.is_sudo, seen.processes.len()),
            ("group ops", false, 0)
        );
    }

    #[test]
    fn the_countdown_goes_by_the_first_clock_and_ends_at_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let left = |now: &Reading| {
            held(&places, &record(Elevation::Admin), now).map(|held| held.seconds_left)
        };
        let set_back = Reading { boottime_ms: 500_000, ..reading(60) };
        assert_eq!(left(&set_back), Some(100));
        assert_eq!(left(&reading(700)), Some(0));
        let over = Record { stage: Stage::Over, ..record(Elevation::Admin) };
        assert_eq!(held(&places, &over, &reading(1)), None);
    }
}
