//! An account that Lapse makes, and removes at the end. Its number is written down before it is there, so that what a crash
//! leaves of it is known; and it is never given again.

use std::fs;

use lapse_crds::AccountAction;

use super::expiry::{day_of_others, expire_on, is_as_ordered, last_until, lock, others};
use super::raise::{memberships, with_each};
use super::spools;
use crate::accounts::{self, HOMES, shadow};
use crate::elevation::files::{Aim, change, keep_reserve, unreadable};
use crate::elevation::membership::Membership;
use crate::elevation::{Bench, Driver};
use crate::numbers::number_of;
use crate::places::Id;
use crate::processes::{Extent, end_all_of};
use crate::record::{Made, Stage, Undo};
use crate::right::{LocalGroup, Right};

const ACTION: AccountAction = AccountAction::Provision;
/// A day on which an account has expired, whatever the clock shows.
const LONG_AGO: i64 = 0;
/// How long a home is removed before others get their turn; the rest follows in the next round. In seconds.
const REMOVING: &str = "2";
/// The group of nobody.
const NO_GROUP: &str = "65534";
/// The longest name that useradd takes.
const LONGEST: usize = 32;

/// Adds keys to those by which a user logs in. It runs as the user: nothing that they have put into their home leads it
/// elsewhere.
const ADD_KEYS: &str = "umask 077\n\
                        mkdir -p \"$1/.ssh\" && cd \"$1/.ssh\" && touch authorized_keys || exit\n\
                        shift\n\
                        for key; do\n\
                        grep -qxF -e \"$key\" authorized_keys || printf '%s\\n' \"$key\" >>authorized_keys || exit\n\
                        done";

pub(in crate::elevation) struct Provision<'a> {
    pub(in crate::elevation) id: &'a Id,
    pub(in crate::elevation) right: &'a Right,
    pub(in crate::elevation) groups: &'a [LocalGroup],
    pub(in crate::elevation) keys: &'a [String],
}

/// How much of an account is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Absent,
    /// What a crash has left of it: nobody could log in by that.
    Partial,
    Whole,
}

