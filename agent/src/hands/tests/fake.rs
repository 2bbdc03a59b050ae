//! A host that is a folder: what is a file there is a file here, and programs do what they would to the files.

mod tools;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta};
use lapse_crds::Guard;

use crate::clock::{Clock, ClockError, Reading};
use crate::hands::Hands;
use crate::places::{Id, Places};
use crate::record::Record;
use crate::right::{Containment, Elevation, Right};
use crate::sudo::Dialect;
use crate::system::{Ran, System};

/// A host, and what goes wrong on it.
#[derive(Clone)]
pub(super) struct Fake(pub(super) Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) places: Places,
    pub(super) steps: usize,
    /// At which step the power goes: before it has an effect, or after.
    pub(super) crash: Option<(usize, bool)>,
    /// What fails, by a word of it.
    pub(super) fails: Vec<&'static str>,
    pub(super) now: Reading,
    /// What the kernel was told, by the path.
    told: Vec<String>,
}

impl Fake {
    pub(super) fn new(folder: &Path) -> Self {
        let places = Places::under(folder);
        for path in ["etc/sudoers.d", "etc/systemd/system", "var/lib/systemd/timers", "proc"] {
            fs::create_dir_all(folder.join(path)).unwrap();
        }
        fs::write(
            places.at("/etc/passwd"),
            "al:x:1000:1000::/:/bin/sh\nbo:x:1001:1001::/:/bin/sh\n",
        )
        .unwrap();
        fs::write(places.at("/etc/group"), "adm:x:4:bo\nops:x:5:\n").unwrap();
        let now = Reading {
            wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
            boottime_ms: 1_000_000,
            boot_id: "a".into(),
        };
        let (crash, fails) = (None, vec![]);
        Self(Arc::new(Mutex::new(State { places, steps: 0, crash, fails, now, told: vec![] })))
    }

    pub(super) fn hands(&self) -> Hands {
        let (not_after, patterns, services, escapes, logs) = (true, true, true, true, true);
        let dialect = Dialect { not_after, patterns, services, escapes, logs };
        let places = self.0.lock().unwrap().places.clone();
        let hands = Hands::new(Box::new(self.clone()), Box::new(self.clone()), places);
        hands.unwrap().knowing(dialect)
    }

    pub(super) fn pass(&self, seconds: i64) {
        let now = &mut self.0.lock().unwrap().now;
        now.wall += TimeDelta::seconds(seconds);
        now.boottime_ms += u64::try_from(seconds).unwrap() * 1000;
    }

    pub(super) fn order(&self, grant: &str, elevation: Elevation, seconds: i64) -> Record {
        let now = self.0.lock().unwrap().now.clone();
        let expires_at = now.wall + TimeDelta::seconds(seconds);
        let is_root = elevation.gives_root();
        let containment = Containment { guard: Guard::Enforce, reverts: true };
        let right = Right {
            user: "al".into(),
            uid: 1000,
            starts_at: now.wall,
            expires_at,
            elevation,
            log_off: false,
            containment: is_root.then_some(containment),
            records_children: false,
        };
        Record::received(grant.into(), "u".into(), right, &now)
    }

    /// Stops or fails a step, as it was told to.
    fn step<T>(
        &self,
        what: &str,
        effect: impl FnOnce() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let (is_before, is_after) = {
            let mut state = self.0.lock().unwrap();
            let number = state.steps;
            state.steps += 1;
            if state.fails.iter().any(|word| what.contains(word)) {
                return Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left"));
            }
            (state.crash == Some((number, false)), state.crash == Some((number, true)))
        };
        assert!(!is_before, "the power goes before {what}");
        let done = effect();
        assert!(!is_after, "the power goes after {what}");
        done
    }

    pub(super) fn members(&self, group: &str) -> Vec<String> {
        let places = self.0.lock().unwrap().places.clone();
        crate::accounts::group(&places, group).unwrap().unwrap().members
    }

    /// How often the user was logged off.
    pub(super) fn logged_off(&self) -> usize {
        let told = &self.0.lock().unwrap().told;
        told.iter().filter(|path| path.ends_with("user-1000.slice/cgroup.kill")).count()
    }

    /// What is there of a right.
    pub(super) fn traces(&self, grant: &str) -> (bool, bool, bool) {
        let places = self.0.lock().unwrap().places.clone();
        let id = Id::of(grant);
        let has_timer = places
            .at("/etc/systemd/system")
            .join(format!("lapse-end-{id}.timer"))
            .exists()
            && places.at("/run/systemd/system").join(format!("lapse-after-{id}.timer")).exists();
        let is_member = self.members("ops").contains(&"al".to_owned());
        (places.rule(&id).exists(), is_member, has_timer)
    }
}

impl Clock for Fake {
    fn read(&self) -> Result<Reading, ClockError> {
        Ok(self.0.lock().unwrap().now.clone())
    }
}

impl System for Fake {
    fn run(&self, program: &str, arguments: &[&str]) -> std::io::Result<Ran> {
        if let Some(ran) = tools::run(self, program, arguments) {
            return ran;
        }
        let what = format!("{program} {}", arguments.join(" "));
        let group = self.0.lock().unwrap().places.at("/etc/group");
        self.step(&what, || {
            if let ("gpasswd", [option, user, name]) = (program, arguments) {
                let text = fs::read_to_string(&group).unwrap();
                let lines = text.lines().map(|line| match line.strip_prefix(&format!("{name}:")) {
                    Some(_) => {
                        let (start, members) = line.rsplit_once(':').unwrap();
                        let mut members: Vec<_> =
                            members.split(',').filter(|m| m != user && !m.is_empty()).collect();
                        if *option == "--add" {
                            members.push(user);
                        }
                        format!("{start}:{}\n", members.join(","))
                    }
                    None => format!("{line}\n"),
                });
                fs::write(&group, lines.collect::<String>()).unwrap();
            }
            let listed = "pam_service=lapse-sudo, pam_login_service=lapse-sudo-i, pam_session";
            Ok(Ran { code: Some(0), stdout: listed.to_owned(), ..Ran::default() })
        })
    }

    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
        self.step(&format!("write {}", path.display()), || {
            crate::durable::replace(path, content, mode)
        })
    }

    fn tell_kernel(&self, path: &Path, text: &str) -> std::io::Result<()> {
        self.step(&format!("tell {}", path.display()), || {
            self.0.lock().unwrap().told.push(path.display().to_string());
            fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
        })
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.step(&format!("remove {}", path.display()), || crate::durable::remove(path))
    }
}
