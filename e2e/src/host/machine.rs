//! Whether this machine can carry hosts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Where the programs of a machine lie, and those of a host.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs of the machine that are used as they are.
const PROGRAMS: [&str; 10] = [
    "apt-get",
    "chroot",
    "dpkg",
    "ip",
    "mount",
    "nsenter",
    "perl",
    "pivot_root",
    "setpriv",
    "unshare",
];

/// Where its cgroups of version 2 are mounted.
///
/// # Errors
/// If the machine cannot carry hosts, with all that is missing.
pub(crate) fn ready() -> Result<PathBuf> {
    let mut missing: Vec<String> = PROGRAMS
        .into_iter()
        .filter(|name| !PATH.split(':').any(|place| Path::new(place).join(name).is_file()))
        .map(|name| format!("there is no {name}"))
        .collect();
    if !nix::unistd::geteuid().is_root() {
        missing.push("this process is not root".to_owned());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        missing.push("the kernel has no overlay file system (modprobe overlay)".to_owned());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroups = cgroup2(&mounts);
    if cgroups.is_none() {
        missing.push(
            "cgroups of version 2 are not mounted (mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified)"
                .to_owned(),
        );
    }
    ensure!(missing.is_empty(), "this machine cannot carry hosts: {}", missing.join("; "));
    Ok(cgroups.unwrap_or_default())
}

/// The mount point of cgroups of version 2, as the kernel lists mounts.
fn cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        (root == "/" && after.starts_with("cgroup2 ")).then(|| point.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_beside_version_1_and_alone() {
        let beside = "\
30 27 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime shared:12 - cgroup2 cgroup2 rw
";
        assert_eq!(cgroup2(beside), Some("/sys/fs/cgroup/unified".into()));
        let alone = "30 27 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2(alone), Some("/sys/fs/cgroup".into()));
        assert_eq!(cgroup2("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }
}
