//! The file systems of a host: which of them are its own, and where they are looked through. Pure, but for reading the list.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::name::real;
use crate::places::Places;

/// File systems that lie on the host itself, and on which a program may run as its owner. Those of a network, and those
/// that a program provides, are left out: looking at one may wait for somebody else.
const LOCAL: [&str; 17] = [
    "bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "nilfs2",
    "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "xfs", "zfs",
];

/// A file system in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is.
    pub(super) point: PathBuf,
    /// What of it is there.
    root: PathBuf,
    /// Which one it is.
    pub(super) device: String,
    is_local: bool,
    /// Whether programs run as whoever starts them there.
    is_plain: bool,
    is_layered: bool,
}

/// All of them, in the order in which they were put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts(Vec<Mount>);

/// A text of the kernel, in which some characters are written as numbers (proc(5), `mountinfo`).
fn path(text: &str) -> PathBuf {
    let octal = ["\\040", "\\011", "\\012", "\\134"];
    let hex = ["\\x20", "\\x09", "\\x0a", "\\x5c"];
    let text = octal.iter().zip(hex).fold(text.to_owned(), |text, (o, h)| text.replace(o, h));
    real(&text)
}

fn mount(line: &str) -> Option<Mount> {
    let (own, of_system) = line.split_once(" - ")?;
    let fields: Vec<&str> = own.split(' ').collect();
    let [_, _, device, root, point, options, ..] = fields.as_slice() else { return None };
    let kind = of_system.split(' ').next()?;
    Some(Mount {
        point: path(point),
        root: path(root),
        device: (*device).to_owned(),
        is_local: LOCAL.contains(&kind),
        is_plain: options.split(',').any(|option| option == "nosuid"),
        is_layered: kind == "overlay",
    })
}

impl Mounts {
    /// Those of this process. None where there is no list: then there is one file system, and it is the host's own.
    pub(super) fn read(places: &Places) -> Self {
        let text = fs::read_to_string(places.at("/proc/self/mountinfo")).unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mount).collect())
    }

    /// Whether what lies at a path lies on the host itself. No file system is asked.
    pub(super) fn is_local(&self, path: &Path) -> bool {
        let over = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // Of several in one place the last one is there.
        let found = over.max_by_key(|mount| mount.point.as_os_str().len());
        found.is_none_or(|mount| mount.is_local)
    }

    /// Where something is mounted.
    pub(super) fn points(&self) -> HashSet<&Path> {
        self.0.iter().map(|mount| mount.point.as_path()).collect()
    }

    /// Which file systems there are.
    pub(super) fn devices(&self) -> BTreeSet<String> {
        self.0.iter().map(|mount| mount.device.clone()).collect()
    }

    /// Those that are to be looked through, each once: where they begin, and which they are.
    pub(super) fn to_walk(&self) -> Vec<(PathBuf, String)> {
        if self.0.is_empty() {
            return vec![("/".into(), String::new())];
        }
        let is_on_top = |index: usize, mount: &Mount| {
            self.0[index + 1..].iter().all(|later| later.point != mount.point)
        };
        // Layers of containers lie on a file system of the host, where they are found.
        let is_looked_at = |mount: &Mount| {
            mount.is_local
                && !mount.is_plain
                && !(mount.is_layered && mount.point != Path::new("/"))
        };
        let all = self.0.iter().enumerate();
        let all = all.filter(|(index, mount)| is_on_top(*index, mount) && is_looked_at(mount));
        let mut all: Vec<&Mount> = all.map(|(_, mount)| mount).collect();
        all.sort_by_key(|mount| mount.root.as_os_str().len());
        let mut kept: Vec<&Mount> = Vec::new();
        for mount in all {
            let is_within = |other: &&Mount| {
                other.device == mount.device && mount.root.starts_with(&other.root)
            };
            if !kept.iter().any(is_within) {
                kept.push(mount);
            }
        }
        kept.into_iter().map(|mount| (mount.point.clone(), mount.device.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:5 / /proc rw,nosuid - proc proc rw
23 21 8:2 / /home rw - xfs /dev/sda2 rw
24 23 0:40 / /home/nfs rw - nfs4 server:/x rw
25 21 8:1 /srv/data /mnt/bound rw - ext4 /dev/sda1 rw
26 21 0:41 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
27 21 0:42 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw
28 21 0:43 / /dev/shm rw - tmpfs tmpfs rw
29 21 7:0 / /media/a\\040disk rw - ext4 /dev/loop0 rw
30 21 7:1 / /media/over rw - ext4 /dev/loop1 rw
31 21 7:2 / /media/over ro - ext4 /dev/loop2 ro";

    #[test]
    fn each_file_system_of_the_host_is_looked_through_once() {
        let found = Mounts::parse(HOST).to_walk();
        let points: Vec<String> = found.iter().map(|(at, _)| at.display().to_string()).collect();
        assert_eq!(points, ["/", "/home", "/dev/shm", "/media/a disk", "/media/over"]);
        assert_eq!(found[4].1, "7:2", "the one that is there");
        let layered = "1 0 0:9 / / rw - overlay overlay rw";
        assert_eq!(Mounts::parse(layered).to_walk(), [("/".into(), "0:9".to_owned())]);
    }

    #[test]
    fn nobody_waits_for_a_file_system_of_a_network() {
        let mounts = Mounts::parse(HOST);
        for (path, expected) in
            [("/etc/sudoers", true), ("/home/al/.ssh", true), ("/home/nfs/bo/.ssh", false)]
        {
            assert_eq!(mounts.is_local(Path::new(path)), expected, "{path}");
        }
        assert!(Mounts::default().is_local(Path::new("/x")));
    }
}
