//! The namespaces of a node: mounts, network, cgroups, processes, host name. They end with their first process, and all
//! that is in them with it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cgroups::{Cgroups, Hierarchies};
use crate::plane::{Ground, Process, SOON, Spec, eventually};

const START: &str = include_str!("start.sh");

/// Puts itself into cgroups, `$1`, and becomes the command that follows.
const ENTER: &str =
    r#"for place in $1; do echo $$ >"$place/cgroup.procs" || exit 1; done; shift; exec "$@""#;

/// Namespaces with what runs in them. Dropping it ends all of that.
#[derive(Debug)]
pub(crate) struct Namespaces {
    // In this order: cgroups can be removed once their processes are gone.
    _first: Process,
    cgroups: Cgroups,
    pid: u32,
}

impl Namespaces {
    /// Makes them. With an address, the node has a bridge with it, to which others can be joined.
    pub(crate) async fn start(
        folder: &Path,
        name: &str,
        address: Option<Ipv4Addr>,
        hierarchies: &Hierarchies,
    ) -> Result<Self> {
        let script = folder.join("start.sh");
        fs::write(&script, START).with_context(|| format!("writing {}", script.display()))?;
        let cgroups = hierarchies.make(&format!("lapse-{}-{name}", std::process::id()))?;
        let address = address.map_or("none".to_owned(), |address| address.to_string());
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        let enter = ["-c", ENTER, "enter"].map(String::from);
        let mut args = enter.to_vec();
        args.push(cgroups.roots().join(" "));
        // A namespace of cgroups begins where a process is that makes it, and that is no place to stay in.
        args.extend(words("unshare --cgroup /bin/sh"));
        args.extend(enter);
        args.push(cgroups.places().join(" "));
        args.extend(words(
            "unshare --mount --net --pid --ipc --uts --fork --kill-child=KILL --mount-proc \
             --propagation private /bin/sh",
        ));
        args.extend([script.display().to_string(), folder.display().to_string()]);
        args.extend([name.to_owned(), address]);
        args.extend(hierarchies.options().into_iter().map(String::from));
        let first = Process::spawn(Spec {
            name: format!("the namespaces of {name}"),
            program: "/bin/sh".into(),
            args,
            env: BTreeMap::from([("PATH".to_owned(), super::PATH.to_owned())]),
            inherit_env: false,
            folder: None,
            log: folder.join("namespaces.log"),
        })?;
        let what = format!("{} to be there", first.name());
        let started = folder.join("started");
        eventually(&what, SOON, async || {
            Ok((started.exists() || first.exit().is_some()).then_some(()))
        })
        .await
        .with_context(|| first.tail())?;
        first.ensure_running()?;
        let pid = child_of(first.pid()).context("finding the first process of a node")?;
        Ok(Self { _first: first, cgroups, pid })
    }

    /// The number of the first process, as this machine counts.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How to run something there.
    pub(crate) fn ground(&self, address: Ipv4Addr) -> Ground {
        let enter = "--mount --net --cgroup --pid --ipc --uts --";
        let mut words = ["/bin/sh", "-c", ENTER, "enter"].map(String::from).to_vec();
        words.push(self.cgroups.places().join(" "));
        words.extend(["nsenter".to_owned(), format!("--target={}", self.pid)]);
        words.extend(enter.split_whitespace().map(String::from));
        let network = PathBuf::from(format!("/proc/{}/ns/net", self.pid));
        Ground { enter: words, network, address }
    }
}

/// The one child of a process.
fn child_of(parent: u32) -> Result<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Behind the name, which may have blanks and brackets: the state, and the parent.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if of.is_some_and(|of| of == parent.to_string()) {
            children.push(pid);
        }
    }
    ensure!(children.len() == 1, "process {parent} has {} children", children.len());
    Ok(children[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_of_a_process_is_found() {
        let mut shell = std::process::Command::new("/bin/sh");
        let mut shell = shell.args(["-c", "sleep 60; true"]).spawn().unwrap();
        let found = loop {
            if let Ok(found) = child_of(shell.id()) {
                break found;
            }
            assert!(shell.try_wait().unwrap().is_none());
        };
        assert_ne!(found, shell.id());
        let child = nix::unistd::Pid::from_raw(found.try_into().unwrap());
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
    }
}
