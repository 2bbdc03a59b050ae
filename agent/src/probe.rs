//! What the host can do, found by trying. Nothing is taken for granted from a version.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lapse_crds::Capability;

use crate::bus::BUS;
use crate::places::{Places, SUDO_LOGS};
use crate::sudo::{Dialect, LOGGING, LOGGING_CHILDREN, LOGIN_SERVICE, SERVICE, judge};
use crate::system::System;
use crate::timers;

/// What is run when sudo opens a session.
pub const SESSION: &str = "/usr/lib/lapse/session";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// What its sudo understands.
    pub dialect: Dialect,
    /// What can be done.
    pub capabilities: Vec<Capability>,
    /// What cannot, and why, in words.
    pub lacks: Vec<String>,
    /// What the host runs, in its own words.
    pub system: Option<String>,
}

impl Probe {
    /// What the sudo of the host understands, if rights with sudo can be given.
    ///
    /// # Errors
    /// In words, if none can.
    pub fn sudo(&self) -> Result<Dialect, String> {
        if self.capabilities.contains(&Capability::Admin) {
            Ok(self.dialect)
        } else {
            Err(self.lacks.join("; "))
        }
    }
}

/// What keeps a host from giving rights of a kind, in words.
type Lacks = fn(&dyn System, &Places) -> Option<String>;

/// Tries.
#[must_use]
pub fn probe(system: &dyn System, places: &Places) -> Probe {
    let mut found = Probe { system: name_of(places), ..Probe::default() };
    let general = timers_lack(places);
    if let Some(why) = general.clone().or_else(|| sudo_lacks(system, places, &mut found.dialect)) {
        found.lacks.push(format!("no access with sudo: {why}"));
    } else {
        found.capabilities.extend([Capability::Admin, Capability::Commands]);
        if found.dialect.patterns {
            found.capabilities.push(Capability::CommandPatterns);
        }
        if found.dialect.not_after {
            found.capabilities.push(Capability::RuleCarriesEnd);
        }
        match record_lacks(places, found.dialect) {
            Some(why) => {
                found.dialect.logs = false;
                found.lacks.push(format!("no record of what is done with sudo: {why}"));
            }
            None => found.capabilities.push(Capability::SessionRecord),
        }
    }
    let others: [(&str, Capability, Lacks); 3] = [
        ("memberships of groups", Capability::Group, group_lacks),
        ("applications", Capability::Application, application_lacks),
        ("accounts", Capability::Account, account_lacks),
    ];
    for (what, capability, lacks) in others {
        match general.clone().or_else(|| lacks(system, places)) {
            Some(why) => found.lacks.push(format!("no {what}: {why}")),
            None => found.capabilities.push(capability),
        }
    }
    found.capabilities.sort_unstable();
    found
}

/// What keeps systemd from ending a right.
fn timers_lack(places: &Places) -> Option<String> {
    if !places.at("/run/systemd/system").is_dir() {
        return Some(
            "this host was not started by systemd, which ends access without the agent".to_owned(),
        );
    }
    let folders = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    let has_service = folders.iter().any(|folder| places.at(folder).join(timers::SERVICE).exists());
    (!has_service).then(|| {
        format!("the unit {} is missing: install the package lapse-agent again", timers::SERVICE)
    })
}

