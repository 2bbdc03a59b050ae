//! An account that Lapse makes, and removes at the end. Windows never gives a number of an account again; but which number it
//! gives is known only afterwards, so an account is known to be Lapse's by a mark beside it, which is written down before.

use zeroize::Zeroizing;

use super::calls::{CallError, Calls, User};
use super::enable::{expire, last_until, switch};
use super::groups::LocalGroups;
use super::processes::end_all_of;
use super::sid::Sid;
use crate::driver::Driver;
use crate::host::Bench;
use crate::memberships::{Membership, leave_all};
use crate::order::{Named, OrderId, Right, Undo};
use crate::record::{Record, Stage};

/// The longest name of a local user.
const LONGEST: usize = 20;
/// How many random characters the password of an account has.
const PASSWORD: usize = 40;
/// What they are of. Sixty-four, so that each is as likely.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) struct Provision<'a> {
    pub(super) calls: &'a dyn Calls,
    pub(super) id: &'a OrderId,
    pub(super) right: &'a Right,
    pub(super) groups: &'a [Named],
}

/// A password that nobody is ever told. Policies want letters of several kinds, so it begins with one of each.
fn password() -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new([0; PASSWORD]);
    getrandom::fill(&mut bytes[..]).map_err(|error| format!("making a password: {error}"))?;
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD + 4));
    text.push_str("aA1-");
    text.extend(bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])));
    Ok(text)
}

/// Whether Windows takes a name for a local user.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=LONGEST).contains(&name.len())
        && name.chars().all(is_letter)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !name.ends_with('.')
}

/// What stands beside an account that is made.
fn mark(id: &OrderId) -> String {
    format!("Made by Lapse for a time ({id})")
}

