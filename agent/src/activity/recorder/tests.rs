use std::fs::{File, FileTimes};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;

use lapse_crds::{Command, RequestRef};
use lapse_engine::activity::{Entry, Under};

use super::*;
use crate::activity::note::leave;
use crate::clock::Reading;
use crate::record::{Stage, Undo};
use crate::right::{Elevation, Right};
use crate::sudo::samples::{accept, exit, file};
use crate::system::HostSystem;

/// A host that is a folder, at a time of its own.
struct Host {
    folder: tempfile::TempDir,
    places: Places,
    now: Arc<Mutex<Reading>>,
    /// What sudo has logged so far.
    logged: Vec<String>,
}

#[derive(Clone)]
struct Hand(Arc<Mutex<Reading>>);

impl Clock for Hand {
    fn read(&self) -> Result<Reading, ClockError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
}

const GRANT: &str = "ops-fix-0123456789";

impl Host {
    /// On which somebody holds a right with sudo.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let now = Reading { wall: at(0), boottime_ms: 0, boot_id: "a".into() };
        let now = Arc::new(Mutex::new(now));
        for path in [places.sudo_logs(), places.at("/proc")] {
            fs::create_dir_all(path).unwrap();
        }
        let host = Self { folder, places, now, logged: Vec::new() };
        host.hold(Stage::Active);
        host
    }

    fn hold(&self, stage: Stage) {
        let command = Command { path: "/usr/bin/id".into(), args: vec![], args_pattern: None };
        let right = Right {
            user: "al".into(),
            uid: 1000,
            starts_at: at(0),
            expires_at: at(3_600_000),
            elevation: Elevation::Commands(vec![command]),
            log_off: false,
            containment: None,
            records_children: false,
        };
        let request = RequestRef { namespace: "ops".into(), name: "fix".into(), uid: "r".into() };
        let under = Some(Under {
            grant: GRANT.into(),
            request,
            ticket: Some("INC1".into()),
            holder: "alice".into(),
            names_commands: true,
        });
        let now = self.now.lock().unwrap().clone();
        let mut record = Record::received(GRANT.into(), "r".into(), right, &now);
        let rule = Some(format!("Defaults:#1000 logfile={}/x", crate::places::SUDO_LOGS));
        (record.under, record.stage) = (under, stage);
        record.undo = Some(Undo { rule, ..Undo::default() });
        Journal::open(&self.places).unwrap().write(&HostSystem, &record).unwrap();
    }

    fn recorder(&self) -> Recorder {
        Recorder::new(self.places.clone(), Box::new(Hand(self.now.clone()))).unwrap()
    }

    fn pass_until(&self, ms: i64) {
        self.now.lock().unwrap().wall = at(ms);
    }

    fn log(&self) -> PathBuf {
        self.places.sudo_logs().join(Id::of(GRANT).to_string())
    }

    /// sudo logs this, too.
    fn logs(&mut self, record: String) {
        self.logged.push(record);
        let bytes = file(&self.logged);
        // In place, as sudo does it.
        let log = File::options().create(true).truncate(false).write(true).open(self.log());
        log.unwrap().write_all(&bytes).unwrap();
    }

    fn opens(&self, process: u32, started: i64, opened: i64) {
        let called = vec!["sudo".to_owned(), "id".to_owned()];
        let what = What::Session { process, started_at: at(started), terminal: None, called };
        let note = Note { grant: GRANT.into(), at: at(opened), what };
        leave(&self.places, &Hand(self.now.clone()), &note).unwrap();
        fs::create_dir_all(self.places.at("/proc").join(process.to_string())).unwrap();
    }

    /// What a whole call leaves: with a child, and an end.
    fn calls(&mut self, process: u32, start: i64) {
        self.logs(accept(at(start + 20), at(start + 5), &["id", "-u"]));
        self.opens(process, start, start + 40);
        self.logs(accept(at(start + 60), at(start + 5), &["id", "child"]));
        self.logs(exit(at(start + 5), at(start + 80), None));
    }
}