fn sudo_lacks(system: &dyn System, places: &Places, dialect: &mut Dialect) -> Option<String> {
    let version = match system.run("sudo", &["-V"]) {
        // sudo-rs says it where errors go.
        Ok(ran) if ran.is_ok() => {
            let said = [ran.stdout, ran.stderr].concat();
            said.lines().next().unwrap_or_default().to_owned()
        }
        Ok(ran) => return Some(format!("sudo does not say its version: {}", ran.said())),
        Err(error) => return Some(format!("there is no sudo ({error})")),
    };
    let accepts =
        |line: &str| judge(system, places, &format!("{line}\n")).is_ok_and(|ran| ran.is_ok());
    // A check that accepts everything says nothing.
    if !accepts("#1 ALL=(root) NOPASSWD: /bin/true \"\"") || accepts("#1 ALL=(root) NOPASSWD: true")
    {
        return Some(format!("visudo of {version} does not tell a good rule from a bad one"));
    }
    *dialect = Dialect {
        not_after: accepts("#1 ALL=(root) NOTAFTER=20300101000000Z NOPASSWD: /bin/true"),
        patterns: version.starts_with("Sudo version") && accepts("#1 ALL=(root) /bin/true ^a+$"),
        services: accepts(&format!(
            "Defaults:#1 pam_service={SERVICE}, pam_login_service={LOGIN_SERVICE}, pam_session"
        )),
        escapes: version.starts_with("Sudo version") && accepts("#1 ALL=(root) /bin/true a\\,b"),
        logs: accepts(&format!("Defaults:#1 {LOGGING}, {LOGGING_CHILDREN}, logfile={SUDO_LOGS}/x")),
    };
    if !dialect.services {
        return Some(format!(
            "{version} cannot open a user's sessions by a service of their own, so that what is started could not be \
             ended. Install sudo 1.9 as `sudo`"
        ));
    }
    for path in
        [SESSION.to_owned(), format!("/etc/pam.d/{SERVICE}"), format!("/etc/pam.d/{LOGIN_SERVICE}")]
    {
        if !places.at(&path).exists() {
            return Some(format!("{path} is missing: install the package lapse-agent again"));
        }
    }
    kill_lacks(places)
}

fn kill_lacks(places: &Places) -> Option<String> {
    let kill = places.at("/sys/fs/cgroup/system.slice/cgroup.kill");
    (!kill.exists()).then(|| {
        "the kernel cannot end a group of processes at once (cgroups of version 2, Linux 5.14 or later)".to_owned()
    })
}

/// What keeps sudo from logging what is done.
fn record_lacks(places: &Places, dialect: Dialect) -> Option<String> {
    if !dialect.logs {
        return Some("it takes sudo 1.9.8 or later".to_owned());
    }
    // sudo follows what is started as a debugger does, and starts nothing where nobody may.
    let scope = fs::read_to_string(places.at("/proc/sys/kernel/yama/ptrace_scope"));
    if scope.is_ok_and(|scope| scope.trim() == "3") {
        return Some(
            "kernel.yama.ptrace_scope is 3, so that sudo cannot see what is started".to_owned(),
        );
    }
    (!is_apart(places)).then(|| {
        format!(
            "{SUDO_LOGS} is no file system of its own (systemctl status run-lapse-sudo.mount), so that what is logged could fill \
             another one"
        )
    })
}

/// Whether what sudo logs lies on a file system of its own.
#[must_use]
pub fn is_apart(places: &Places) -> bool {
    let logs = places.sudo_logs();
    let device = |path: &std::path::Path| fs::metadata(path).map(|found| found.dev()).ok();
    match (device(&logs), logs.parent().and_then(device)) {
        (Some(own), Some(above)) => own != above,
        _ => false,
    }
}

fn group_lacks(system: &dyn System, places: &Places) -> Option<String> {
    files_lack(places, &["/etc/group"]).or_else(|| programs_lack(system, &["gpasswd"]))
}

fn application_lacks(system: &dyn System, places: &Places) -> Option<String> {
    let has_bus = places.at(BUS).exists();
    let no_bus = (!has_bus).then(|| {
        format!("systemd cannot be handed what a program reads and writes without D-Bus ({BUS} is missing)")
    });
    no_bus.or_else(|| programs_lack(system, &["systemd-run"])).or_else(|| kill_lacks(places))
}

/// What changes accounts, and what removes what they leave.
const ACCOUNTS: [&str; 9] = [
    "chage", "gpasswd", "groupadd", "groupdel", "setpriv", "timeout", "useradd", "userdel",
    "usermod",
];

