//! Looks at the files of a host that make somebody root, or let them in.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lapse_crds::DriftKind;
use rustix::fs::lgetxattr;
use sha2::{Digest as _, Sha256};

use super::critical::{AT_NOTES, SPOTS, Shape, Spot, UNITS, UNITS_OF_BOOT, kind_of};
use super::entry::{Content, Entries, Entry, LONGEST, MOST, Snapshot};
use super::keys::key_files;
use super::mounts::Mounts;
use super::name::shown;
use crate::places::Places;
use crate::unfollowed::{ACCESS_LISTS, Owner, read};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// What the guard looks after.
    Guarded,
    /// All.
    All,
}

/// What was read before, so that what was not touched since is not read again.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<String, (Stamp, Entry)>);

/// What tells that a file was touched.
type Stamp = [i64; 5];

fn stamp_of(found: &Metadata) -> Stamp {
    let number = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    let nanoseconds = found.ctime_nsec() ^ (found.mtime_nsec() << 32);
    [number(found.ino()), number(found.size()), found.mtime(), found.ctime(), nanoseconds]
}

/// Looks. What was read before is read again only if it was touched; without a cache everything is read.
pub(super) fn look(places: &Places, scope: Scope, mut cache: Option<&mut Cache>) -> Snapshot {
    // Whoever makes files of ever new names must not take the memory of the agent.
    if let Some(cache) = cache.as_mut().filter(|cache| cache.0.len() > 2 * MOST) {
        cache.0.clear();
    }
    let mut looking =
        Looking { places, mounts: Mounts::read(places), scope, cache, found: Snapshot::default() };
    for spot in SPOTS {
        let is_among_others = spot.kind == DriftKind::Unit;
        if scope == Scope::All || spot.is_guarded || is_among_others {
            looking.spot(spot);
        }
    }
    for path in key_files(places, &looking.mounts, &looking.found) {
        looking.entry(&path, (DriftKind::Keys, true), true);
    }
    looking.found
}

/// The folders in which something changes that the guard looks after.
pub(super) fn folders(entries: &Entries) -> Vec<PathBuf> {
    let guarded = entries.iter().filter(|(_, entry)| entry.is_guarded);
    let mut all: Vec<PathBuf> = guarded
        .map(|(path, entry)| {
            let path = super::name::real(path);
            match entry.content {
                Content::Folder => path,
                _ => path.parent().map_or(path.clone(), Path::to_owned),
            }
        })
        .chain([UNITS, UNITS_OF_BOOT].map(PathBuf::from))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct Looking<'a> {
    places: &'a Places,
    mounts: Mounts,
    scope: Scope,
    cache: Option<&'a mut Cache>,
    found: Snapshot,
}

