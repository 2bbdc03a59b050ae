//! Whether a program is root's alone, on the whole way to it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use super::RightError;
use crate::places::Places;

/// How many links are followed.
const MOST_LINKS: usize = 40;

/// A program that somebody but root may change is everything that they want it to be. So is one behind a link, or in a
/// folder, that they may change: the whole way is walked, link by link.
pub(super) fn check_program(places: &Places, path: &str) -> Result<(), RightError> {
    let refused = |why: String| RightError::Program { path: path.to_owned(), why };
    let missing =
        |error: std::io::Error| refused(format!("there is no such program on this host ({error})"));
    let mut todo: Vec<OsString> = parts(Path::new(path));
    let (mut place, mut links) = (places.at("/"), 0);
    check_place(places, &place).map_err(&refused)?;
    while let Some(part) = todo.pop() {
        if part == ".." {
            if place != places.at("/") {
                place.pop();
            }
            continue;
        }
        let next = place.join(&part);
        let found = fs::symlink_metadata(&next).map_err(missing)?;
        check_place(places, &next).map_err(&refused)?;
        if !found.is_symlink() {
            place = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(refused("its links lead nowhere".to_owned()));
        }
        let target = fs::read_link(&next).map_err(missing)?;
        if target.is_absolute() {
            place = places.at("/");
        }
        todo.extend(parts(&target));
    }
    let is_file = fs::symlink_metadata(&place).is_ok_and(|found| found.is_file());
    if is_file { Ok(()) } else { Err(refused("it is not a file".to_owned())) }
}

/// The parts of a path, the first at the end.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.rev().collect()
}

/// Whether nobody but root may change what lies at this place.
fn check_place(places: &Places, place: &Path) -> Result<(), String> {
    let who = match fs::symlink_metadata(place) {
        Ok(found) if found.uid() != places.owner() => {
            format!("belongs to the user ID {}", found.uid())
        }
        // The bits of a link say nothing.
        Ok(found) if found.is_symlink() => return Ok(()),
        Ok(found) if found.mode() & 0o002 != 0 => "can be written by everybody".to_owned(),
        // With a list of who may (acl(5)), these bits are the most that anybody on it may.
        Ok(found) if found.mode() & 0o020 != 0 => {
            format!(
                "can be written by the group ID {}, or by who is on its access list",
                found.gid()
            )
        }
        Ok(_) => return Ok(()),
        Err(error) => format!("cannot be looked at ({error})"),
    };
    let place = place.display();
    Err(format!(
        "{place} {who}, so whoever may change it could run anything as root. Make it writable by root alone"
    ))
}
