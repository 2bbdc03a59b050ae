//! What runs in the unit of an application: it looks whether the program may run, and is what it was approved as; then it runs
//! it, and ends as it does. It is there as long as the program, so that an end of either is one of both.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use lapse_crds::GRANT_VARIABLE;
use nix::sys::signal::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use super::held::{application, in_force};
use crate::activity::note::{Note, What, leave};
use crate::clock::Clock;
use crate::places::{Id, Places};
use crate::processes::is_within;
use crate::program::verify;
use crate::record::Record;
use crate::right::check;
use crate::system::{PATH, System, exit_code};

/// What ends that has run nothing, as shells say it of a command that cannot be run.
const NOT_RUN: u8 = 126;

/// Runs the program of this right, and ends as it does. Why it is not run, is written to its standard error.
#[must_use]
pub fn run(system: &dyn System, clock: &dyn Clock, places: &Places, id: &Id) -> u8 {
    match try_run(system, clock, places, id) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("Lapse: {why}");
            NOT_RUN
        }
    }
}

/// Leaves it to be recorded. That nothing can be written keeps nobody from what they were given.
fn note(clock: &dyn Clock, places: &Places, record: &Record, what: What) {
    let left = clock.read().map_err(std::io::Error::other).and_then(|now| {
        leave(places, clock, &Note { grant: record.grant.clone(), at: now.wall, what })
    });
    if let Err(error) = left {
        warn!(record.grant, %error, "an application is not recorded");
    }
}

fn try_run(system: &dyn System, clock: &dyn Clock, places: &Places, id: &Id) -> Result<u8, String> {
    check_place(places, id)?;
    // From here on an end kills it, so what is in force now is so as long as it lives.
    let (record, _) = in_force(clock, places, id).map_err(|error| error.to_string())?;
    let right = record.right.as_ref().ok_or("nothing is known of it")?;
    let (name, program) = application(right).ok_or("it is no application")?;
    check(places, right).map_err(|error| error.to_string())?;
    verify(system, places, program)?;
    let mut command = Command::new(places.at(&program.path));
    command.args(&program.args).env_clear();
    command.envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
    command.envs(program.env.iter().map(|variable| (&variable.name, &variable.value)));
    command.envs(origin(&record)).current_dir("/");
    let failed = |error: std::io::Error| format!("running {name}, {}: {error}", program.path);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let _inside = runtime.enter();
    // These are for the program, and come to all of the unit: this stays, to say how it ended.
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ];
    let _caught = kinds.map(signal);
    let mut child = command.spawn().map_err(failed)?;
    let session = format!("{id}-{}-{}", std::process::id(), child.id());
    let started = What::Started {
        session: session.clone(),
        process: child.id(),
        program: program.path.clone(),
        arguments: program.args.clone(),
        folder: Some("/".to_owned()),
        run_as: None,
    };
    note(clock, places, &record, started);
    let ended = child.wait().map_err(failed)?;
    let signal = ended.signal().and_then(|number| Signal::try_from(number).ok());
    let signal = signal.map(|signal| signal.as_str().trim_start_matches("SIG").to_owned());
    let code = exit_code(ended);
    note(clock, places, &record, What::Ended { session, exit: code.into(), signal });
    Ok(code)
}

