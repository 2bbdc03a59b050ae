//! What the host can do, found by trying. Nothing is taken for granted from a version.

use std::fs;

use lapse_crds::Capability;

use crate::places::Places;
use crate::sudo::{Dialect, LOGIN_SERVICE, SERVICE, judge};
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
    }
    match general.or_else(|| group_lacks(system, places)) {
        Some(why) => found.lacks.push(format!("no memberships of groups: {why}")),
        None => found.capabilities.push(Capability::Group),
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
    let kill = places.at("/sys/fs/cgroup/system.slice/cgroup.kill");
    (!kill.exists()).then(|| {
        "the kernel cannot end a group of processes at once (cgroups of version 2, Linux 5.14 or later)".to_owned()
    })
}

fn group_lacks(system: &dyn System, places: &Places) -> Option<String> {
    if let Err(error) = fs::metadata(places.at("/etc/group")) {
        return Some(format!("/etc/group: {error}"));
    }
    let there = system.run("gpasswd", &["--help"]);
    there.err().map(|error| format!("there is no gpasswd ({error})"))
}

fn name_of(places: &Places) -> Option<String> {
    let text = fs::read_to_string(places.at("/etc/os-release")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name: String = name.trim_matches('"').chars().take(200).collect();
    (!name.is_empty()).then_some(name)
}
