//! Whether this machine can carry nodes.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::cgroups::Hierarchies;

/// The programs of the machine that are used as they are.
const PROGRAMS: [&str; 7] = ["apt-get", "dpkg", "ip", "mount", "nsenter", "umount", "unshare"];

/// How its cgroups lie.
///
/// # Errors
/// If the machine cannot carry nodes, with all that is missing.
pub(crate) fn ready() -> Result<Hierarchies> {
    let hierarchies = Hierarchies::of_machine();
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mut missing: Vec<String> = PROGRAMS
        .into_iter()
        .filter(|name| !super::PATH.split(':').any(|place| Path::new(place).join(name).is_file()))
        .map(|name| format!("there is no {name}"))
        .collect();
    if !nix::unistd::geteuid().is_root() {
        missing.push("this process is not root".to_owned());
    }
    if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        missing.push("the kernel has no overlay file system (modprobe overlay)".to_owned());
    }
    if let Err(error) = &hierarchies {
        missing.push(format!("{error:#}"));
    }
    ensure!(missing.is_empty(), "this machine cannot carry nodes: {}", missing.join("; "));
    hierarchies
}
