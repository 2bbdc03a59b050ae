//! The Windows that this runs on.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use lapse_windows::failure::Failure;
use lapse_windows::{accounts, jobs, security, service, sessions, system};

use super::access::{Access, Entry, Part, changed_by};
use super::calls::{CallError, Calls, User};
use super::service::SERVICE;
use super::sid::Sid;
use crate::clock::{Clock, ClockError, Reading};
use crate::digest::sha256_of;

/// Others may read a file that is open, and neither write to it nor remove it (winnt.h).
pub(super) const SHARE_READ: u32 = 1;
/// An entry that is for what is made inside alone (winnt.h).
const INHERIT_ONLY: u8 = 8;

impl From<Failure> for CallError {
    fn from(Failure { call, code }: Failure) -> Self {
        Self { call, code }
    }
}

/// The calls of this Windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostCalls;

/// What Windows gave for a SID.
fn sid_of(call: &'static str, bytes: &[u8]) -> Result<Sid, CallError> {
    // ERROR_INVALID_SID
    Sid::from_bytes(bytes).ok_or(CallError { call, code: 1337 })
}

/// What the group of this SID is called here.
fn group_name(group: &Sid) -> Result<Option<String>, CallError> {
    Ok(accounts::name_of(&group.to_bytes())?.map(|found| found.name))
}

/// The same, where it must be there.
fn known_group(group: &Sid) -> Result<String, CallError> {
    // ERROR_NO_SUCH_ALIAS
    group_name(group)?.ok_or(CallError { call: "LookupAccountSidW", code: 1376 })
}

impl Calls for HostCalls {
    fn imitation(&self) -> Option<String> {
        system::imitation().map(str::to_owned)
    }

    fn is_controller(&self) -> Result<bool, CallError> {
        Ok(system::is_domain_controller()?)
    }

    fn is_privileged(&self) -> Result<bool, CallError> {
        Ok(security::is_one_of(&Sid::administrators().to_bytes())?)
    }

    fn user(&self, name: &str) -> Result<Option<User>, CallError> {
        let Some(found) = accounts::user(name)? else { return Ok(None) };
        let accounts::User { sid, is_off, expires, comment, .. } = found;
        let sid = sid_of("NetUserGetInfo", &sid)?;
        Ok(Some(User { sid, is_off, expires: expires.map(i64::from), comment }))
    }

    fn name_of(&self, user: &Sid) -> Result<Option<String>, CallError> {
        let Some(found) = accounts::name_of(&user.to_bytes())? else { return Ok(None) };
        // One of that name is the host's own only if it is known by the same.
        let own = self.user(&found.name)?;
        Ok(own.filter(|own| own.sid == *user).map(|_| found.name))
    }

    fn group(&self, name: &str) -> Result<Option<Sid>, CallError> {
        let found = accounts::sid_of(name)?;
        found.map(|bytes| sid_of("LookupAccountNameW", &bytes)).transpose()
    }

    fn members(&self, group: &Sid) -> Result<Option<Vec<Sid>>, CallError> {
        let Some(name) = group_name(group)? else { return Ok(None) };
        let Some(members) = accounts::members(&name)? else { return Ok(None) };
        let members = members.iter().map(|bytes| sid_of("NetLocalGroupGetMembers", bytes));
        members.collect::<Result<_, _>>().map(Some)
    }

    fn join(&self, group: &Sid, user: &Sid) -> Result<(), CallError> {
        Ok(accounts::join(&known_group(group)?, &user.to_bytes())?)
    }

    fn leave(&self, group: &Sid, user: &Sid) -> Result<(), CallError> {
        Ok(accounts::leave(&known_group(group)?, &user.to_bytes())?)
    }

    fn switch(&self, name: &str, is_off: bool) -> Result<(), CallError> {
        Ok(accounts::switch(name, is_off)?)
    }

    fn expire(&self, name: &str, at: Option<i64>) -> Result<(), CallError> {
        Ok(accounts::expire(name, at)?)
    }

    fn create(&self, name: &str, comment: &str, password: &str) -> Result<(), CallError> {
        Ok(accounts::create(name, comment, password)?)
    }

    fn remove_profile(&self, user: &Sid) -> Result<(), CallError> {
        Ok(accounts::remove_profile(&user.to_string())?)
    }

    fn remove_user(&self, name: &str) -> Result<(), CallError> {
        Ok(accounts::remove(name)?)
    }

