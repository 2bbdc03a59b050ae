//! Rights on Windows. All of this is the same wherever it runs, so that it is tested where the project is; [`here`] makes the
//! calls.
//!
//! - [`calls`]: what is asked of Windows. [`sid`], [`access`]: how it knows people, and who may change a file.
//! - [`groups`], [`enable`], [`provision`], [`application`]: what the drivers do here. [`processes`]: what runs as somebody.
//! - [`ends`]: the two scheduled tasks. [`messages`]: what people are told. [`service`]: how the agent would be installed.

pub mod access;
pub mod application;
pub mod calls;
mod enable;
pub mod ends;
mod groups;
#[cfg(windows)]
pub mod here;
pub mod messages;
pub mod processes;
mod provision;
pub mod service;
pub mod sid;
#[cfg(windows)]
pub mod start;

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use self::calls::{CallError, Calls};
use self::ends::Tasks;
use self::sid::Sid;
use crate::files::Files;
use crate::host::{AnyDriver, Host, Probe};
use crate::memberships::Memberships;
use crate::order::{AccountAction, Capability, Elevation, Gives, Named, Order, OrderId, Right};
use crate::tools::Tools;

/// What every capability needs.
const ALL: [Capability; 4] =
    [Capability::Admin, Capability::Group, Capability::Application, Capability::Account];

/// A host with Windows.
#[derive(Clone)]
pub struct Windows<'a> {
    /// What is asked of it.
    pub calls: &'a dyn Calls,
    /// What runs its programs.
    pub tools: &'a dyn Tools,
    /// What changes files.
    pub files: &'a dyn Files,
    /// Where its programs are, such as `C:\Windows\System32`.
    pub system: PathBuf,
    /// A folder that only the system and its administrators can change.
    pub folder: PathBuf,
    /// The program that ends orders, by its whole path.
    pub program: String,
}

impl Windows<'_> {
    fn schtasks(&self) -> PathBuf {
        self.system.join("schtasks.exe")
    }

    fn tasks(&self) -> Tasks<'_> {
        let (tools, files, folder): (_, _, &Path) = (self.tools, self.files, &self.folder);
        Tasks { tools, files, schtasks: self.schtasks(), folder }
    }

    /// What keeps everything from being given here, in words.
    fn lacks(&self) -> Option<String> {
        if let Some(found) = self.calls.imitation() {
            return Some(format!(
                "this is Wine, or something else that looks like Windows ({found}): its calls for groups and accounts report \
                 success and do nothing, so no access is given here"
            ));
        }
        match self.calls.is_controller() {
            Ok(false) => {}
            Ok(true) => {
                return Some(
                    "this host is a domain controller, and has no users and groups of its own"
                        .to_owned(),
                );
            }
            Err(error) => return Some(format!("what this host is cannot be told: {error}")),
        }
        match self.calls.is_privileged() {
            Ok(true) => {}
            Ok(false) => {
                return Some("only an administrator, or the system, can give access".to_owned());
            }
            Err(error) => return Some(format!("who this runs as cannot be told: {error}")),
        }
        if let Err(error) = self.calls.members(&Sid::administrators()) {
            return Some(format!("the group of the administrators cannot be read: {error}"));
        }
        let ended = self.tools.run(&self.schtasks(), &["/Query"], "");
        match ended {
            Ok(ended) if ended.is_ok() => None,
            Ok(_) => Some(format!(
                "{} does not list the tasks that there are",
                self.schtasks().display()
            )),
            Err(error) => Some(format!("access cannot be ended without the agent: {error}")),
        }
    }

    fn group(&self, name: &str) -> Result<Named, String> {
        let words = |error: CallError| format!("looking for the local group {name}: {error}");
        let missing =
            || format!("there is no local group {name} on this host: create it, or name its SID");
        let sid = match Sid::read(name) {
            Some(sid) => Some(sid),
            None => self.calls.group(name).map_err(words)?,
        };
        // One of a domain is none of the host.
        let sid = match sid {
            Some(sid) => self.calls.members(&sid).map_err(words)?.map(|_| sid),
            None => None,
        };
        let id = sid.ok_or_else(missing)?.to_string();
        Ok(Named { name: name.to_owned(), id })
    }

    fn user(&self, name: &str) -> Result<Named, String> {
        let words = |error: CallError| format!("looking for the local user {name}: {error}");
        let found = self.calls.user(name).map_err(words)?;
        let found = found.ok_or_else(|| {
            format!("there is no local user {name} on this host: create it, or correct spec.users of the Endpoint")
        })?;
        if found.sid.is_built_in_administrator() {
            return Err(format!(
                "the local user {name} is the administrator of this host, and may do everything already"
            ));
        }
        Ok(Named { name: name.to_owned(), id: found.sid.to_string() })
    }

    fn account(
        &self,
        (action, groups, keys): (AccountAction, &[String], &[String]),
    ) -> Result<Gives, String> {
        if !keys.is_empty() {
            return Err("authorizedKeys are not written on Windows: leave them out of spec.users of the Endpoint".to_owned());
        }
        let groups = groups.iter().map(|group| self.group(group)).collect::<Result<_, _>>()?;
        Ok(match action {
            AccountAction::Enable => Gives::Enabled,
            AccountAction::Provision => Gives::Made(groups),
            AccountAction::Raise => Gives::Groups(groups),
        })
    }
}

