//! The cgroups of a node: one folder in each hierarchy of this machine, below which the node sees nothing else.
//!
//! A kubelet and a container runtime take the root of what they see for theirs. So each node gets a folder, enters it,
//! and makes a cgroup namespace of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What a kubelet asks of version 1.
const NEEDED: [&str; 7] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids"];
/// What it asks of version 2.
const NEEDED_2: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
const ROOT: &str = "/sys/fs/cgroup";

/// The hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchies {
    /// Version 1: each has a mount point of its own, and a place in it where this process is.
    One(Vec<Hierarchy>),
    /// Version 2: there is one.
    Two,
}

/// A hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// What it is mounted with: its controllers with commas between them, or `name=…`.
    pub(crate) option: String,
    /// The folder of the cgroup that this process is in.
    pub(crate) own: PathBuf,
}

impl Hierarchies {
    /// What this machine has.
    ///
    /// # Errors
    /// If a kubelet misses something there.
    pub(crate) fn of_machine() -> Result<Self> {
        let root = Path::new(ROOT);
        if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
            let missing = lacking(&NEEDED_2, &controllers.split_whitespace().collect::<Vec<_>>());
            return if missing.is_empty() {
                Ok(Self::Two)
            } else {
                bail!("{ROOT} has no controller {missing}")
            };
        }
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
        let found = version_1(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        let options = found.iter().flat_map(|hierarchy| hierarchy.option.split(','));
        let missing = lacking(&NEEDED, &options.collect::<Vec<_>>());
        if missing.is_empty() {
            Ok(Self::One(found))
        } else {
            bail!("no hierarchy of cgroups has {missing}")
        }
    }

    /// Makes the folders of a node.
    pub(crate) fn make(&self, name: &str) -> Result<Cgroups> {
        let folders = match self {
            Self::One(all) => all.iter().map(|hierarchy| hierarchy.own.join(name)).collect(),
            // Where there are processes, version 2 lets no folder have controllers, but for the root.
            Self::Two => vec![Path::new(ROOT).join(name)],
        };
        let cgroups = Cgroups { folders, version_2: *self == Self::Two };
        for folder in &cgroups.folders {
            crate::plane::guard_cgroup(folder)?;
            fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
            // A cgroup of version 1 with none of these takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = folder.parent().map(|above| above.join(file));
                if let Some(value) = above.and_then(|above| fs::read_to_string(above).ok())
                    && !cgroups.version_2
                {
                    fs::write(folder.join(file), value)
                        .with_context(|| format!("writing {file}"))?;
                }
            }
        }
        if cgroups.version_2 {
            for place in cgroups.places() {
                fs::create_dir(&place).with_context(|| format!("making {place}"))?;
            }
            // Systemd has enabled most of them; what is enabled stays so.
            let enabled = NEEDED_2.map(|controller| format!("+{controller}")).join(" ");
            let control = Path::new(ROOT).join("cgroup.subtree_control");
            fs::write(&control, enabled)
                .with_context(|| format!("writing {}", control.display()))?;
        }
        Ok(cgroups)
    }

    /// What a node mounts each by.
    pub(crate) fn options(&self) -> Vec<&str> {
        match self {
            Self::One(all) => all.iter().map(|hierarchy| hierarchy.option.as_str()).collect(),
            Self::Two => Vec::new(),
        }
    }
}

/// The folders of one node. Dropping it removes them, once their processes are gone.
#[derive(Debug)]
pub(crate) struct Cgroups {
    folders: Vec<PathBuf>,
    version_2: bool,
}

impl Cgroups {
    /// The folders that the processes of the node must be in.
    pub(crate) fn places(&self) -> Vec<String> {
        // In version 2 only a folder without processes of its own may have controllers for those below it.
        let leaf =
            |folder: &PathBuf| if self.version_2 { folder.join("init") } else { folder.clone() };
        self.folders.iter().map(|folder| leaf(folder).display().to_string()).collect()
    }

    /// The folders that the node sees as roots: its first process must be in them when it makes its namespace of them.
    pub(crate) fn roots(&self) -> Vec<String> {
        self.folders.iter().map(|folder| folder.display().to_string()).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // The kernel takes a moment for the last process. The watchdog removes what is left after that.
        for _ in 0..50 {
            self.folders.retain(|folder| !remove(folder));
            if self.folders.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// Removes a cgroup with all below it; returns whether it is gone.
fn remove(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

fn lacking(needed: &[&str], found: &[&str]) -> String {
    let missing = needed.iter().copied().filter(|name| !found.contains(name));
    missing.collect::<Vec<_>>().join(", ")
}

/// The hierarchies of version 1, as the kernel lists mounts and the cgroups of a process.
fn version_1(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let of_process = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    let mounted = |option: &str| {
        mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let is_v1 = after.next() == Some("cgroup");
            let options = after.nth(1)?;
            let has = |one: &str| options.split(',').any(|found| found == one);
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            (is_v1 && option.split(',').all(has)).then_some((root, point))
        })
    };
    of_process
        .filter_map(|(option, path)| {
            let (root, point) = mounted(option).filter(|_| !option.is_empty())?;
            // What is mounted may itself be a cgroup below the first.
            let inside = path.strip_prefix(root).unwrap_or(path).trim_matches('/');
            Some(Hierarchy { option: option.to_owned(), own: Path::new(point).join(inside) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 27 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn each_hierarchy_is_found_with_the_place_of_this_process() {
        let own = "9:name=systemd:/\n4:memory:/some/where\n2:cpu,cpuacct:/\n1:rdma:/\n0::/\n";
        let found = version_1(MOUNTS, own);
        let found: Vec<_> =
            found.iter().map(|one| (one.option.as_str(), one.own.to_str().unwrap())).collect();
        assert_eq!(
            found,
            [
                ("name=systemd", "/sys/fs/cgroup/systemd/"),
                ("memory", "/sys/fs/cgroup/memory/some/where"),
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(lacking(&["cpu", "memory", "pids"], &["memory"]), "cpu, pids");
    }
}
