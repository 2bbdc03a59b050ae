//! Where the keys lie with which users of a host may log in (sshd(8), `AuthorizedKeysFile`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::entry::{LONGEST, Snapshot};
use super::mounts::Mounts;
use crate::places::Places;
use crate::unfollowed::read;

/// How many users are looked at.
const MOST_USERS: usize = 512;
/// How many links are followed to a home.
const MOST_LINKS: usize = 8;
/// Where sshd says where the keys are.
const SETTINGS: &str = "/etc/ssh/sshd_config";
/// Where they are if it says nothing.
const USUAL: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// The files with the keys of all users, and what lies in the way to one that is no folder.
pub(super) fn key_files(places: &Places, mounts: &Mounts, found: &Snapshot) -> Vec<PathBuf> {
    let settings = read(&places.at(SETTINGS), LONGEST).unwrap_or_default();
    let patterns = patterns(&String::from_utf8_lossy(&settings));
    let mut files = BTreeSet::new();
    let users = found.text("/etc/passwd").lines().filter_map(user);
    for (name, home) in users.take(MOST_USERS) {
        let Some(home) = resolved(places, mounts, Path::new(home)) else { continue };
        for pattern in &patterns {
            let path = expanded(pattern, name, &home);
            match path.strip_prefix(&home) {
                Ok(inside) => files.extend(below(places, mounts, &home, inside)),
                Err(_) => _ = files.insert(path),
            }
        }
    }
    files.into_iter().collect()
}

/// The name and the home of a user.
fn user(line: &str) -> Option<(&str, &str)> {
    let row: Vec<&str> = line.split(':').collect();
    let [name, _, _, _, _, home, _] = row.as_slice() else { return None };
    home.starts_with('/').then_some((*name, *home))
}

/// Where sshd looks for keys. What it says of some users alone is left out.
fn patterns(settings: &str) -> Vec<String> {
    let words = |line: &str| -> Vec<String> {
        let words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        words.map(|word| word.trim_matches('"').to_owned()).collect()
    };
    let lines = settings.lines().map(words);
    let of_all = lines
        .take_while(|line| line.first().is_none_or(|word| !word.eq_ignore_ascii_case("match")));
    let is_it = |line: &Vec<String>| {
        line.first().is_some_and(|word| word.eq_ignore_ascii_case("AuthorizedKeysFile"))
    };
    let said = of_all.filter(is_it).map(|line| line[1..].to_vec()).next();
    let said = said.unwrap_or_else(|| USUAL.map(str::to_owned).into());
    said.into_iter().filter(|pattern| pattern != "none").collect()
}

fn expanded(pattern: &str, user: &str, home: &Path) -> PathBuf {
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match (character, character == '%') {
            (_, true) => match characters.next() {
                Some('h') => text.push_str(&home.to_string_lossy()),
                Some('u') => text.push_str(user),
                Some(other) => text.push(other),
                None => {}
            },
            (character, false) => text.push(character),
        }
    }
    home.join(text)
}

/// The path of a home without links on its way; `None` if it is not there, or lies on another machine.
pub(super) fn resolved(places: &Places, mounts: &Mounts, home: &Path) -> Option<PathBuf> {
    let (mut path, mut links) = (PathBuf::from("/"), 0);
    let mut todo: Vec<PathBuf> =
        home.components().rev().map(|part| part.as_os_str().into()).collect();
    while let Some(part) = todo.pop() {
        if part == Path::new("/") {
            path = part;
            continue;
        }
        if part == Path::new("..") {
            path.pop();
            continue;
        }
        let next = path.join(&part);
        // Whoever looks at what lies on another machine may wait for it.
        if !mounts.is_local(&next) {
            return None;
        }
        let found = fs::symlink_metadata(places.under_root(&next)).ok()?;
        if !found.is_symlink() {
            path = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return None;
        }
        let target = fs::read_link(places.under_root(&next)).ok()?;
        let parts = target.components().rev().filter(|part| *part != Component::CurDir);
        todo.extend(parts.map(|part| PathBuf::from(part.as_os_str())));
    }
    Some(path)
}

/// A file below a home: the whole way belongs to its user, so no link is followed there. Where one lies in the way, it is
/// what is looked at.
fn below(places: &Places, mounts: &Mounts, home: &Path, inside: &Path) -> Option<PathBuf> {
    let mut path = home.to_owned();
    for part in inside.components() {
        path.push(part);
        if !mounts.is_local(&path) {
            return None;
        }
        let found = fs::symlink_metadata(places.under_root(&path));
        let Ok(found) = found else { return None };
        if !found.is_dir() {
            return Some(path);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::usual("", &[".ssh/authorized_keys", ".ssh/authorized_keys2"])]
    #[case::said("# x\nauthorizedkeysfile\t/etc/keys/%u \".ssh/k\"\n", &["/etc/keys/%u", ".ssh/k"])]
    #[case::first("AuthorizedKeysFile a\nAuthorizedKeysFile b\n", &["a"])]
    #[case::of_some("Match User git\n AuthorizedKeysFile a\n", &[".ssh/authorized_keys", ".ssh/authorized_keys2"])]
    #[case::none("AuthorizedKeysFile none", &[])]
    fn where_keys_are_is_read_as_sshd_does(#[case] settings: &str, #[case] expected: &[&str]) {
        assert_eq!(patterns(settings), expected);
    }

    #[test]
    fn the_keys_of_all_are_found_and_no_link_of_theirs_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        for path in ["/srv/home/al/.ssh", "/srv/home/bo", "/root/.ssh", "/etc/cron.d"] {
            fs::create_dir_all(places.at(path)).unwrap();
        }
        symlink("/srv/home", places.at("/home")).unwrap();
        symlink("/etc/cron.d", places.at("/srv/home/bo/.ssh")).unwrap();
        for path in ["/srv/home/al/.ssh/authorized_keys", "/etc/cron.d/authorized_keys"] {
            fs::write(places.at(path), "").unwrap();
        }
        fs::write(places.at("/root/.ssh/authorized_keys"), "").unwrap();
        let users = "root:x:0:0::/root:/bin/sh\nal:x:1000:1000::/home/al:/bin/sh\nbo:x:1001:1001::/home/bo:/bin/sh\n\
                     daemon:x:1:1::/nonexistent:/bin/sh\n";
        let passwd = super::super::entry::Entry {
            kind: lapse_crds::DriftKind::Account,
            is_guarded: true,
            owner: crate::unfollowed::Owner { mode: 0o644, uid: 0, gid: 0 },
            content: super::super::entry::Content::Text(users.to_owned()),
            access_list: None,
        };
        let found = Snapshot { entries: [("/etc/passwd".to_owned(), passwd)].into(), cut: None };
        let files = key_files(&places, &Mounts::default(), &found);
        let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            files,
            [
                "/root/.ssh/authorized_keys",
                "/srv/home/al/.ssh/authorized_keys",
                "/srv/home/bo/.ssh"
            ]
        );
    }
}