/// What says in each of its records by what it ran. Last, so that nothing else says it.
fn origin(record: &Record) -> impl Iterator<Item = (&'static str, String)> {
    let asked = record.asked.as_ref();
    let all = [
        (GRANT_VARIABLE, Some(record.grant.clone())),
        ("LAPSE_REQUEST", asked.map(|asked| asked.request.clone())),
        ("LAPSE_TICKET", asked.and_then(|asked| asked.ticket.clone())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// Whether this is where an end would kill it. Whoever calls it by hand is elsewhere.
fn check_place(places: &Places, id: &Id) -> Result<(), String> {
    let cgroup = std::fs::read_to_string(places.at("/proc/self/cgroup"))
        .map_err(|error| format!("where this runs cannot be told: {error}"))?;
    let is_there = is_within(&cgroup, &format!("/lapse.slice/{}/", id.slice()));
    let why = "this is for the agent to start, where it ends with the access; use `lapse run`";
    if is_there { Ok(()) } else { Err(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::{DateTime, TimeDelta};
    use lapse_crds::{Program, Variable};
    use rstest::rstest;

    use super::*;
    use crate::asked::Asked;
    use crate::clock::{ClockError, Reading};
    use crate::journal::Journal;
    use crate::record::Stage;
    use crate::right::{Elevation, Right};
    use crate::system::HostSystem;

    /// What it was asked for is written beside it: the test has no other way to look.
    const SCRIPT: &str = "#!/bin/sh\n{ for a; do echo \"<$a>\"; done; env | grep -Ev '^(_|SHLVL|OLDPWD)=' | sort; pwd; } >\"${0%/*}/said\"\nexit 7\n";

    struct Noon;

    impl Clock for Noon {
        fn read(&self) -> Result<Reading, ClockError> {
            let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
            Ok(Reading { wall, boottime_ms: 0, boot_id: "a".into() })
        }
    }

    fn host(change: impl FnOnce(&mut Record, &mut Program)) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        for path in ["etc", "usr/bin", "proc/self"] {
            fs::create_dir_all(places.at(path)).unwrap();
        }
        fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\n").unwrap();
        fs::write(places.at("/usr/bin/tool"), SCRIPT).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(places.at("/usr/bin/tool"), mode).unwrap();
        let slice = Id::of("g").slice();
        let cgroup = format!("0::/lapse.slice/{slice}/lapse-x-app-1.service\n");
        fs::write(places.at("/proc/self/cgroup"), cgroup).unwrap();
        let variable =
            |name: &str, value: &str| Variable { name: name.into(), value: value.into() };
        let mut program = Program {
            path: "/usr/bin/tool".into(),
            sha256: None,
            package: None,
            args: vec!["$HOME %n".into(), "-x; true".into()],
            env: vec![
                variable("LANG", "C"),
                variable("LEVEL", "a b"),
                variable("LAPSE_GRANT", "no"),
            ],
        };
        let now = Noon.read().unwrap();
        let right = |program| Right {
            user: "al".into(),
            uid: 1000,
            starts_at: now.wall,
            expires_at: now.wall + TimeDelta::seconds(60),
            elevation: Elevation::Application { name: "tool".into(), program },
            log_off: false,
            containment: None,
            records_children: false,
        };
        let mut record = Record::received("g".into(), "u".into(), right(program.clone()), &now);
        record.stage = Stage::Active;
        change(&mut record, &mut program);
        record.right = record.right.map(|_| right(program));
        Journal::open(&places).unwrap().write(&HostSystem, &record).unwrap();
        (folder, places)
    }

    #[test]
    fn it_runs_exactly_what_was_approved_and_ends_as_that_does() {
        let asked = Asked {
            request: "shop/fix".into(),
            ticket: Some("INC1".into()),
            approved_by: vec![],
            warnings: None,
        };
        let (_folder, places) = host(|record, _| record.asked = Some(asked));
        assert_eq!(run(&HostSystem, &Noon, &places, &Id::of("g")), 7);
        let said = fs::read_to_string(places.at("/usr/bin/said")).unwrap();
        insta::assert_snapshot!(said, @r"
        <$HOME %n>
        <-x; true>
        HOME=/root
        LANG=C
        LAPSE_GRANT=g
        LAPSE_REQUEST=shop/fix
        LAPSE_TICKET=INC1
        LEVEL=a b
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PWD=/
        /
        ");
    }

    const OVER: &str = "your access to it has ended: request it again";

    #[rstest]
    #[case::over(|record: &mut Record, _: &mut Program| record.stage = Stage::Over, OVER)]
    #[case::being_ended(|record: &mut Record, _: &mut Program| record.stage = Stage::Ending, OVER)]
    #[case::past_its_time(|record: &mut Record, _: &mut Program| record.deadline.as_mut().unwrap().wall -= TimeDelta::seconds(60), OVER)]
    #[case::another_file(|_: &mut Record, program: &mut Program| program.sha256 = Some("sha256:00".into()), "/usr/bin/tool has the digest sha256:")]
    #[case::no_file(|_: &mut Record, program: &mut Program| program.path = "/usr/bin/none".into(), "/usr/bin/none: there is no such program")]
    fn what_may_not_run_does_not(
        #[case] change: fn(&mut Record, &mut Program),
        #[case] said: &str,
    ) {
        let (_folder, places) = host(change);
        let error = try_run(&HostSystem, &Noon, &places, &Id::of("g")).unwrap_err();
        assert!(error.starts_with(said), "{error}");
        assert_eq!(run(&HostSystem, &Noon, &places, &Id::of("g")), NOT_RUN);
        assert!(!places.at("/usr/bin/said").exists());
    }

    /// A full disk keeps the record as it was.
    #[test]
    fn an_end_that_is_known_in_memory_alone_counts() {
        let (_folder, places) = host(|_, _| {});
        fs::write(places.closed(&Id::of("g")), "").unwrap();
        assert_eq!(try_run(&HostSystem, &Noon, &places, &Id::of("g")), Err(OVER.to_owned()));
    }

    #[test]
    fn nothing_runs_where_no_end_would_kill_it() {
        let (_folder, places) = host(|_, _| {});
        fs::write(places.at("/proc/self/cgroup"), "0::/user.slice/user-0.slice/x\n").unwrap();
        let why = "this is for the agent to start, where it ends with the access; use `lapse run`";
        assert_eq!(try_run(&HostSystem, &Noon, &places, &Id::of("g")), Err(why.to_owned()));
    }

    #[test]
    fn a_program_that_others_may_change_is_not_run() {
        let (_folder, places) = host(|_, _| {});
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(places.at("/usr/bin/tool"), mode).unwrap();
        let error = try_run(&HostSystem, &Noon, &places, &Id::of("g")).unwrap_err();
        assert!(error.contains("can be written by everybody"), "{error}");
    }
}