fn account_lacks(system: &dyn System, places: &Places) -> Option<String> {
    let files = files_lack(places, &["/etc/passwd", "/etc/shadow", "/etc/group"]);
    files.or_else(|| programs_lack(system, &ACCOUNTS)).or_else(|| kill_lacks(places))
}

fn files_lack(places: &Places, files: &[&str]) -> Option<String> {
    files.iter().find_map(|file| {
        fs::metadata(places.at(file)).err().map(|error| format!("{file}: {error}"))
    })
}

fn programs_lack(system: &dyn System, programs: &[&str]) -> Option<String> {
    programs.iter().find_map(|program| {
        let there = system.run(program, &["--help"]);
        there.err().map(|error| format!("there is no {program} ({error})"))
    })
}

fn name_of(places: &Places) -> Option<String> {
    let text = fs::read_to_string(places.at("/etc/os-release")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name: String = name.trim_matches('"').chars().take(200).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::system::Ran;

    /// A host that has all programs but one.
    struct Without(&'static str);

    impl System for Without {
        fn run(&self, program: &str, _: &[&str]) -> io::Result<Ran> {
            if program == self.0 {
                let missing = format!("{program}: No such file or directory");
                return Err(io::Error::new(io::ErrorKind::NotFound, missing));
            }
            Ok(Ran { code: Some(0), ..Ran::default() })
        }
    }

    fn host(files: &[&str]) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.at("/run/systemd/system")).unwrap();
        for file in files {
            fs::create_dir_all(places.at(file).parent().unwrap()).unwrap();
            fs::write(places.at(file), "").unwrap();
        }
        (folder, places)
    }

    const ALL: [&str; 6] = [
        "/usr/lib/systemd/system/lapse-end@.service",
        "/run/dbus/system_bus_socket",
        "/sys/fs/cgroup/system.slice/cgroup.kill",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/group",
    ];

    #[test]
    fn a_host_that_has_all_of_it_can_give_programs_and_accounts() {
        let (_folder, places) = host(&ALL);
        let found = probe(&Without("sudo"), &places);
        let can = [Capability::Group, Capability::Application, Capability::Account];
        assert_eq!(found.capabilities, can);
        assert_eq!(found.lacks.len(), 1, "{:?}", found.lacks);
    }

    #[test]
    fn what_other_platforms_can_do_has_the_names_of_the_api() {
        use lapse_platforms::order::Capability as Other;
        for (own, other) in [
            (Capability::Admin, Other::Admin),
            (Capability::Group, Other::Group),
            (Capability::Application, Other::Application),
            (Capability::Account, Other::Account),
        ] {
            assert_eq!(own.to_string(), other.to_string());
        }
    }

    #[test]
    fn what_a_host_lacks_is_said_in_words() {
        let mut said = Vec::new();
        for (program, left_out) in [
            ("systemd-run", "none"),
            ("userdel", "none"),
            ("sudo", "/run/dbus/system_bus_socket"),
            ("sudo", "/etc/shadow"),
            ("sudo", "/sys/fs/cgroup/system.slice/cgroup.kill"),
        ] {
            let files: Vec<&str> = ALL.into_iter().filter(|file| *file != left_out).collect();
            let (_folder, places) = host(&files);
            let lacks = probe(&Without(program), &places).lacks;
            let lacks = lacks.into_iter().filter(|lack| !lack.starts_with("no access with sudo"));
            said.push(lacks.collect::<Vec<_>>().join("\n"));
        }
        insta::assert_snapshot!(said.join("\n"), @r"
        no applications: there is no systemd-run (systemd-run: No such file or directory)
        no accounts: there is no userdel (userdel: No such file or directory)
        no applications: systemd cannot be handed what a program reads and writes without D-Bus (/run/dbus/system_bus_socket is missing)
        no accounts: /etc/shadow: No such file or directory (os error 2)
        no applications: the kernel cannot end a group of processes at once (cgroups of version 2, Linux 5.14 or later)
        no accounts: the kernel cannot end a group of processes at once (cgroups of version 2, Linux 5.14 or later)
        ");
    }
}