/// All that the gateway is told, in few words.
fn told(recorder: &mut Recorder) -> Vec<String> {
    recorder.take_all().unwrap();
    let mut told = Vec::new();
    while let Some(batch) = recorder.spool().offer().unwrap() {
        told.extend(batch.lines.lines().map(|line| said(&serde_json::from_str(line).unwrap())));
        recorder.spool().noted(&batch.series, batch.last).unwrap();
    }
    told
}

fn said(entry: &Entry) -> String {
    let what = match &entry.event {
        Event::Session { process, .. } => format!("session {process}"),
        Event::Command(call) => {
            let kind = if call.is_child { "child" } else { "command" };
            let process = call.process.map(|process| format!(" of {process}")).unwrap_or_default();
            format!("{kind} {}{process}", call.arguments.join(" "))
        }
        Event::Exit { session, exit, .. } => format!("exit {exit} of {session}"),
        Event::Refused { why, .. } => format!("refused: {why}"),
        Event::Lost { why, entries } => format!("lost {entries:?}: {why}"),
    };
    let by = entry.under.as_ref().map_or("nothing", |under| under.grant.as_str());
    assert!(entry.user.as_deref().is_none_or(|user| user == "al"), "{entry:?}");
    format!("{what} by {by}")
}

fn whole(process: u32, start: i64) -> Vec<String> {
    let call = super::super::page::session_of(at(start + 5));
    let all = [
        format!("session {process}"),
        format!("command -u of {process}"),
        format!("child child of {process}"),
        format!("exit 3 of {call}"),
    ];
    all.into_iter().map(|what| format!("{what} by {GRANT}")).collect()
}

#[test]
fn a_command_is_told_with_its_child_and_its_end_and_by_which_right() {
    let mut host = Host::new();
    host.calls(7, 1000);
    let mut recorder = host.recorder();
    recorder.take_all().unwrap();
    let batch = recorder.spool().all().unwrap().remove(0);
    let entry: Entry = serde_json::from_str(batch.lines.lines().nth(1).unwrap()).unwrap();
    let under = entry.under.unwrap();
    assert_eq!(
        (entry.user.as_deref(), entry.uid, entry.at),
        (Some("al"), Some(1000), at(1020).into())
    );
    assert_eq!((under.holder.as_str(), under.ticket.as_deref()), ("alice", Some("INC1")));
    assert_eq!((under.request.namespace.as_str(), under.names_commands), ("ops", true));
    assert_eq!(told(&mut recorder), whole(7, 1000));
    host.calls(8, 2000);
    assert_eq!(told(&mut recorder), whole(8, 2000));
    assert_eq!(told(&mut recorder), [""; 0]);
}

/// The agent dies and starts anew after each thing that happens, and once more before it has put anything away.
#[test]
fn an_agent_that_dies_tells_everything_once() {
    let mut host = Host::new();
    let mut all = Vec::new();
    let look = |host: &Host, all: &mut Vec<String>| {
        let before: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(host.places.notes())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        host.recorder().take_all().unwrap();
        for (path, bytes) in before {
            fs::write(path, bytes).unwrap();
        }
        host.recorder().take_all().unwrap();
        all.extend(told(&mut host.recorder()));
    };
    for (process, start) in [(7, 1000), (8, 2000)] {
        host.pass_until(start + 21);
        host.logs(accept(at(start + 20), at(start + 5), &["id", "-u"]));
        look(&host, &mut all);
        host.pass_until(start + 90);
        host.opens(process, start, start + 40);
        look(&host, &mut all);
        host.logs(accept(at(start + 60), at(start + 5), &["id", "child"]));
        look(&host, &mut all);
        host.logs(exit(at(start + 5), at(start + 80), None));
        look(&host, &mut all);
    }
    assert_eq!(all, [whole(7, 1000), whole(8, 2000)].concat());
}

#[test]
fn what_cannot_be_kept_is_taken_over_later() {
    let mut host = Host::new();
    let mut recorder = host.recorder();
    host.calls(7, 1000);
    let in_the_way = host.places.spool().join(format!(".{:020}.json~", 0));
    fs::create_dir(&in_the_way).unwrap();
    assert!(recorder.poll().is_err() && recorder.poll().is_err());
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(told(&mut recorder), whole(7, 1000));
}

