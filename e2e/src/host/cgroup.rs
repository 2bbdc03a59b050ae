//! The cgroup of a host, which it sees as the root of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::plane::guard_cgroup;

/// A cgroup. Dropping it removes it, once its processes are gone.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// One that is not there yet.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        guard_cgroup(&folder)?;
        Ok(Self { folder })
    }

    /// Makes it anew, as empty as that of a machine that starts.
    pub(crate) fn renew(&self) -> Result<()> {
        ensure!(remove(&self.folder), "{} cannot be removed", self.folder.display());
        for made in [&self.folder, &self.init(), &self.console()] {
            fs::create_dir(made).with_context(|| format!("making {}", made.display()))?;
        }
        Ok(())
    }

    /// What the host takes for its root.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its first process must be: by this name systemd knows that what is above is the root.
    pub(crate) fn init(&self) -> PathBuf {
        self.folder.join("init.scope")
    }

    /// Where that is which is run from outside.
    pub(crate) fn console(&self) -> PathBuf {
        self.folder.join("lapse-console")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Removes a cgroup with all below it, for which the kernel needs a moment after the last process; returns whether it
/// is gone. The watchdog tries again later.
fn remove(folder: &Path) -> bool {
    for _ in 0..1000 {
        remove_below(folder);
        if !folder.exists() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

fn remove_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
