//! What is asked of Windows, in one place: so that a test can stand in for it, and stop it between any two changes.

use std::io;

use super::access::Access;
use super::sid::Sid;

/// Why Windows did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed with {code}{}", meaning(*code))]
pub struct CallError {
    /// Which call.
    pub call: &'static str,
    /// What it returned. What that means in words Windows says in the language of the host, so it is not asked.
    pub code: u32,
}

fn meaning(code: u32) -> &'static str {
    match code {
        5 => " (access denied)",
        112 => " (the disk is full)",
        1376 | 2220 => " (there is no such group)",
        1377 => " (not a member of the group)",
        1378 => " (a member of the group already)",
        2221 => " (there is no such user)",
        2224 => " (there is such a user already)",
        2245 => " (the password does not meet the policy of the host)",
        _ => "",
    }
}

/// A local user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What it is known by.
    pub sid: Sid,
    /// Whether it is switched off.
    pub is_off: bool,
    /// When it expires, in seconds since 1970. `None`: never.
    pub expires: Option<i64>,
    /// What is noted beside it.
    pub comment: String,
}

/// What is asked of Windows. Users are local ones, groups as well.
pub trait Calls {
    /// By what it can be seen that this is not Windows, if it is not: what only looks like it reports success and does
    /// nothing.
    fn imitation(&self) -> Option<String>;

    /// Whether the accounts of this host are those of a domain, of which it is a controller.
    ///
    /// # Errors
    /// As all of these: if Windows does not say, or does not do it.
    fn is_controller(&self) -> Result<bool, CallError>;

    /// Whether this runs with the rights of an administrator.
    ///
    /// # Errors
    /// As all of these.
    fn is_privileged(&self) -> Result<bool, CallError>;

    /// Finds a user by its name.
    ///
    /// # Errors
    /// As all of these.
    fn user(&self, name: &str) -> Result<Option<User>, CallError>;

    /// What the user is called now that is known by this.
    ///
    /// # Errors
    /// As all of these.
    fn name_of(&self, user: &Sid) -> Result<Option<String>, CallError>;

    /// Finds a group by its name.
    ///
    /// # Errors
    /// As all of these.
    fn group(&self, name: &str) -> Result<Option<Sid>, CallError>;

    /// Who is in a group; `None` if there is no such group.
    ///
    /// # Errors
    /// As all of these.
    fn members(&self, group: &Sid) -> Result<Option<Vec<Sid>>, CallError>;

    /// Puts a user into a group. One that is in it already is no error.
    ///
    /// # Errors
    /// As all of these.
    fn join(&self, group: &Sid, user: &Sid) -> Result<(), CallError>;

    /// Takes a user out of a group. One that is not in it is no error.
    ///
    /// # Errors
    /// As all of these.
    fn leave(&self, group: &Sid, user: &Sid) -> Result<(), CallError>;

    /// Switches a user off or on.
    ///
    /// # Errors
    /// As all of these.
    fn switch(&self, name: &str, is_off: bool) -> Result<(), CallError>;

    /// Has a user expire at this time, in seconds since 1970; `None`: never.
    ///
    /// # Errors
    /// As all of these.
    fn expire(&self, name: &str, at: Option<i64>) -> Result<(), CallError>;

    /// Makes a user that is switched off, with this comment and a password.
    ///
    /// # Errors
    /// As all of these.
    fn create(&self, name: &str, comment: &str, password: &str) -> Result<(), CallError>;

    /// Removes what a user has left in a profile of its own. One that has none is no error.
    ///
    /// # Errors
    /// As all of these.
    fn remove_profile(&self, user: &Sid) -> Result<(), CallError>;

    /// Removes a user. One that is not there is no error.
    ///
    /// # Errors
    /// As all of these.
    fn remove_user(&self, name: &str) -> Result<(), CallError>;

    /// The sessions in which a user is logged on.
    ///
    /// # Errors
    /// As all of these.
    fn sessions(&self, user: &Sid) -> Result<Vec<u32>, CallError>;

    /// Ends a session, and waits for its end. One that is gone is no error.
    ///
    /// # Errors
    /// As all of these.
    fn log_off(&self, session: u32) -> Result<(), CallError>;

    /// Shows a message in a session, and does not wait until it is read.
    ///
    /// # Errors
    /// As all of these.
    fn tell(&self, session: u32, title: &str, text: &str) -> Result<(), CallError>;

    /// The processes that run as a user.
    ///
    /// # Errors
    /// As all of these.
    fn processes(&self, user: &Sid) -> Result<Vec<u32>, CallError>;

    /// Ends a process that runs as a user. One that is gone, or another's by now, is no error.
    ///
    /// # Errors
    /// As all of these.
    fn kill(&self, process: u32, user: &Sid) -> Result<(), CallError>;

    /// Ends all that runs in a job object of this name. One that is not there is no error.
    ///
    /// # Errors
    /// As all of these.
    fn end_job(&self, name: &str) -> Result<(), CallError>;

    /// Who may do what with a file or a folder.
    ///
    /// # Errors
    /// As all of these.
    fn access(&self, path: &str) -> Result<Access, CallError>;

    /// Where a file really is, without links.
    ///
    /// # Errors
    /// If it is not there.
    fn real_path(&self, path: &str) -> io::Result<String>;

    /// The digest of a file, as `sha256:` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// If it cannot be read.
    fn digest(&self, path: &str) -> io::Result<String>;
}