impl Looking<'_> {
    fn spot(&mut self, spot: &Spot) {
        let depth = match spot.shape {
            Shape::Alone => 0,
            Shape::Tree(depth) => depth,
        };
        if !self.mounts.is_local(Path::new(spot.path)) || (depth > 0 && self.is_elsewhere(spot)) {
            return;
        }
        let mut todo = vec![(PathBuf::from(spot.path), 0)];
        while let Some((path, level)) = todo.pop() {
            if level > 0 || spot.path != UNITS_OF_BOOT {
                self.within(spot, &path);
            }
            let is_folder = || {
                let found = fs::symlink_metadata(self.places.under_root(&path));
                found.is_ok_and(|found| found.is_dir())
            };
            if level >= depth || !is_folder() {
                continue;
            }
            let entries = fs::read_dir(self.places.under_root(&path)).into_iter().flatten();
            // Sorted, so that a bound cuts off the same each time.
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort_unstable();
            todo.extend(names.into_iter().rev().map(|name| (path.join(name), level + 1)));
            if todo.len() > 2 * MOST {
                todo.truncate(MOST);
                self.cut(&path);
            }
        }
    }

    /// Whether a place is another one by a link on its way, which is looked at by its own name.
    fn is_elsewhere(&self, spot: &Spot) -> bool {
        let Some(parent) = Path::new(spot.path).parent() else { return false };
        let real = |path: PathBuf| fs::canonicalize(path).ok();
        let (root, found) = (real(self.places.at("/")), real(self.places.under_root(parent)));
        let inside = parent.strip_prefix("/").unwrap_or(parent);
        root.zip(found).is_some_and(|(root, found)| found != root.join(inside))
    }

    fn within(&mut self, spot: &Spot, path: &Path) {
        let text = shown(path);
        if AT_NOTES.iter().any(|note| text.starts_with(note) || note.trim_end_matches('/') == text)
        {
            return;
        }
        let inside = text.strip_prefix(spot.path).unwrap_or_default().trim_start_matches('/');
        let uid = fs::symlink_metadata(self.places.under_root(path)).map(|found| found.uid());
        let Ok(uid) = uid else { return };
        let is_top = spot.shape != Shape::Alone && inside.is_empty();
        let kind =
            if is_top { Some((spot.kind, spot.is_guarded)) } else { kind_of(spot, inside, uid) };
        if let Some((kind, is_guarded)) = kind {
            // Of the packages that bring something without its content one is the agent's own.
            let keeps = spot.keeps || (kind == DriftKind::Agent && !inside.is_empty());
            self.entry(path, (kind, is_guarded), keeps);
        }
    }

    fn cut(&mut self, path: &Path) {
        let text: String = shown(path).chars().take(60).collect();
        self.found.cut.get_or_insert_with(|| format!("what lies beyond {text}"));
    }

    fn entry(&mut self, path: &Path, (kind, is_guarded): (DriftKind, bool), keeps: bool) {
        if (self.scope == Scope::Guarded && !is_guarded) || !self.mounts.is_local(path) {
            return;
        }
        let real = self.places.under_root(path);
        let Ok(found) = fs::symlink_metadata(&real) else { return };
        if self.found.entries.len() >= MOST {
            self.cut(path);
            return;
        }
        let (text, stamp) = (shown(path), stamp_of(&found));
        let known = self.cache.as_ref().and_then(|cache| cache.0.get(&text));
        let entry = match known {
            Some((known, entry)) if *known == stamp => entry.clone(),
            _ => {
                let content = content(&real, &found, keeps);
                let access_list = access_list(&real, &found);
                let owner =
                    Owner { mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid() };
                Entry { kind, is_guarded, owner, content, access_list }
            }
        };
        if let Some(cache) = &mut self.cache {
            cache.0.insert(text.clone(), (stamp, entry.clone()));
        }
        self.found.entries.insert(text, entry);
    }
}

fn content(path: &Path, found: &Metadata, keeps: bool) -> Content {
    if found.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        return Content::Link(shown(&target));
    }
    if found.is_dir() {
        return Content::Folder;
    }
    if !found.is_file() {
        return Content::Other;
    }
    let bytes = if keeps { read(path, LONGEST) } else { None };
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => Content::Text(text),
        Some(Err(error)) => Content::Bytes(BASE64.encode(error.as_bytes())),
        None => Content::Stamp(stamp_of(found).map(|number| number.to_string()).join(" ")),
    }
}

/// A hash of the lists of who else may, if there are any.
fn access_list(path: &Path, found: &Metadata) -> Option<String> {
    if found.is_symlink() {
        return None;
    }
    let mut bytes = [0_u8; 1024];
    let mut hash = Sha256::new();
    let mut is_any = false;
    for list in ACCESS_LISTS {
        // One that is longer is one all the same.
        let length = match lgetxattr(path, list, &mut bytes[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::RANGE) => bytes.len(),
            Err(_) => continue,
        };
        is_any = true;
        hash.update(list);
        hash.update(bytes.get(..length).unwrap_or_default());
    }
    is_any.then(|| BASE64.encode(&hash.finalize()[..16]))
}
