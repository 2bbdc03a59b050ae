//! Whether this machine can carry hosts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

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

/// How many instances of inotify a user may have. The root of all hosts is one user to the kernel.
const WATCHERS: &str = "/proc/sys/fs/inotify/max_user_instances";

/// How many of them one host takes at the most: systemd five, D-Bus and logind one each, and more for who logs in. The
/// default of the kernel, 128, is that of some fifteen hosts.
const WATCHERS_OF_A_HOST: usize = 12;

/// Whether so many hosts may run at once. Without that, systemd would not start on those beyond.
///
/// # Errors
/// If they may not, with what to do.
pub(crate) fn room_for(hosts: usize) -> Result<()> {
    let most = fs::read_to_string(WATCHERS).with_context(|| format!("reading {WATCHERS}"))?;
    let most = most.trim().parse::<usize>().with_context(|| format!("{WATCHERS} is no number"))?;
    is_enough(most, hosts)
}

fn is_enough(most: usize, hosts: usize) -> Result<()> {
    let needed = hosts * WATCHERS_OF_A_HOST;
    ensure!(
        most >= needed,
        "{hosts} hosts at once take up to {needed} instances of inotify, and this machine allows {most}: \
         sysctl -w fs.inotify.max_user_instances={needed}"
    );
    Ok(())
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
    fn a_machine_has_room_for_so_many_hosts_or_says_what_to_set() {
        assert!(is_enough(128, 4).is_ok());
        assert!(is_enough(1200, 100).is_ok());
        let error = is_enough(128, 100).unwrap_err().to_string();
        assert!(error.contains("allows 128: sysctl"), "{error}");
        assert!(error.ends_with("fs.inotify.max_user_instances=1200"), "{error}");
    }

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