#[test]
fn more_than_fits_at_once_is_taken_over_bit_by_bit_and_given_back() {
    let mut host = Host::new();
    let mut recorder = host.recorder();
    let long = "x".repeat(3000);
    host.opens(7, 1000, 1040);
    for _ in 0..100 {
        host.logs(accept(at(1020), at(1005), &["id", &long]));
    }
    let before = fs::metadata(host.log()).unwrap();
    assert_eq!(told(&mut recorder).len(), 101);
    let after = fs::metadata(host.log()).unwrap();
    assert_eq!(after.len(), before.len(), "sudo writes on where it was");
    assert!(after.blocks() < before.blocks() / 4, "{} of {}", after.blocks(), before.blocks());
    host.logs(exit(at(1005), at(1080), None));
    assert_eq!(told(&mut recorder).len(), 1);
}

#[test]
fn what_is_over_and_told_is_removed() {
    let mut host = Host::new();
    let mut recorder = host.recorder();
    host.calls(7, 1000);
    assert_eq!(told(&mut recorder).len(), 4);
    host.hold(Stage::Over);
    let long_ago = FileTimes::new().set_modified(at(1000).into());
    File::options().write(true).open(host.log()).unwrap().set_times(long_ago).unwrap();
    host.pass_until(11_000);
    recorder.take_all().unwrap();
    assert!(host.log().exists(), "something may still be logged");
    host.pass_until(61_041);
    fs::remove_dir(host.places.at("/proc").join("7")).unwrap();
    recorder.take_all().unwrap();
    assert!(!host.log().exists());
    assert_eq!(fs::read_dir(host.places.sessions()).unwrap().count(), 0);
    drop(host.folder);
}

#[test]
fn what_is_missing_is_told() {
    let mut host = Host::new();
    let mut recorder = host.recorder();
    // A session of which nothing is logged.
    host.opens(7, 1000, 1040);
    host.pass_until(2000);
    assert_eq!(told(&mut recorder), [format!("session 7 by {GRANT}")]);
    assert!(recorder.gap.is_none());
    host.pass_until(12_000);
    let why = "sudo has logged nothing of what it ran: its log was full, or a setting of sudo on this host (log_format, logfile) comes after the rule of the Grant";
    assert_eq!(told(&mut recorder), [format!("lost None: {why} by {GRANT}")]);
    assert!(
        recorder.gap.as_ref().is_some_and(|gap| gap.starts_with("process 7 of the Grant ops-fix"))
    );
    // The next one is logged.
    host.calls(8, 20_000);
    host.pass_until(20_090);
    assert_eq!(told(&mut recorder), whole(8, 20_000));
    assert!(recorder.gap.is_none());
    // A call without a session was never let go on.
    host.logs(accept(at(30_020), at(30_005), &["id", "late"]));
    host.pass_until(30_021);
    assert_eq!(told(&mut recorder), [""; 0]);
    host.pass_until(35_020);
    assert_eq!(told(&mut recorder), ["command late by nothing"]);
    // The log is cut.
    File::options().write(true).open(host.log()).unwrap().set_len(10).unwrap();
    assert_eq!(
        told(&mut recorder),
        ["lost None: the log of sudo was cut short by somebody by nothing"]
    );
    // Notes that nobody can read.
    fs::write(host.places.notes().join("x"), "{").unwrap();
    let unread = "lost Some(1): what a process of Lapse wrote down cannot be read by nothing";
    assert_eq!(told(&mut recorder), [unread]);
}

#[test]
fn a_host_that_was_restarted_has_other_logs() {
    let mut host = Host::new();
    host.calls(7, 1000);
    assert_eq!(told(&mut host.recorder()).len(), 4);
    for folder in [host.places.sudo_logs(), host.places.sessions(), host.places.notes()] {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
    }
    host.logged.clear();
    host.calls(7, 2000);
    host.calls(8, 3000);
    assert_eq!(told(&mut host.recorder()).len(), 8);
}
