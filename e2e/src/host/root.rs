//! The root file systems that hosts are made of: a small distribution with what logging in and becoming root takes. Each
//! is made once, and only read after that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lapse_images::cargo::output;
use sha2::{Digest, Sha256};

use super::machine;
use crate::plane::{line, lock, workspace};

const PACKAGES: [&str; 19] = [
    "acl",
    "at",
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "libcap2-bin",
    "libnss-systemd",
    "libpam-systemd",
    "login",
    "openssh-client",
    "openssh-server",
    "passwd",
    "procps",
    "psmisc",
    "sudo",
    "systemd",
    "systemd-sysv",
    "util-linux",
];

/// The people of every host, with their numbers. They have a home and no password.
const PEOPLE: [(&str, u32); 2] = [("alice", 1000), ("bob", 1001)];

/// Where Debian says which package sources it has.
const SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// With systemd 252 and sudo 1.9.13.
    Debian12,
    /// With systemd 257 and sudo 1.9.16. It has sudo-rs, too, as `sudo-rs`.
    Debian13,
}

impl Release {
    fn codename(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
        }
    }

    fn packages(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::Debian12 => &[],
            Self::Debian13 => &["sudo-rs"],
        };
        [&PACKAGES, own].concat()
    }
}

/// A root file system.
#[derive(Clone, Debug)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// Finds it, and makes it the first time, which takes a minute or two.
    ///
    /// # Errors
    /// If the machine cannot carry hosts, or its package sources do not have the release.
    pub async fn ready(release: Release) -> Result<Self> {
        machine::ready()?;
        // Named by what is in it, so that another list makes another folder.
        let digest = Sha256::digest(format!("{release:?} {:?} {PEOPLE:?}", release.packages()));
        let name = digest.iter().take(4).fold(0, |name, byte| name << 8 | u32::from(*byte));
        let folder = workspace::target().join("hosts").join(format!("{name:08x}"));
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        let _lock = lock(&folder.with_extension("lock")).await?;
        if !folder.is_dir() {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || make(release, &folder))
                .await
                .context("making")??;
        }
        let init = folder.join("sbin/init");
        let is_whole = init.symlink_metadata().is_ok();
        ensure!(
            is_whole,
            "there is no {}: remove the folder, and it is made again",
            init.display()
        );
        Ok(Self { folder })
    }

    /// Where it lies. It must not be changed: hosts lie on it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn make(release: Release, folder: &Path) -> Result<()> {
    line(&format!("Making the root file system of hosts with {release:?}. This happens once."));
    let began = Instant::now();
    let work = folder.with_extension("making");
    // What an earlier attempt left.
    let _ = fs::remove_dir_all(&work);
    let (maker, root) = (work.join("maker"), work.join("root"));
    fs::create_dir_all(&maker).with_context(|| format!("making {}", maker.display()))?;
    let program = fetch_maker(&maker)?;
    let mut make = Command::new("perl");
    make.arg(program).args(["--quiet", "--mode=root", "--variant=minbase"]);
    make.arg(format!("--include={}", release.packages().join(",")));
    for (name, number) in PEOPLE {
        let add = format!("useradd --create-home --shell /bin/bash --uid {number} {name}");
        make.arg(format!("--customize-hook=chroot \"$1\" {add}"));
    }
    make.arg(release.codename()).arg(&root).args(sources_of(release, &work)?);
    output(make.env("PATH", machine::PATH))?;
    ensure!(!folder.exists(), "{} was made meanwhile", folder.display());
    fs::rename(&root, folder).with_context(|| format!("making {}", folder.display()))?;
    let _ = fs::remove_dir_all(&work);
    line(&format!("Made in {} s.", began.elapsed().as_secs()));
    Ok(())
}

/// Unpacks the program that makes root file systems; nothing is installed.
fn fetch_maker(folder: &Path) -> Result<PathBuf> {
    // Its own user may not write here; what it fetches is verified by signature all the same.
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["--option", "APT::Sandbox::User=root", "--quiet", "download", "mmdebstrap"]);
        output(apt.current_dir(folder))
    };
    if download().is_err() {
        // A machine that was just made has no lists yet, or old ones.
        output(Command::new("apt-get").args(["--quiet", "update"]))?;
        download()?;
    }
    let reading = || format!("reading {}", folder.display());
    let entries = fs::read_dir(folder).with_context(reading)?;
    let archives = entries.collect::<std::io::Result<Vec<_>>>().with_context(reading)?;
    for archive in archives {
        output(Command::new("dpkg").arg("--extract").arg(archive.path()).arg(folder))?;
    }
    Ok(folder.join("usr/bin/mmdebstrap"))
}

/// The package sources of this machine, but with the release. None where it is no Debian: then Debian's own are taken.
fn sources_of(release: Release, work: &Path) -> Result<Option<PathBuf>> {
    let Ok(sources) = fs::read_to_string(SOURCES) else { return Ok(None) };
    let system = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let own = codename_of(&system).context("/etc/os-release has no VERSION_CODENAME")?;
    let file = work.join("release.sources");
    fs::write(&file, sources.replace(own, release.codename()))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(Some(file))
}

fn codename_of(system: &str) -> Option<&str> {
    let value = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codename_of_a_system_is_read() {
        let system = "ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID=\"12\"\n";
        assert_eq!(codename_of(system), Some("bookworm"));
        assert_eq!(codename_of("VERSION_CODENAME=\"noble\""), Some("noble"));
        assert_eq!(codename_of("ID=arch\n"), None);
    }
}
