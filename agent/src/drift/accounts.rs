//! How the users and groups of a host differ from what they were, line by line: other programs change these files with good
//! reason meanwhile. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lapse_crds::DriftKind;
use lapse_engine::elevation::root_equal;

use super::critical::{ACCOUNTS, GROUP, GSHADOW, PASSWD, SHADOW};
use super::deviation::{Deviation, Edit, Repair};
use super::entry::{Entries, text};
use super::own::Members;

/// The fields that users change of themselves: what they are called, and their shell.
const OWN_FIELDS: [usize; 2] = [4, 6];

/// The lines of a file by their names; several of one name are told apart by their number.
type Lines<'a> = BTreeMap<(&'a str, usize), Vec<&'a str>>;

fn lines(text: &str) -> Lines<'_> {
    let mut found = Lines::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(':').collect();
        let number = found.keys().filter(|(name, _)| *name == fields[0]).count();
        found.insert((fields[0], number), fields);
    }
    found
}

/// A number of a user or a group. What is none may be read as anything, so it counts as root's.
fn id(fields: &[&str], at: usize) -> u32 {
    fields.get(at).and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

fn list<'a>(fields: &[&'a str], at: usize) -> BTreeSet<&'a str> {
    let members = fields.get(at).copied().unwrap_or_default().split(',');
    members.map(str::trim).filter(|member| !member.is_empty()).collect()
}

/// What is compared.
pub(super) struct Accounts<'a> {
    /// What there was.
    pub(super) before: &'a Entries,
    /// What there is.
    pub(super) now: &'a Entries,
    /// Who is in which group by a right that is in force, and which accounts are Lapse's to make and to enable.
    pub(super) members: &'a Members,
    /// Who holds rights: what they may change of themselves is theirs.
    pub(super) holders: &'a BTreeSet<String>,
}

/// The groups whose members are root, or become it: those that are known for that, and those that a rule of sudo names.
struct Administrators<'a> {
    names: BTreeSet<&'a str>,
    by_id: BTreeMap<u32, &'a str>,
}

impl<'a> Administrators<'a> {
    fn of(before: &'a Entries) -> Self {
        let rules: Vec<&str> = before
            .keys()
            .filter(|path| path.starts_with("/etc/sudoers"))
            .map(|path| text(before, path))
            .collect();
        let is_named = |name: &str, gid: u32| {
            let wanted = [format!("%{name}"), format!("%#{gid}")];
            let lines = rules.iter().flat_map(|text| text.lines());
            lines.filter(|line| !line.trim_start().starts_with('#')).any(|line| {
                let words = line.split(|c: char| c.is_whitespace() || ",=:".contains(c));
                words.into_iter().any(|word| wanted.iter().any(|wanted| word == wanted))
            })
        };
        let mut found = Self { names: BTreeSet::new(), by_id: BTreeMap::new() };
        for ((name, _), fields) in lines(text(before, GROUP)) {
            let gid = id(&fields, 2);
            if root_equal::of_group(name).is_some() || gid == 0 || is_named(name, gid) {
                found.names.insert(name);
                found.by_id.insert(gid, name);
            }
        }
        found
    }
}

fn deviation(
    kind: DriftKind,
    path: &str,
    change: String,
    is_guarded: bool,
    repair: Repair,
) -> Deviation {
    Deviation { kind, path: path.to_owned(), change, is_guarded, repair }
}

fn replaced(path: &'static str, now: &[&str], before: Option<&[&str]>) -> Edit {
    let joined = |fields: &[&str]| fields.join(":");
    Edit::Line { path, line: joined(now), becomes: before.map(joined) }
}

/// Whether nobody can log in to an account, by its line in the file of passwords.
fn is_disabled(secret: &[&str]) -> bool {
    let field = |at: usize| secret.get(at).copied().unwrap_or_default();
    field(1).starts_with('!') && field(7) == "0"
}

/// What disables an account: its password is locked, and it has expired, without which a key would still let somebody in.
fn disabled(name: &str, secret: &[&str]) -> Vec<Edit> {
    let hash = secret.get(1).copied().unwrap_or_default();
    let locked = if hash.starts_with('!') { hash.to_owned() } else { format!("!{hash}") };
    let field = |field, value| Edit::Field { path: SHADOW, name: name.to_owned(), field, value };
    vec![field(1, locked), field(7, "0".to_owned())]
}

/// How the accounts differ from what they were.
pub(super) fn compare(accounts: &Accounts<'_>) -> Vec<Deviation> {
    let administrators = Administrators::of(accounts.before);
    let mut found = users(accounts, &administrators);
    found.extend(passwords(accounts));
    found.extend(groups(accounts, &administrators));
    found.extend(secrets_of_groups(accounts, &administrators));
    // A member is in two files.
    let mut seen = BTreeSet::new();
    found.retain(|deviation| seen.insert((deviation.path.clone(), deviation.change.clone())));
    found
}

