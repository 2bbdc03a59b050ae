//! Looks through the file systems of a host for programs that run as somebody else than who starts them, or with capabilities
//! of their own.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rustix::fs::lgetxattr;
use serde::{Deserialize, Serialize};

use super::mounts::Mounts;
use super::name::shown;
use crate::clock::Reading;
use crate::places::Places;
use crate::unfollowed::{CAPABILITIES, FileId, Owner};

/// How many programs are remembered.
const MOST: usize = 4096;
/// How many files and folders are looked at.
const MOST_LOOKED_AT: usize = 20_000_000;
/// How long it may take.
const LONGEST: Duration = Duration::from_mins(15);
/// The bits of a mode by which a program runs as its owner or its group.
pub(super) const SET_IDS: u32 = 0o6000;
/// The longest path that the kernel takes.
const LONGEST_PATH: usize = 4095;
/// How many folders wait to be looked at: whoever makes more in one place must not take the memory of the agent.
const MOST_WAITING: usize = 100_000;

/// A program that runs as somebody else than who starts it, or with capabilities of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Special {
    /// Which file it is.
    pub(super) id: FileId,
    /// Whose.
    pub(super) owner: Owner,
    /// How long, in bytes.
    pub(super) size: u64,
    /// When it was changed last in any way, in nanoseconds since 1970. Nobody but root and the clock say what this is.
    pub(super) changed: i64,
    /// Its capabilities, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) capabilities: Option<String>,
    /// The file system.
    pub(super) device: String,
}

impl Special {
    /// Whether it is what it was. Not by the number of its file system: the kernel gives btrfs, overlay and whatever disk it
    /// finds first another one each time.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let Self { id, owner, size, changed, capabilities, device: _ } = self;
        id.inode == before.id.inode
            && *owner == before.owner
            && *size == before.size
            && *changed == before.changed
            && *capabilities == before.capabilities
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Walk {
    /// When it was begun.
    pub(super) began: DateTime<Utc>,
    /// After which start of the host: numbers of file systems are worth something until the next.
    #[serde(default)]
    pub(super) boot: String,
    /// The programs, by their paths.
    pub(super) files: BTreeMap<String, Special>,
    /// The file systems that were looked through.
    pub(super) devices: Vec<String>,
    /// What was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<String>,
}

/// Looks through all file systems of the host; `None` if it was told to stop.
pub(super) fn walk(
    places: &Places,
    now: &Reading,
    is_told_to_stop: &dyn Fn() -> bool,
) -> Option<Walk> {
    let mounts = Mounts::read(places);
    let mut all = Walk { began: now.wall, boot: now.boot_id.clone(), ..Walk::default() };
    let (points, since) = (mounts.points(), Instant::now());
    let mut looked_at = 0;
    for (point, device) in mounts.to_walk() {
        let mut folders: Vec<PathBuf> = vec![point];
        while let Some(folder) = folders.pop() {
            if is_told_to_stop() {
                return None;
            }
            let Ok(entries) = fs::read_dir(places.under_root(&folder)) else { continue };
            for entry in entries.flatten() {
                looked_at += 1;
                let path = folder.join(entry.file_name());
                let Ok(found) = fs::symlink_metadata(places.under_root(&path)) else { continue };
                if found.is_dir() {
                    if points.contains(path.as_path()) {
                        continue;
                    }
                    let is_reachable = path.as_os_str().len() < LONGEST_PATH;
                    if is_reachable && folders.len() < MOST_WAITING {
                        folders.push(path);
                    } else {
                        all.cut = Some(format!("what lies below {}", short(&path)));
                    }
                } else if let Some(special) = special(places, &path, &found, &device) {
                    if all.files.len() >= MOST {
                        all.cut = Some(format!("programs beyond the first {MOST}"));
                        return Some(all);
                    }
                    all.files.insert(shown(&path), special);
                }
            }
            if looked_at > MOST_LOOKED_AT || since.elapsed() > LONGEST {
                all.cut = Some("setuid programs and capabilities: there are too many files".into());
                return Some(all);
            }
        }
        all.devices.push(device);
    }
    Some(all)
}

fn special(places: &Places, path: &Path, found: &Metadata, device: &str) -> Option<Special> {
    if !found.is_file() {
        return None;
    }
    let capabilities = capabilities(&places.under_root(path));
    if found.mode() & SET_IDS == 0 && capabilities.is_none() {
        return None;
    }
    Some(Special {
        id: FileId { device: found.dev(), inode: found.ino() },
        owner: Owner { mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid() },
        size: found.size(),
        changed: nanoseconds(found.ctime(), found.ctime_nsec()),
        capabilities,
        device: device.to_owned(),
    })
}

/// The beginning of a path, for people.
fn short(path: &Path) -> String {
    shown(path).chars().take(60).collect()
}

/// A time of a file, in nanoseconds since 1970.
pub(super) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// The capabilities of a program, if it has any.
fn capabilities(path: &Path) -> Option<String> {
    let mut bytes = [0_u8; 64];
    let length = lgetxattr(path, CAPABILITIES, &mut bytes[..]).ok()?;
    let digits = bytes.get(..length)?.iter().map(|byte| format!("{byte:02x}"));
    Some(digits.collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn programs_that_run_as_somebody_else_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let file = |path: &str, mode: u32| {
            let path = places.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file("/usr/bin/sudo", 0o4755);
        file("/usr/bin/wall", 0o2755);
        file("/usr/bin/id", 0o755);
        file("/home/al/.cache/ a\n/shell", 0o4755);
        symlink("/", places.at("/home/al/loop")).unwrap();
        let now = Reading { wall: DateTime::UNIX_EPOCH, boottime_ms: 0, boot_id: "a".into() };
        let found = walk(&places, &now, &|| false).unwrap();
        let paths: Vec<&str> = found.files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["/home/al/.cache/ a\\x0a/shell", "/usr/bin/sudo", "/usr/bin/wall"]);
        assert_eq!(found.files["/usr/bin/wall"].owner.mode, 0o2755);
        assert_eq!(found.cut, None);
        assert_eq!(walk(&places, &now, &|| true), None);
    }
}