    fn sessions(&self, user: &Sid) -> Result<Vec<u32>, CallError> {
        let Some(who) = accounts::name_of(&user.to_bytes())? else { return Ok(Vec::new()) };
        let is_same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let theirs = sessions::list()?.into_iter().filter(|session| {
            is_same(&session.user, &who.name) && is_same(&session.domain, &who.domain)
        });
        Ok(theirs.map(|session| session.id).collect())
    }

    fn log_off(&self, session: u32) -> Result<(), CallError> {
        Ok(sessions::log_off(session)?)
    }

    fn tell(&self, session: u32, title: &str, text: &str) -> Result<(), CallError> {
        Ok(sessions::tell(session, title, text)?)
    }

    fn processes(&self, user: &Sid) -> Result<Vec<u32>, CallError> {
        let user = user.to_bytes();
        let theirs = sessions::processes()?.into_iter().filter(|process| process.user == user);
        Ok(theirs.map(|process| process.id).collect())
    }

    fn kill(&self, process: u32, user: &Sid) -> Result<(), CallError> {
        Ok(sessions::kill(process, &user.to_bytes())?)
    }

    fn end_job(&self, name: &str) -> Result<(), CallError> {
        Ok(jobs::end(name)?)
    }

    fn access(&self, path: &str) -> Result<Access, CallError> {
        let security::Access { owner, entries } = security::access(path)?;
        let owner = sid_of("GetNamedSecurityInfoW", &owner)?;
        let entries = entries.map(|all| all.into_iter().map(entry).collect());
        Ok(Access { owner, entries })
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let real = fs::canonicalize(path)?.display().to_string();
        Ok(real.strip_prefix(r"\\?\").unwrap_or(&real).to_owned())
    }

    fn digest(&self, path: &str) -> io::Result<String> {
        sha256_of(&mut OpenOptions::new().read(true).share_mode(SHARE_READ).open(path)?)
    }
}

/// An entry by its kind (winnt.h): one that allows, without or with a condition; one that denies, each way.
fn entry(found: security::Entry) -> Entry {
    let security::Entry { kind, flags, mask, sid } = found;
    let sid = sid.and_then(|bytes| Sid::from_bytes(&bytes));
    match (kind, sid) {
        (0 | 9, Some(sid)) => Entry::Allows { sid, mask, inherit_only: flags & INHERIT_ONLY != 0 },
        (1 | 6 | 10 | 12, _) => Entry::Denies,
        _ => Entry::Unknown,
    }
}

/// The clocks of this Windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowsClock;

impl Clock for WindowsClock {
    fn read(&self) -> Result<Reading, ClockError> {
        let from = || "the registry".to_owned();
        let mut fresh = [0; 16];
        getrandom::fill(&mut fresh)
            .map_err(|why| ClockError::Read { from: from(), why: io::Error::other(why) })?;
        let fresh = format!("{:032x}", u128::from_ne_bytes(fresh));
        let boot_id = system::boot_id(&fresh)
            .map_err(|why| ClockError::Read { from: from(), why: io::Error::other(why) })?;
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let wall = Utc::now();
        Ok(Reading { wall, boottime_ms: system::ticks(), boot_id })
    }
}

/// Where the programs of Windows are, and where Windows is.
///
/// # Errors
/// If Windows does not say.
pub fn folders() -> Result<(String, String), CallError> {
    Ok(system::folders()?)
}

/// The folder of the agent, made if it is missing. One that somebody else made before, and could change, is not taken.
///
/// # Errors
/// If there is no such folder, in words.
pub fn private_folder(path: &str) -> Result<PathBuf, String> {
    security::private_folder(path).map_err(|error| format!("making {path}: {error}"))?;
    let access = HostCalls.access(path).map_err(|error| format!("looking at {path}: {error}"))?;
    match changed_by(&access, Part::Own) {
        None => Ok(PathBuf::from(path)),
        Some(who) => Err(format!("{path} {who}: remove it, so that it is made anew")),
    }
}

/// Registers the agent as a service.
///
/// # Errors
/// If that cannot be done, in words.
pub fn install_service(program: &Path) -> Result<(), String> {
    let installed = service::install(&service::Service {
        name: SERVICE.name,
        display_name: SERVICE.display_name,
        description: SERVICE.description,
        program,
        arguments: SERVICE.arguments,
        restarts_after: SERVICE.restarts_after,
        forgets_after: SERVICE.forgets_after,
    });
    installed.map_err(|error| format!("installing the service {}: {error}", SERVICE.name))
}

/// Has Windows forget that service.
///
/// # Errors
/// If that cannot be done, in words.
pub fn uninstall_service() -> Result<(), String> {
    let removed = service::uninstall(SERVICE.name);
    removed.map_err(|error| format!("removing the service {}: {error}", SERVICE.name))
}