fn users(
    Accounts { before, now, members, holders }: &Accounts<'_>,
    administrators: &Administrators<'_>,
) -> Vec<Deviation> {
    let (before, shadow) = (lines(text(before, PASSWD)), lines(text(now, SHADOW)));
    let now = lines(text(now, PASSWD));
    let of = |change: String, is_guarded, repair| {
        deviation(DriftKind::Account, PASSWD, change, is_guarded, repair)
    };
    let mut found = Vec::new();
    for ((name, number), fields) in &now {
        let (uid, group) = (id(fields, 2), administrators.by_id.get(&id(fields, 3)));
        let Some(known) = before.get(&(*name, *number)) else {
            let secret = shadow.get(&(*name, *number));
            let (how, is_guarded) = match group {
                _ if uid == 0 => (" with the user ID 0".to_owned(), true),
                Some(group) => (format!(" in the group {group}"), true),
                None if members.owns(name) => continue,
                None => (String::new(), false),
            };
            // What somebody else may have made with good reason is disabled, and stays.
            let edits = match secret.filter(|_| *number == 0 && !is_guarded) {
                Some(secret) if is_disabled(secret) => continue,
                Some(secret) => disabled(name, secret),
                None => {
                    let line = replaced(PASSWD, fields, None);
                    let secret = secret.map(|secret| replaced(SHADOW, secret, None));
                    [line].into_iter().chain(secret).collect()
                }
            };
            let change = format!("the account {name} was added{how}");
            found.push(of(change, is_guarded, Repair::Edits(edits)));
            continue;
        };
        if known == fields {
            continue;
        }
        let was_root = id(known, 2) == 0;
        let differs = |field: &usize| known.get(*field) != fields.get(*field);
        let length = known.len().max(fields.len());
        let is_own = holders.contains(*name)
            && (0..length).filter(differs).all(|field| OWN_FIELDS.contains(&field));
        let group = group.filter(|_| id(known, 3) != id(fields, 3));
        let (change, is_guarded) = match group {
            _ if uid == 0 && !was_root => ("was given the user ID 0".to_owned(), true),
            Some(group) => (format!("was put into the group {group}"), true),
            None if (is_own || members.owns(name)) && !was_root => continue,
            None => ("was changed".to_owned(), was_root),
        };
        let repair = Repair::Edits(vec![replaced(PASSWD, fields, Some(known))]);
        found.push(of(format!("the account {name} {change}"), is_guarded, repair));
    }
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    for (name, _) in gone.filter(|(name, _)| !members.owns(name)) {
        let repair = Repair::Nothing("no account is made again");
        found.push(of(format!("the account {name} was removed"), false, repair));
    }
    found
}

fn passwords(Accounts { before, now, members, holders }: &Accounts<'_>) -> Vec<Deviation> {
    let (users, are) = (lines(text(before, PASSWD)), lines(text(now, PASSWD)));
    let (before, now) = (lines(text(before, SHADOW)), lines(text(now, SHADOW)));
    let mut found = Vec::new();
    for ((name, number), fields) in &now {
        let Some(known) = before.get(&(*name, *number)) else {
            // That of an account is told with it. One without waits for an account of its name.
            if !are.contains_key(&(*name, *number)) && !members.owns(name) {
                let repair = Repair::Edits(vec![replaced(SHADOW, fields, None)]);
                let change = format!("the password of {name} was added");
                found.push(deviation(DriftKind::Account, SHADOW, change, true, repair));
            }
            continue;
        };
        let differs = |field: usize| known.get(field) != fields.get(field);
        let what = match (differs(1), differs(7)) {
            (true, _) => "password",
            (false, true) => "expiry",
            (false, false) => continue,
        };
        let is_root = users.get(&(*name, 0)).is_some_and(|fields| id(fields, 2) == 0);
        if (holders.contains(*name) || members.owns(name)) && !is_root {
            continue;
        }
        let repair = Repair::Edits(vec![replaced(SHADOW, fields, Some(known))]);
        let change = format!("the {what} of {name} was changed");
        found.push(deviation(DriftKind::Account, SHADOW, change, is_root, repair));
    }
    found
}