impl Provision<'_> {
    fn name(&self) -> &str {
        &self.right.user.name
    }

    /// Other orders by which the account is there.
    fn others<'b>(&'b self, bench: &'b Bench<'_>) -> impl Iterator<Item = (&'b Record, &'b Undo)> {
        bench.others.iter().filter_map(|other| Some((other, other.makes(self.name())?)))
    }

    fn last_of_others(&self, bench: &Bench<'_>) -> Option<i64> {
        self.others(bench).map(|(other, _)| last_until(&other.right)).max()
    }

    /// The account as it is now, if it is the one that Lapse has made.
    fn found(&self, undo: &Undo) -> Result<Option<User>, String> {
        let name = self.name();
        let found = self.calls.user(name);
        let found = found.map_err(|error| format!("looking for the local user {name}: {error}"))?;
        match found {
            Some(user) if undo.made.as_ref() != Some(&user.comment) => Err(format!(
                "the local user {name} does not have the comment by which Lapse knows the one that it has made: look whose it \
                 is, and remove it or rename it"
            )),
            found => Ok(found),
        }
    }

    /// The account by its name and its SID.
    fn named(&self, user: &User) -> Named {
        Named { name: self.name().to_owned(), id: user.sid.to_string() }
    }

    /// The groups of the account: those that are asked for, and that of everybody who may log in.
    fn all_groups(&self) -> Vec<Named> {
        let users = Named { name: "Users".into(), id: Sid::users().to_string() };
        self.groups.iter().cloned().chain([users]).collect()
    }

    /// Whether another order wants the account in this group, too.
    fn is_kept(&self, bench: &Bench<'_>, group: &Named) -> bool {
        group.id == Sid::users().to_string()
            || self.others(bench).any(|(other, _)| other.right.gives.groups().contains(group))
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Provision<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        let name = self.name();
        // By another order it is there now, and was not before.
        if let Some((record, undo)) = self.others(bench).next() {
            if record.stage == Stage::Ending {
                return Err(format!(
                    "the account {name} of an earlier grant is being removed: request again when it is gone"
                ));
            }
            return Ok(Undo { made: undo.made.clone(), ..Undo::default() });
        }
        if !is_name(name) {
            return Err(format!(
                "{name:?} cannot be the name of a local user: letters, digits, _, - and ., a letter, a digit or _ first, at \
                 most {LONGEST} of them. Correct spec.users of the Endpoint"
            ));
        }
        let words = |error: CallError| format!("looking for {name}: {error}");
        if self.calls.user(name).map_err(words)?.is_some() {
            return Err(format!(
                "there is a local user {name} on this host already, which Lapse has not made: request Enable or Raise, or \
                 correct spec.users of the Endpoint"
            ));
        }
        if self.calls.group(name).map_err(words)?.is_some() {
            return Err(format!(
                "there is a local group {name} on this host already, and Windows has no two of one name: correct spec.users of \
                 the Endpoint"
            ));
        }
        Ok(Undo { made: Some(mark(self.id)), ..Undo::default() })
    }

    /// It is made switched off, and switched on when all else of it is there.
    fn apply(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<(), String> {
        let name = self.name();
        let made = undo.made.as_ref().ok_or("by what the account is known was not written down")?;
        if self.found(undo)?.is_none() {
            let created = self.calls.create(name, made, &password()?);
            created.map_err(|error| format!("making the local user {name}: {error}"))?;
        }
        let user = self.found(undo)?;
        let user =
            user.ok_or_else(|| format!("the local user {name} is not there all the same"))?;
        let own = last_until(self.right);
        let last = self.last_of_others(bench).map_or(own, |others| others.max(own));
        expire(self.calls, name, Some(last))?;
        let (host, user) = (LocalGroups(self.calls), self.named(&user));
        for group in &self.all_groups() {
            Membership { host: &host, user: &user, group }.join()?;
        }
        switch(self.calls, name, false)
    }

    fn observe(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<bool, String> {
        let own = last_until(self.right);
        let last = self.last_of_others(bench).map_or(own, |others| others.max(own));
        let Ok(Some(found)) = self.found(undo) else { return Ok(false) };
        if found.is_off || !found.expires.is_some_and(|at| (own..=last).contains(&at)) {
            return Ok(false);
        }
        let (host, user) = (LocalGroups(self.calls), self.named(&found));
        for group in self.groups {
            if !(Membership { host: &host, user: &user, group }).is_there()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Nobody logs in from then on, and no task starts as it.
    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(undo) = undo.filter(|undo| undo.made.is_some()) else { return Ok(()) };
        let Some(user) = self.found(undo)? else { return Ok(()) };
        let Some(last) = self.last_of_others(bench) else {
            return switch(self.calls, self.name(), true);
        };
        expire(self.calls, self.name(), Some(last))?;
        let (host, user) = (LocalGroups(self.calls), self.named(&user));
        let to_go = self.groups.iter().filter(|group| !self.is_kept(bench, group));
        leave_all(to_go.map(|group| Membership { host: &host, user: &user, group }))
    }

    /// Its profile goes before the account: by that it is known whose it is.
    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let Some(undo) = undo.filter(|undo| undo.made.is_some()) else { return Ok(()) };
        let Some(user) = self.found(undo)? else { return Ok(()) };
        let name = self.name();
        if self.others(bench).next().is_some() {
            let has_less = self.groups.iter().any(|group| !self.is_kept(bench, group));
            return if has_less { end_all_of(self.calls, &user.sid) } else { Ok(()) };
        }
        end_all_of(self.calls, &user.sid)?;
        // Before the account: Windows leaves members of whom nobody knows any more.
        let (host, named, groups) = (LocalGroups(self.calls), self.named(&user), self.all_groups());
        leave_all(groups.iter().map(|group| Membership { host: &host, user: &named, group }))?;
        let removed = self.calls.remove_profile(&user.sid);
        removed.map_err(|error| format!("removing the profile of {name}: {error}"))?;
        let removed = self.calls.remove_user(name);
        removed.map_err(|error| format!("removing the local user {name}: {error}"))?;
        match self.found(undo)? {
            None => Ok(()),
            Some(_) => Err(format!("the local user {name} is still there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("al", true)]
    #[case("anna-2.b_c", true)]
    #[case("a2345678901234567890", true)]
    #[case("a23456789012345678901", false)]
    #[case("", false)]
    #[case("a.", false)]
    #[case("-a", false)]
    #[case("a b", false)]
    #[case(r"a\b", false)]
    #[case("a/b", false)]
    #[case("\u{e4}", false)]
    fn names_are_those_that_windows_takes(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_name(name), expected, "{name}");
    }

    #[test]
    fn passwords_are_long_of_several_kinds_and_never_the_same() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_eq!(one.len(), PASSWORD + 4);
        assert!(one.starts_with("aA1-") && *one != *other);
        assert!(one.bytes().all(|byte| LETTERS.contains(&byte)));
    }
}