impl Host for Windows<'_> {
    fn probe(&self) -> Probe {
        let system = "Windows".to_owned();
        match self.lacks() {
            Some(why) => Probe { system, can: Vec::new(), lacks: vec![why] },
            None => Probe { system, can: ALL.to_vec(), lacks: Vec::new() },
        }
    }

    fn resolve(&self, order: &Order) -> Result<Right, String> {
        let gives = match &order.elevation {
            Elevation::Admin => {
                let (name, id) = ("Administrators".to_owned(), Sid::administrators().to_string());
                Gives::Groups(vec![Named { name, id }])
            }
            Elevation::Group(name) => Gives::Groups(vec![self.group(name)?]),
            Elevation::Application(program) => Gives::Application(program.clone()),
            Elevation::Account { action, groups, authorized_keys } => {
                self.account((*action, groups, authorized_keys))?
            }
        };
        let user = match gives {
            Gives::Made(_) => Named { name: order.user.clone(), id: String::new() },
            _ => self.user(&order.user)?,
        };
        Ok(Right { user, expires_at: order.expires_at, gives, log_off: order.log_off })
    }

    fn check(&self, right: &Right) -> Result<(), String> {
        for group in right.gives.groups() {
            let sid = groups::sid_of(group)?;
            let words = |error: CallError| format!("looking for {}: {error}", group.name);
            let found = self.calls.members(&sid).map_err(words)?;
            found.ok_or_else(|| format!("the local group {} is gone", group.name))?;
        }
        if matches!(right.gives, Gives::Made(_)) {
            // Who makes it looks at it.
            return Ok(());
        }
        let found = self.user(&right.user.name)?;
        let Named { name, id } = &right.user;
        (found.id == *id)
            .then_some(())
            .ok_or_else(|| format!("the local user {name} is not {id} any more"))
    }

    fn driver<'a>(&'a self, id: &'a OrderId, right: &'a Right) -> AnyDriver<'a> {
        let calls = self.calls;
        match &right.gives {
            Gives::Groups(groups) => {
                let host = Box::new(groups::LocalGroups(calls));
                Box::new(Memberships { host, right, groups })
            }
            Gives::Application(program) => {
                Box::new(application::Application { calls, id, program })
            }
            Gives::Enabled => Box::new(enable::Enable { calls, right }),
            Gives::Made(groups) => Box::new(provision::Provision { calls, id, right, groups }),
        }
    }

    fn arm(
        &self,
        id: &OrderId,
        grant: &str,
        end: DateTime<Utc>,
        rest: TimeDelta,
    ) -> Result<(), String> {
        self.tasks().arm((id, grant, &self.program), end, rest)
    }

    fn disarm(&self, id: &OrderId) -> Result<(), String> {
        self.tasks().disarm(id)
    }

    fn log_off(&self, right: &Right) -> Result<(), String> {
        // One that was made is gone, and what ran as it.
        let Some(sid) = Sid::read(&right.user.id) else { return Ok(()) };
        processes::end_all_of(self.calls, &sid)
    }
}

#[cfg(test)]
mod tests;
