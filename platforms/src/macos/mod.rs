//! Rights on macOS, by the tools that come with it. All of this is the same wherever it runs, so that it is tested where the
//! project is; [`here`] has what is left: its clocks.
//!
//! [`directory`]: local users and groups. [`ends`]: what launchd runs. [`processes`]: what runs as somebody.

mod directory;
pub mod ends;
#[cfg(target_os = "macos")]
pub mod here;
mod processes;

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use self::directory::{Directory, Kind};
use self::ends::Jobs;
use crate::files::Files;
use crate::host::{AnyDriver, Host, Probe};
use crate::memberships::{Groups, Memberships};
use crate::order::{Capability, Elevation, Gives, Named, Order, OrderId, Right};
use crate::tools::{Tools, succeed};

/// The group of the administrators, and its number.
const ADMINISTRATORS: (&str, &str) = ("admin", "80");

/// A host with macOS.
#[derive(Clone)]
pub struct Mac<'a> {
    /// What runs its programs.
    pub tools: &'a dyn Tools,
    /// What changes files.
    pub files: &'a dyn Files,
    /// Where launchd reads the jobs of the host: `/Library/LaunchDaemons`.
    pub folder: PathBuf,
    /// The program that ends orders, by its whole path.
    pub program: String,
}

/// Whether a name can be one of the directory: it is a part of a path there.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=128).contains(&name.len())
        && name.chars().all(is_letter)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

impl Mac<'_> {
    fn directory(&self) -> Directory<'_> {
        Directory(self.tools)
    }

    fn jobs(&self) -> Jobs<'_> {
        Jobs { tools: self.tools, files: self.files, folder: &self.folder }
    }

    fn found(&self, kind: Kind, name: &str) -> Result<Named, String> {
        let what = match kind {
            Kind::Users => "user",
            Kind::Groups => "group",
        };
        let missing = || {
            format!(
                "there is no local {what} {name} on this host: create it, or correct the Endpoint or the policy"
            )
        };
        if !is_name(name) {
            return Err(missing());
        }
        let id = self.directory().number_of(kind, name)?.ok_or_else(missing)?;
        Ok(Named { name: name.to_owned(), id })
    }

    /// What keeps everything from being given here, in words.
    fn lacks(&self) -> Option<String> {
        let who =
            succeed(self.tools, "asking who this runs as", (Path::new("/usr/bin/id"), &["-u"]), "");
        match who {
            Ok(who) if who.trim() == "0" => {}
            Ok(_) => return Some("only root can give access".to_owned()),
            Err(problem) => return Some(problem),
        }
        let (name, number) = ADMINISTRATORS;
        match self.directory().number_of(Kind::Groups, name) {
            Ok(Some(found)) if found == number => {}
            Ok(_) => {
                return Some(format!("there is no local group {name} with the number {number}"));
            }
            Err(problem) => return Some(problem),
        }
        let launchctl = (Path::new("/bin/launchctl"), &["managername"][..]);
        succeed(self.tools, "asking launchd", launchctl, "").err()
    }
}

impl Groups for Directory<'_> {
    fn is_in(&self, user: &Named, group: &Named) -> Result<Option<bool>, String> {
        let Some(group) = self.name_of(Kind::Groups, &group.id)? else { return Ok(None) };
        let Some(user) = self.name_of(Kind::Users, &user.id)? else { return Ok(Some(false)) };
        let members = self.members(&group)?;
        Ok(Some(members.names.contains(&user) || members.guids.contains(&self.guid_of(&user)?)))
    }

    fn join(&self, user: &Named, group: &Named) -> Result<(), String> {
        self.change("-a", user, group)
    }

    fn leave(&self, user: &Named, group: &Named) -> Result<(), String> {
        self.change("-d", user, group)
    }

    fn end_all_of(&self, user: &Named) -> Result<(), String> {
        processes::end_all_of(self.0, &user.id)
    }
}

impl Directory<'_> {
    /// By the names that they have now.
    fn change(&self, option: &str, user: &Named, group: &Named) -> Result<(), String> {
        let gone = |named: &Named| format!("{} is not there any more", named.name);
        let to = self.name_of(Kind::Groups, &group.id)?.ok_or_else(|| gone(group))?;
        let who = self.name_of(Kind::Users, &user.id)?.ok_or_else(|| gone(user))?;
        self.edit(option, &who, &to)
    }
}

impl Host for Mac<'_> {
    fn probe(&self) -> Probe {
        let system = "macOS".to_owned();
        if let Some(why) = self.lacks() {
            return Probe { system, can: Vec::new(), lacks: vec![why] };
        }
        let lacks = ["applications", "accounts"];
        let lacks = lacks.map(|what| format!("no {what}: that is not built for macOS"));
        let can = vec![Capability::Admin, Capability::Group];
        Probe { system, can, lacks: lacks.to_vec() }
    }

    fn resolve(&self, order: &Order) -> Result<Right, String> {
        let groups = match &order.elevation {
            Elevation::Admin => vec![self.found(Kind::Groups, ADMINISTRATORS.0)?],
            Elevation::Group(name) => vec![self.found(Kind::Groups, name)?],
            Elevation::Application(_) | Elevation::Account { .. } => {
                return Err("that is not built for macOS".to_owned());
            }
        };
        let user = self.found(Kind::Users, &order.user)?;
        if user.id == "0" {
            return Err(format!(
                "the local user {} is root, and may do everything already",
                user.name
            ));
        }
        let gives = Gives::Groups(groups);
        Ok(Right { user, expires_at: order.expires_at, gives, log_off: order.log_off })
    }

    fn check(&self, right: &Right) -> Result<(), String> {
        let known = right.gives.groups().iter().map(|group| (Kind::Groups, group));
        for (kind, named) in known.chain([(Kind::Users, &right.user)]) {
            let found = self.directory().number_of(kind, &named.name)?;
            if found.as_deref() != Some(&named.id) {
                return Err(format!("{} is not {} on this host any more", named.name, named.id));
            }
        }
        Ok(())
    }

    fn driver<'a>(&'a self, _: &'a OrderId, right: &'a Right) -> AnyDriver<'a> {
        let (host, groups) = (Box::new(self.directory()), right.gives.groups());
        Box::new(Memberships { host, right, groups })
    }

    /// When it ends the job does not need to be told: it looks at the record, by all clocks.
    fn arm(&self, id: &OrderId, _: &str, _: DateTime<Utc>, _: TimeDelta) -> Result<(), String> {
        self.jobs().arm(id, &self.program)
    }

    fn disarm(&self, id: &OrderId) -> Result<(), String> {
        self.jobs().disarm(id)
    }

    fn log_off(&self, right: &Right) -> Result<(), String> {
        processes::end_all_of(self.tools, &right.user.id)
    }
}

#[cfg(test)]
mod tests;
