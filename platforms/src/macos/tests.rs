//! On a macOS whose tools are played.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use chrono::{DateTime, TimeDelta};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::clock::{Clock, ClockError, Reading};
use crate::ledger::Ledger;
use crate::record::Stage;
use crate::steps::{Outcome, Steps};
use crate::tools::Ended;

/// A group: its number, and who is in it by name and by what the directory knows them by.
type Group = (&'static str, BTreeSet<String>, BTreeSet<String>);

struct State {
    groups: BTreeMap<&'static str, Group>,
    loaded: BTreeSet<String>,
    /// By whose number something runs, while it was not killed.
    running: BTreeSet<String>,
    called: Vec<String>,
    uid: &'static str,
    now: Reading,
}

struct Fake {
    state: RefCell<State>,
    folder: tempfile::TempDir,
}

const USERS: [(&str, &str, &str); 3] =
    [("root", "0", "GUID-ROOT"), ("anna", "501", "GUID-ANNA"), ("ben", "502", "GUID-BEN")];

impl Fake {
    fn new() -> Self {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let groups = [
            ("admin", ("80", texts(&["root"]), texts(&["GUID-BEN"]))),
            ("_developer", ("204", texts(&[]), texts(&[]))),
        ];
        let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let state = State {
            groups: groups.into(),
            loaded: BTreeSet::new(),
            running: texts(&["501", "502"]),
            called: Vec::new(),
            uid: "0\n",
            now: Reading { wall, boottime_ms: 1_000_000, boot_id: "a".into() },
        };
        Self { state: RefCell::new(state), folder: tempfile::tempdir().unwrap() }
    }

    fn mac(&self) -> Mac<'_> {
        let (folder, program) = (self.folder.path().to_owned(), "/opt/lapse-agent".to_owned());
        Mac { tools: self, files: self, folder, program }
    }

    fn with_steps<T>(&self, work: impl FnOnce(&Steps<'_>) -> T) -> T {
        let (mac, ledger) = (self.mac(), Ledger::in_folder(self.folder.path()));
        work(&Steps { host: &mac, ledger: &ledger, files: self, clock: self })
    }

    fn order(&self, user: &str, elevation: Elevation) -> Order {
        let expires_at = self.state.borrow().now.wall + TimeDelta::minutes(1);
        let id = OrderId::read(&"a".repeat(32)).unwrap();
        let (grant, user) = ("ops-1".to_owned(), user.to_owned());
        Order { id, grant, user, expires_at, elevation, log_off: false }
    }

    fn pass(&self, seconds: i64) {
        self.state.borrow_mut().now.wall += TimeDelta::seconds(seconds);
    }

    fn names(&self, group: &str) -> Vec<String> {
        self.state.borrow().groups[group].1.iter().cloned().collect()
    }

    /// What the directory says, as it does: a list for each attribute.
    fn read(&self, path: &str) -> serde_json::Value {
        let state = self.state.borrow();
        let (kind, name) = path.trim_start_matches('/').split_once('/').unwrap();
        if kind == "Users" {
            let (_, _, guid) = USERS.into_iter().find(|(own, ..)| *own == name).unwrap();
            return json!({"dsAttrTypeStandard:GeneratedUID": [guid]});
        }
        let (_, names, guids) = &state.groups[name];
        let mut found = json!({"dsAttrTypeStandard:RecordName": [name]});
        // What is empty is not there.
        if !names.is_empty() {
            found["dsAttrTypeStandard:GroupMembership"] = json!(names);
        }
        if !guids.is_empty() {
            found["dsAttrTypeStandard:GroupMembers"] = json!(guids);
        }
        found
    }

    fn list(&self, path: &str) -> String {
        let rows: Vec<(&str, &str)> = if path == "/Users" {
            USERS.into_iter().map(|(name, uid, _)| (name, uid)).collect()
        } else {
            self.state.borrow().groups.iter().map(|(name, (gid, ..))| (*name, *gid)).collect()
        };
        rows.iter()
            .map(|(name, number)| format!("{name:<16} {number}\n"))
            .collect::<Vec<_>>()
            .concat()
    }

    fn edit(&self, option: &str, user: &str, group: &str) {
        let (_, _, guid) = USERS.into_iter().find(|(own, ..)| *own == user).unwrap();
        let mut state = self.state.borrow_mut();
        let (_, names, guids) = state.groups.get_mut(group).unwrap();
        if option == "-a" {
            names.insert(user.to_owned());
            guids.insert(guid.to_owned());
        } else {
            names.remove(user);
            guids.remove(guid);
        }
    }
}

impl Tools for Fake {
    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> io::Result<Ended> {
        let program = program.to_str().unwrap();
        self.state.borrow_mut().called.push(format!("{program} {}", arguments.join(" ")));
        let mut code = 0;
        let output = match (program, arguments) {
            ("/usr/bin/id", ["-u"]) => self.state.borrow().uid.to_owned(),
            ("/bin/launchctl", ["managername"]) => "System\n".to_owned(),
            ("/usr/bin/dscl", ["/Local/Default", "-list", path, _]) => self.list(path),
            ("/usr/bin/dscl", ["-plist", "/Local/Default", "-read", path, ..]) => {
                format!("plist of {}", self.read(path))
            }
            ("/usr/bin/plutil", ["-convert", "json", "-o", "-", "-"]) => {
                input.strip_prefix("plist of ").unwrap().to_owned()
            }
            (
                "/usr/sbin/dseditgroup",
                ["-o", "edit", "-n", "/Local/Default", option, user, "-t", "user", group],
            ) => {
                self.edit(option, user, group);
                String::new()
            }
            ("/bin/launchctl", ["bootstrap", "system", file]) => {
                assert!(fs::metadata(file).is_ok(), "{file}");
                let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
                self.state.borrow_mut().loaded.insert(format!("system/{name}"));
                String::new()
            }
            ("/bin/launchctl", ["bootout", target]) => {
                code = if self.state.borrow_mut().loaded.remove(*target) { 0 } else { 3 };
                String::new()
            }
            ("/bin/launchctl", ["print", target]) => {
                code = if self.state.borrow().loaded.contains(*target) { 0 } else { 113 };
                String::new()
            }
            ("/usr/bin/pkill", ["-KILL", "-U" | "-u", uid]) => {
                code = i32::from(!self.state.borrow_mut().running.remove(*uid));
                String::new()
            }
            ("/usr/bin/pgrep", ["-U" | "-u", uid]) => {
                code = i32::from(!self.state.borrow().running.contains(*uid));
                String::new()
            }
            call => panic!("{call:?}"),
        };
        Ok(Ended { code: Some(code), output })
    }
}

impl Files for Fake {
    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let is_job = path.extension().is_some_and(|extension| extension == "plist");
        assert_eq!(mode, if is_job { 0o644 } else { 0o600 });
        fs::write(path, content)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl Clock for Fake {
    fn read(&self) -> Result<Reading, ClockError> {
        Ok(self.state.borrow().now.clone())
    }
}

#[rstest]
#[case::administrators(Elevation::Admin, "admin")]
#[case::a_group(Elevation::Group("_developer".into()), "_developer")]
fn a_right_is_given_and_ends_on_time(#[case] elevation: Elevation, #[case] group: &str) {
    let fake = Fake::new();
    let (before, order) = (fake.names(group), fake.order("anna", elevation));
    let record = fake.with_steps(|steps| steps.give(&order)).unwrap();
    assert_eq!((record.stage, record.why), (Stage::Active, None));
    assert!(fake.names(group).contains(&"anna".to_owned()));
    let job = format!("system/dev.lapse.end.{}", order.id);
    assert_eq!(fake.state.borrow().loaded, [job.clone()].into());
    fake.pass(60);
    assert_eq!(fake.with_steps(|steps| steps.expire(&order.id)), Ok(Outcome::Gone));
    assert_eq!(fake.names(group), before);
    let state = fake.state.borrow();
    assert!(state.loaded.is_empty() && !state.running.contains("501"));
    assert!(state.running.contains("502"), "nobody else is logged off");
    let plists = fs::read_dir(fake.folder.path()).unwrap().flatten();
    assert!(!plists.into_iter().any(|file| file.path().extension() == Some("plist".as_ref())));
}

#[test]
fn who_is_a_member_by_what_the_directory_knows_them_by_stays() {
    let fake = Fake::new();
    let order = fake.order("ben", Elevation::Admin);
    let record = fake.with_steps(|steps| steps.give(&order)).unwrap();
    assert_eq!(record.undo.unwrap().was_in, ["80"]);
    fake.pass(60);
    assert_eq!(fake.with_steps(|steps| steps.expire(&order.id)), Ok(Outcome::Gone));
    let state = fake.state.borrow();
    assert!(state.groups["admin"].2.contains("GUID-BEN") && state.running.contains("502"));
    assert!(!state.called.iter().any(|call| call.contains("dseditgroup")), "{:?}", state.called);
}

#[test]
fn a_job_that_looks_does_not_end_itself_before_its_order_is_over() {
    let fake = Fake::new();
    let order = fake.order("anna", Elevation::Admin);
    fake.with_steps(|steps| steps.give(&order)).unwrap();
    fake.state.borrow_mut().called.clear();
    fake.pass(30);
    let lasts = Outcome::Lasts(TimeDelta::seconds(30));
    assert_eq!(fake.with_steps(|steps| steps.expire(&order.id)), Ok(lasts));
    let called = fake.state.borrow().called.clone();
    assert!(!called.iter().any(|call| call.contains("bootout")), "{called:?}");
}

#[test]
fn what_a_host_can_do_is_said_and_what_is_not_built() {
    let fake = Fake::new();
    let said = "macOS\n  can:   Admin\n  can:   Group\n  lacks: no applications: that is not built for macOS\n  \
                lacks: no accounts: that is not built for macOS\n";
    assert_eq!(fake.mac().probe().to_string(), said);
    fake.state.borrow_mut().uid = "501\n";
    assert_eq!(fake.mac().probe().to_string(), "macOS\n  lacks: only root can give access\n");
}

#[rstest]
#[case::nobody(
    "eve",
    Elevation::Admin,
    "there is no local user eve on this host: create it, or correct the Endpoint or the policy"
)]
#[case::a_path(
    "../Groups/admin",
    Elevation::Admin,
    "there is no local user ../Groups/admin on this host: create it, or correct the Endpoint or the policy"
)]
#[case::an_option(
    "-anna",
    Elevation::Admin,
    "there is no local user -anna on this host: create it, or correct the Endpoint or the policy"
)]
#[case::root(
    "root",
    Elevation::Admin,
    "the local user root is root, and may do everything already"
)]
#[case::no_group("anna", Elevation::Group("wheel".into()), "there is no local group wheel on this host: create it, or correct the Endpoint or the policy")]
#[case::not_built("anna", Elevation::Account { action: crate::order::AccountAction::Enable, groups: vec![], authorized_keys: vec![] }, "this host (macOS) does not have the capability Account: no applications: that is not built for macOS; no accounts: that is not built for macOS")]
fn what_is_not_there_is_refused(
    #[case] user: &str,
    #[case] elevation: Elevation,
    #[case] expected: &str,
) {
    let fake = Fake::new();
    let order = fake.order(user, elevation);
    let said = fake.with_steps(|steps| steps.give(&order)).unwrap_err();
    assert_eq!(said, expected);
    assert_eq!(fake.names("admin"), ["root"]);
    assert!(fake.state.borrow().loaded.is_empty());
}

#[test]
fn nobody_is_logged_off_by_a_number_that_is_no_persons() {
    let fake = Fake::new();
    for uid in ["0", "", "-1", "all"] {
        let said = processes::end_all_of(&fake, uid).unwrap_err();
        assert_eq!(said, format!("nobody is logged off: {uid:?} is not the number of a person"));
    }
    assert!(fake.state.borrow().called.is_empty());
}
