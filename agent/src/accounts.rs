//! The users and groups of a host itself, as its files have them. What a directory adds is not looked at: a right is
//! given to local users, by local groups.

mod shadow;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;

pub use self::shadow::{Password, Shadow, shadow};
use crate::places::Places;

/// Where the homes lie of the accounts that Lapse makes, by their names.
pub const HOMES: &str = "/home";

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The group that it is in by itself.
    pub gid: u32,
}

/// A group of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The number.
    pub gid: u32,
    /// Who is in it, but for those who are by themselves.
    pub members: Vec<String>,
}

/// The lines of a file that have so many fields, split at the colons.
fn rows(text: &str, fields: usize) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(move |row| row.len() == fields)
}

const USERS: (&str, usize) = ("/etc/passwd", 7);
const GROUPS: (&str, usize) = ("/etc/group", 4);
const LENT: (&str, usize) = ("/etc/subuid", 3);

fn read(places: &Places, (path, _): (&str, usize)) -> io::Result<String> {
    fs::read_to_string(places.at(path))
}

/// Finds a user.
///
/// # Errors
/// If the file cannot be read.
pub fn user(places: &Places, name: &str) -> io::Result<Option<User>> {
    let text = read(places, USERS)?;
    let found = rows(&text, USERS.1).find(|row| row[0] == name);
    Ok(found.and_then(|row| Some(User { uid: row[2].parse().ok()?, gid: row[3].parse().ok()? })))
}

fn group_in(row: &[&str]) -> Option<Group> {
    let members = row[3].split(',').filter(|member| !member.is_empty());
    Some(Group { gid: row[2].parse().ok()?, members: members.map(str::to_owned).collect() })
}

/// Finds a group.
///
/// # Errors
/// If the file cannot be read.
pub fn group(places: &Places, name: &str) -> io::Result<Option<Group>> {
    let text = read(places, GROUPS)?;
    let found = rows(&text, GROUPS.1).find(|row| row[0] == name);
    Ok(found.and_then(|row| group_in(&row)))
}

/// Finds a group by its number, and how it is called now.
///
/// # Errors
/// If the file cannot be read.
pub fn group_of(places: &Places, gid: u32) -> io::Result<Option<(String, Group)>> {
    let text = read(places, GROUPS)?;
    let found = rows(&text, GROUPS.1).find(|row| row[2].parse() == Ok(gid));
    Ok(found.and_then(|row| Some((row[0].to_owned(), group_in(&row)?))))
}

/// The numbers of all users.
///
/// # Errors
/// If the file cannot be read.
pub fn uids(places: &Places) -> io::Result<HashSet<u32>> {
    let text = read(places, USERS)?;
    Ok(rows(&text, USERS.1).filter_map(|row| row[2].parse().ok()).collect())
}

/// The numbers of all groups.
///
/// # Errors
/// If the file cannot be read.
pub fn gids(places: &Places) -> io::Result<HashSet<u32>> {
    let text = read(places, GROUPS)?;
    Ok(rows(&text, GROUPS.1).filter_map(|row| row[2].parse().ok()).collect())
}

/// What the user of this number is called now.
///
/// # Errors
/// If the file cannot be read.
pub fn names_of(places: &Places, uid: u32) -> io::Result<Vec<String>> {
    let text = read(places, USERS)?;
    let found = rows(&text, USERS.1).filter(|row| row[2].parse() == Ok(uid));
    Ok(found.map(|row| row[0].to_owned()).collect())
}

/// The shell of the user of this number.
///
/// # Errors
/// If the file cannot be read.
pub fn shell_of(places: &Places, uid: u32) -> io::Result<Option<PathBuf>> {
    let text = read(places, USERS)?;
    let found = rows(&text, USERS.1).find(|row| row[2].parse() == Ok(uid));
    Ok(found.map(|row| row[6]).filter(|shell| !shell.is_empty()).map(PathBuf::from))
}

/// The numbers of the users who are in a group by themselves.
///
/// # Errors
/// If the file cannot be read.
pub fn primary_members(places: &Places, gid: u32) -> io::Result<Vec<u32>> {
    let text = read(places, USERS)?;
    let found = rows(&text, USERS.1).filter(|row| row[3].parse() == Ok(gid));
    Ok(found.filter_map(|row| row[2].parse().ok()).collect())
}

/// The user IDs that a user may give to processes in namespaces of their own (subuid(5)): the first, and how many.
///
/// # Errors
/// If a file cannot be read.
pub fn lent(places: &Places, uid: u32) -> io::Result<Vec<(u32, u32)>> {
    let text = match read(places, LENT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let mut names = names_of(places, uid)?;
    names.push(uid.to_string());
    let theirs = rows(&text, LENT.1).filter(|row| names.iter().any(|name| name == row[0]));
    Ok(theirs.filter_map(|row| Some((row[1].parse().ok()?, row[2].parse().ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_their_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(
            places.at("/etc/passwd"),
            "al:x:1000:1000::/home/al:/bin/sh\nalice:x:1001:7:::\n+x\n",
        )
        .unwrap();
        fs::write(places.at("/etc/group"), "adm:x:4:al,bob\nempty:x:5:\nbroken:x:y:\n").unwrap();
        assert_eq!(user(&places, "alice").unwrap(), Some(User { uid: 1001, gid: 7 }));
        assert_eq!(user(&places, "ali").unwrap(), None);
        assert_eq!(uids(&places).unwrap(), HashSet::from([1000, 1001]));
        assert_eq!(gids(&places).unwrap(), HashSet::from([4, 5]));
        assert_eq!(shell_of(&places, 1000).unwrap(), Some("/bin/sh".into()));
        assert_eq!(shell_of(&places, 1001).unwrap(), None);
        let adm = Group { gid: 4, members: vec!["al".into(), "bob".into()] };
        assert_eq!(group(&places, "adm").unwrap(), Some(adm));
        assert_eq!(group(&places, "empty").unwrap().unwrap().members, Vec::<String>::new());
        assert_eq!(group(&places, "broken").unwrap(), None);
    }
}
