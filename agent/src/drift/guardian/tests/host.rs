//! A host that is a folder, and what somebody does to it.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use lapse_crds::Guard;

use super::super::Guardian;
use crate::clock::{Clock, ClockError, Reading};
use crate::drift::period::{begin, make_folder};
use crate::drift::walk::walk;
use crate::journal::Journal;
use crate::places::{Id, Places};
use crate::record::{Record, Stage, Undo};
use crate::right::{Containment, Elevation, Right};
use crate::system::{Ran, System};
use crate::timers;

/// Calls no program of the machine, and knows which it would have called.
#[derive(Clone, Default)]
pub(super) struct Quiet(pub(super) Arc<Mutex<Vec<String>>>);

impl System for Quiet {
    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<Ran> {
        self.0.lock().unwrap().push(format!("{program} {}", arguments.join(" ")));
        Ok(Ran { code: Some(0), ..Ran::default() })
    }
}

pub(super) fn now() -> Reading {
    #[expect(clippy::disallowed_methods, reason = "what is made now is compared with it")]
    let wall = Utc::now();
    Reading { wall, boottime_ms: 1_000_000, boot_id: "a".into() }
}

struct Still;

impl Clock for Still {
    fn read(&self) -> Result<Reading, ClockError> {
        Ok(now())
    }
}

pub(super) struct Host {
    _folder: tempfile::TempDir,
    pub(super) places: Places,
    pub(super) system: Quiet,
    pub(super) journal: Journal,
}

const SUDOERS: &str = "root ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n";
pub(super) const GROUPS: &str = "root:x:0:\nsudo:x:27:\nops:x:5:\n";

impl Host {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let users = "root:x:0:0::/root:/bin/sh\nal:x:4242:4242::/home/al:/bin/sh\n";
        for (path, text) in [
            ("/etc/passwd", users),
            ("/etc/group", GROUPS),
            ("/etc/sudoers", SUDOERS),
            ("/etc/sudoers.d/README", "# x\n"),
            ("/etc/cron.d/e2scrub", "# x\n"),
            ("/etc/systemd/system/a.service", "[Service]\n"),
            ("/root/.ssh/authorized_keys", "root\n"),
            ("/usr/bin/sudo", "sudo"),
            ("/run/systemd/system/x", ""),
        ] {
            fs::create_dir_all(places.at(path).parent().unwrap()).unwrap();
            fs::write(places.at(path), text).unwrap();
        }
        let journal = Journal::open(&places).unwrap();
        make_folder(&places).unwrap();
        Self { _folder: folder, places, system: Quiet::default(), journal }
    }

    pub(super) fn guardian(&self) -> Guardian {
        let system = Box::new(self.system.clone());
        Guardian::new(self.places.clone(), system, Box::new(Still), self.journal.clone())
    }

    /// Somebody is given a right, as hands do it.
    pub(super) fn give(&self, grant: &str, guard: Guard, reverts: bool) -> Record {
        let now = now();
        let right = Right {
            user: "al".into(),
            uid: 4242,
            starts_at: now.wall,
            expires_at: now.wall + TimeDelta::hours(1),
            elevation: Elevation::Admin,
            log_off: false,
            containment: Some(Containment { guard, reverts }),
            records_children: false,
        };
        let mut record = Record::received(grant.into(), "u".into(), right.clone(), &now);
        let _lock = self.journal.lock().unwrap();
        begin(&self.system, &self.places, &self.journal, (&record, &right), &now).unwrap();
        let (id, rule) = (Id::of(grant), format!("# {grant}\n"));
        timers::arm(
            &self.system,
            &self.places,
            (&id, grant),
            right.expires_at,
            TimeDelta::hours(1),
        )
        .unwrap();
        fs::write(self.places.rule(&id), &rule).unwrap();
        record.undo = Some(Undo { rule: Some(rule), ..Undo::default() });
        record.go(Stage::Active, &now);
        self.journal.write(&self.system, &record).unwrap();
        record
    }

    pub(super) fn end(&self, record: &mut Record) {
        let id = Id::of(&record.grant);
        fs::remove_file(self.places.rule(&id)).unwrap();
        timers::disarm(&self.system, &self.places, &id).unwrap();
        record.go(Stage::Over, &now());
        self.journal.write(&self.system, record).unwrap();
    }

    /// All that the agent does after the end of a right.
    pub(super) fn compare(&self, guardian: &mut Guardian) {
        let over = guardian.check().unwrap().to_settle;
        let settled = (0..4).find(|_| guardian.settle(&over, false).unwrap());
        assert!(settled.is_some());
        let over = guardian.check().unwrap().to_compare;
        let found = walk(&self.places, &now(), &|| false).unwrap();
        guardian.conclude(&over, &found).unwrap();
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.places.at(path).parent().unwrap()).unwrap();
        fs::write(self.places.at(path), text).unwrap();
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.places.at(path)).ok()
    }

    /// What somebody does who wants to stay root.
    pub(super) fn attack(&self) {
        self.write("/etc/sudoers.d/evil", "al ALL=(ALL) NOPASSWD: ALL\n");
        self.write("/etc/sudoers", "ALL ALL=(ALL) NOPASSWD: ALL\n");
        self.write("/etc/group", &GROUPS.replace("sudo:x:27:", "sudo:x:27:al"));
        self.write("/root/.ssh/authorized_keys", "evil\n");
        self.write("/etc/cron.d/evil", "* * * * * root sh\n");
        self.write("/etc/systemd/system/lapse-agent.service", "[Service]\n");
        self.write("/etc/systemd/system/evil.service", "[Service]\n");
    }

    /// Which of it is there.
    pub(super) fn left(&self) -> Vec<&str> {
        let rule = self.text("/etc/sudoers.d/evil").is_some().then_some("rule");
        let sudoers = (self.text("/etc/sudoers").as_deref() != Some(SUDOERS)).then_some("sudoers");
        let group = (self.text("/etc/group").as_deref() != Some(GROUPS)).then_some("group");
        let keys = (self.text("/root/.ssh/authorized_keys").as_deref() != Some("root\n"))
            .then_some("keys");
        let cron = self.text("/etc/cron.d/evil").is_some().then_some("cron");
        let agent =
            self.text("/etc/systemd/system/lapse-agent.service").is_some().then_some("agent");
        let unit = self.text("/etc/systemd/system/evil.service").is_some().then_some("unit");
        [rule, sudoers, group, keys, cron, agent, unit].into_iter().flatten().collect()
    }
}