impl Provision<'_> {
    fn name(&self) -> &str {
        &self.right.user
    }

    fn home(&self) -> String {
        format!("{HOMES}/{}", self.right.user)
    }

    fn memberships(&self, made: Made) -> impl Iterator<Item = Membership<'_>> {
        memberships((&self.right.user, made.uid), self.groups)
    }

    fn is_kept_by_another(&self, bench: &Bench<'_>) -> bool {
        others(bench, self.right, ACTION).next().is_some()
    }

    /// Refuses a name by which something is there that is not Lapse's.
    fn check_absent(&self, bench: &Bench<'_>) -> Result<(), String> {
        let (name, home) = (self.name(), self.home());
        let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_name = name.starts_with(is_letter)
            && name.chars().all(|c| is_letter(c) || c.is_ascii_digit() || c == '-');
        if !is_name || name.len() > LONGEST {
            return Err(format!(
                "{name:?} cannot be the name of a user: lower case letters, digits, _ and -, a letter or _ first, at most \
                 {LONGEST} of them. Correct spec.users of the Endpoint"
            ));
        }
        if accounts::user(bench.places, name).map_err(unreadable)?.is_some() {
            return Err(format!(
                "there is a local user {name} on this host already, which Lapse has not made: request Enable or Raise, or \
                 correct spec.users of the Endpoint"
            ));
        }
        if accounts::group(bench.places, name).map_err(unreadable)?.is_some() {
            return Err(format!(
                "there is a local group {name} on this host already, and the account would have one of that name: remove it, \
                 or correct spec.users of the Endpoint"
            ));
        }
        match fs::symlink_metadata(bench.places.at(&home)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("looking for {home}: {error}")),
            Ok(_) => Err(format!(
                "{home} is there already, and would become the account's: move it away, then request again"
            )),
        }
    }

    fn standing(&self, bench: &Bench<'_>, made: Made) -> Result<Standing, String> {
        let name = self.name();
        let found = accounts::user(bench.places, name).map_err(unreadable)?;
        if let Some(other) = found.as_ref().filter(|found| found.uid != made.uid) {
            return Err(format!(
                "the local user {name} was made by somebody else meanwhile, with the user ID {}",
                other.uid
            ));
        }
        let group = accounts::group_of(bench.places, made.uid).map_err(unreadable)?;
        let has_shadow = shadow(bench.places, name).map_err(unreadable)?.is_some();
        let has_home = bench.places.at(&self.home()).is_dir();
        Ok(match (found, group) {
            (None, None) => Standing::Absent,
            (Some(_), Some(_)) if has_shadow && has_home => Standing::Whole,
            _ => Standing::Partial,
        })
    }

    fn create(&self, bench: &Bench<'_>, made: Made) -> Result<(), String> {
        let (name, number) = (self.name(), made.uid.to_string());
        let what = format!("making the local user {name}");
        change(bench, Aim::Gives, &what, ("groupadd", &["--gid", &number, name]))?;
        let (home, day) = (self.home(), last_until(self.right.expires_at).to_string());
        let mut arguments = vec!["--uid", &number, "--gid", &number, "--no-user-group"];
        arguments.extend(["--create-home", "--home-dir", &home, "--key", "HOME_MODE=0700"]);
        arguments.extend(["--expiredate", &day, "--comment", "made by Lapse for a time"]);
        if bench.places.at("/bin/bash").exists() {
            arguments.extend(["--shell", "/bin/bash"]);
        }
        arguments.push(name);
        change(bench, Aim::Gives, &what, ("useradd", &arguments))
    }

    fn add_keys(&self, bench: &Bench<'_>, made: Made) -> Result<(), String> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let user = [format!("--reuid={}", made.uid), format!("--regid={}", made.uid)];
        let home = bench.places.at(&self.home()).display().to_string();
        let mut arguments = vec![user[0].as_str(), &user[1], "--clear-groups", "--no-new-privs"];
        arguments.extend(["--", "/bin/sh", "-c", ADD_KEYS, "lapse", &home]);
        arguments.extend(self.keys.iter().map(String::as_str));
        let what = format!("writing the keys of {}", self.name());
        change(bench, Aim::Gives, &what, ("setpriv", &arguments))
    }

    /// Removes all that there is of the account; each part, whatever becomes of the others. Nothing of it runs any more.
    fn erase(&self, bench: &Bench<'_>, made: Made) -> Result<(), String> {
        let (name, home) = (self.name(), self.home());
        let mut problems = Vec::new();
        problems.extend(spools::clear(bench, made.uid, name).err());
        problems.extend(Self::erase_home(bench, &home).err());
        problems.extend(self.complete(bench, made).err());
        // Before the account: a userdel that is cut off may leave members of whom nobody knows any more.
        problems
            .extend(with_each(self.memberships(made), |membership| membership.leave(bench)).err());
        for user in accounts::names_of(bench.places, made.uid).map_err(unreadable)? {
            let what = format!("removing the local user {user}");
            // Without that it would refuse for what root runs under the same number in a container, which is not theirs.
            let arguments = ["--force", &user];
            problems.extend(change(bench, Aim::Ends, &what, ("userdel", &arguments)).err());
        }
        if let Some((group, _)) = accounts::group_of(bench.places, made.uid).map_err(unreadable)? {
            let what = format!("removing the local group {group}");
            problems.extend(change(bench, Aim::Ends, &what, ("groupdel", &[&group])).err());
        }
        if problems.is_empty() {
            problems.extend(self.left(bench, made)?);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// Makes a user again of whom a userdel that was cut off has left the second line alone: so that it can go on.
    fn complete(&self, bench: &Bench<'_>, made: Made) -> Result<(), String> {
        if !self.has_second_line_alone(bench)? {
            return Ok(());
        }
        let (name, number) = (self.name(), made.uid.to_string());
        let arguments = ["--uid", &number, "--gid", NO_GROUP, "--no-user-group"];
        let rest = ["--no-create-home", "--expiredate", "0", "--shell", "/usr/sbin/nologin", name];
        let what = format!("completing the local user {name}");
        change(bench, Aim::Ends, &what, ("useradd", &[&arguments[..], &rest].concat()))
    }

    /// Whether there is a line of that name in /etc/shadow, and none in /etc/passwd.
    fn has_second_line_alone(&self, bench: &Bench<'_>) -> Result<bool, String> {
        let name = self.name();
        let is_user = accounts::user(bench.places, name).map_err(unreadable)?.is_some();
        Ok(!is_user && shadow(bench.places, name).map_err(unreadable)?.is_some())
    }

    /// Removes the home, for a while: it may hold any number of files. What is mounted in it is not touched.
    fn erase_home(bench: &Bench<'_>, home: &str) -> Result<(), String> {
        let place = bench.places.at(home);
        if fs::symlink_metadata(&place).is_err() {
            return Ok(());
        }
        let path = place.display().to_string();
        let limit = ["--signal=KILL", REMOVING];
        let remove = ["rm", "--recursive", "--force", "--one-file-system", "--", &path];
        let ran = bench.system.run("timeout", &[&limit[..], &remove].concat());
        let ran = ran.map_err(|error| error.to_string())?;
        match fs::symlink_metadata(&place) {
            Err(_) => Ok(()),
            // Killed after its time: timeout kills itself in the same way.
            Ok(_) if ran.code.is_none_or(|code| code == 137) => {
                Err(format!("{home} holds so much that not all of it is removed yet"))
            }
            Ok(_) => Err(format!("{home} cannot be removed: {}", ran.said())),
        }
    }

    /// What of the account is still there, in words.
    fn left(&self, bench: &Bench<'_>, made: Made) -> Result<Option<String>, String> {
        let name = self.name();
        let is_user = !accounts::names_of(bench.places, made.uid).map_err(unreadable)?.is_empty();
        let group = accounts::group_of(bench.places, made.uid).map_err(unreadable)?;
        let left = [
            (is_user, "/etc/passwd"),
            (self.has_second_line_alone(bench)?, "/etc/shadow"),
            (group.is_some(), "/etc/group"),
        ];
        let left: Vec<&str> =
            left.iter().filter(|(is_left, _)| *is_left).map(|(_, file)| *file).collect();
        Ok((!left.is_empty()).then(|| format!("{name} is still in {}", left.join(", "))))
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Provision<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        for membership in self.memberships(Made { uid: self.right.uid }) {
            // Nobody who does not exist is in a group; what is refused is a group by which one is root.
            membership.was_there(bench)?;
        }
        // By another order it is there now, and was not before.
        if let Some((record, _)) = others(bench, self.right, ACTION).next() {
            if record.stage == Stage::Ending {
                return Err(format!(
                    "the account {} of an earlier grant is being removed: request again when it is gone",
                    self.name()
                ));
            }
            let made = record.undo.as_ref().and_then(|undo| undo.made);
            return Ok(Undo { made, ..Undo::default() });
        }
        self.check_absent(bench)?;
        let known: Vec<Id> = bench.others.iter().map(|record| Id::of(&record.grant)).collect();
        let uid = number_of(bench.system, bench.places, self.id, &known);
        let made = Some(Made { uid: uid.map_err(|error| error.to_string())? });
        Ok(Undo { made, ..Undo::default() })
    }

    fn apply(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<(), String> {
        let made = undo.made.ok_or("the user ID of the account was not written down")?;
        keep_reserve(bench)?;
        match self.standing(bench, made)? {
            Standing::Whole => {}
            Standing::Absent => self.create(bench, made)?,
            Standing::Partial => {
                self.erase(bench, made)?;
                self.create(bench, made)?;
            }
        }
        let own = last_until(self.right.expires_at);
        let day = day_of_others(bench, self.right, ACTION).map_or(own, |others| others.max(own));
        expire_on(bench, Aim::Gives, self.name(), day)?;
        self.memberships(made).try_for_each(|membership| membership.join(bench))?;
        self.add_keys(bench, made)?;
        let is_there = self.observe(bench, undo)?;
        is_there.then_some(()).ok_or_else(|| format!("{} is not whole all the same", self.name()))
    }

    fn observe(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<bool, String> {
        let Some(made) = undo.made else { return Ok(false) };
        let found = accounts::user(bench.places, self.name()).map_err(unreadable)?;
        let is_ours = found.is_some_and(|found| found.uid == made.uid);
        if !is_ours || self.standing(bench, made)? != Standing::Whole {
            return Ok(false);
        }
        let found = shadow(bench.places, self.name()).map_err(unreadable)?;
        if !found.is_some_and(|found| is_as_ordered(bench, self.right, ACTION, found)) {
            return Ok(false);
        }
        for membership in self.memberships(made) {
            if !membership.is_there(bench)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nobody logs in from then on, and no job of cron or at starts.
    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(made) = undo.and_then(|undo| undo.made) else { return Ok(()) };
        if let Some(day) = day_of_others(bench, self.right, ACTION) {
            expire_on(bench, Aim::Ends, self.name(), day)?;
            let to_go = self.memberships(made).filter(|one| !one.stays(bench, false));
            return with_each(to_go, |membership| membership.leave(bench));
        }
        for name in accounts::names_of(bench.places, made.uid).map_err(unreadable)? {
            // One without a line there has no password, and nobody logs in by it.
            if shadow(bench.places, &name).map_err(unreadable)?.is_some() {
                expire_on(bench, Aim::Ends, &name, LONG_AGO)?;
                lock(bench, Aim::Ends, &name, true)?;
            }
        }
        Ok(())
    }

    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(made) = undo.and_then(|undo| undo.made) else { return Ok(()) };
        if self.is_kept_by_another(bench) {
            let to_go = self.memberships(made).filter(|one| !one.stays(bench, false));
            return with_each(to_go, |membership| membership.kill(bench));
        }
        end_all_of(bench.system, bench.places, made.uid, Extent::All)?;
        self.erase(bench, made)
    }
}