fn groups(
    Accounts { before, now, members, .. }: &Accounts<'_>,
    administrators: &Administrators<'_>,
) -> Vec<Deviation> {
    let (before, now) = (lines(text(before, GROUP)), lines(text(now, GROUP)));
    let of = |change: String, is_guarded, repair| {
        deviation(DriftKind::Group, GROUP, change, is_guarded, repair)
    };
    let mut found = Vec::new();
    for ((name, number), fields) in &now {
        let gid = id(fields, 2);
        let as_other = administrators.by_id.get(&gid);
        let Some(known) = before.get(&(*name, *number)) else {
            let (how, is_guarded, repair) = match as_other {
                Some(other) => {
                    let edits = vec![replaced(GROUP, fields, None)];
                    (format!(" with the group ID of {other}"), true, Repair::Edits(edits))
                }
                // That of an account, which is made with it.
                None if members.owns(name) => continue,
                None => (String::new(), false, Repair::Nothing("a group gives nothing by itself")),
            };
            found.push(of(format!("the group {name} was added{how}"), is_guarded, repair));
            continue;
        };
        let is_administrators = administrators.names.contains(name);
        for (field, what) in [(1, "password"), (2, "group ID")] {
            if known.get(field) != fields.get(field) {
                let value = known.get(field).copied().unwrap_or_default().to_owned();
                let edit = Edit::Field { path: GROUP, name: (*name).to_owned(), field, value };
                let is_guarded = is_administrators || as_other.is_some();
                let change = format!("the {what} of the group {name} was changed");
                found.push(of(change, is_guarded, Repair::Edits(vec![edit])));
            }
        }
        let (were, are) = (list(known, 3), list(fields, 3));
        for member in are.difference(&were).filter(|member| !members.has(gid, member)) {
            found.push(joined(name, member, is_administrators));
        }
        for member in were.difference(&are) {
            let repair = Repair::Nothing("nobody is put into a group");
            found.push(of(format!("{member} was taken out of the group {name}"), false, repair));
        }
    }
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    for (name, _) in gone.filter(|(name, _)| !members.owns(name)) {
        let repair = Repair::Nothing("no group is made again");
        found.push(of(format!("the group {name} was removed"), false, repair));
    }
    found
}

/// Somebody who is in a group and was not.
fn joined(group: &str, member: &str, is_administrators: bool) -> Deviation {
    let without =
        |path| Edit::Without { path, name: group.to_owned(), field: 3, member: member.to_owned() };
    let repair = Repair::Edits([GROUP, GSHADOW].map(without).into());
    let change = format!("{member} was added to the group {group}");
    deviation(DriftKind::Group, GROUP, change, is_administrators, repair)
}

/// Who may change the members of a group, who is one by this file, and by which password others become one.
fn secrets_of_groups(
    Accounts { before, now, members, .. }: &Accounts<'_>,
    administrators: &Administrators<'_>,
) -> Vec<Deviation> {
    let ids = lines(text(now, GROUP));
    let (before, now) = (lines(text(before, GSHADOW)), lines(text(now, GSHADOW)));
    let mut found = Vec::new();
    for ((name, number), fields) in &now {
        let Some(known) = before.get(&(*name, *number)) else { continue };
        let is_administrators = administrators.names.contains(name);
        let of = |change: String, edit| {
            let repair = Repair::Edits(vec![edit]);
            deviation(DriftKind::Group, GSHADOW, change, is_administrators, repair)
        };
        let owned = || (*name).to_owned();
        if known.get(1) != fields.get(1) {
            let value = known.get(1).copied().unwrap_or_default().to_owned();
            let edit = Edit::Field { path: GSHADOW, name: owned(), field: 1, value };
            found.push(of(format!("the password of the group {name} was changed"), edit));
        }
        for member in list(fields, 2).difference(&list(known, 2)) {
            let member = (*member).to_owned();
            let change = format!("{member} was made an administrator of the group {name}");
            found
                .push(of(change, Edit::Without { path: GSHADOW, name: owned(), field: 2, member }));
        }
        let gid = ids.get(&(*name, 0)).map(|fields| id(fields, 2));
        let is_expected = |member: &&&str| gid.is_some_and(|gid| members.has(gid, member));
        let (were, are) = (list(known, 3), list(fields, 3));
        for member in are.difference(&were).filter(|member| !is_expected(member)) {
            found.push(joined(name, member, is_administrators));
        }
    }
    found
}

/// The accounts without what rights in force put there: at their end it goes. Of an account that is enabled there is no
/// line with its password then, and so nothing to compare one with, or to put back.
pub(super) fn without_own(entries: &mut Entries, members: &Members) {
    for path in ACCOUNTS {
        if let Some(entry) = entries.get_mut(path)
            && let super::entry::Content::Text(text) = &mut entry.content
        {
            let others = text.lines().filter(|line| {
                let name = line.split(':').next().unwrap_or_default();
                !members.has_written(path, name)
            });
            *text = others.map(|line| line.to_owned() + "\n").collect();
        }
    }
    let names: Vec<(String, u32)> = lines(text(entries, GROUP))
        .into_iter()
        .map(|((name, _), fields)| (name.to_owned(), id(&fields, 2)))
        .collect();
    for (name, gid) in names {
        for member in members.to_go(gid) {
            for path in [GROUP, GSHADOW] {
                let (name, member) = (name.clone(), member.clone());
                let edit = Edit::Without { path, name, field: 3, member };
                if let Some(entry) = entries.get_mut(path)
                    && let super::entry::Content::Text(text) = &mut entry.content
                {
                    *text = edit.apply(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
