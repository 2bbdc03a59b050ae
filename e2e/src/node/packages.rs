//! What a node needs of its distribution: the container runtime and what it calls. It is unpacked into a folder of the
//! project, so nothing is installed and no service starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lapse_images::cargo::output;
use sha2::{Digest, Sha256};

use crate::plane::{line, lock, workspace};

/// By the names that Debian and its kin have for them.
const PACKAGES: [&str; 12] = [
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "libedit2",
    "libjansson4",
    "libmnl0",
    "libnftables1",
    "libnftnl11",
    "libseccomp2",
    "libxtables12",
    "nftables",
    "runc",
];

/// The unpacked packages.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Finds them, and fetches them the first time.
    ///
    /// # Errors
    /// If the machine's package sources do not have them.
    pub(crate) async fn ready() -> Result<Self> {
        // Named by what is in it, so that another list makes another folder.
        let digest = Sha256::digest(PACKAGES.join(" "));
        let name = digest.iter().take(4).fold(0, |name, byte| name << 8 | u32::from(*byte));
        let folder = workspace::target().join("node").join(format!("{name:08x}"));
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        let packages = Self { folder };
        let _lock = lock(&packages.folder.with_extension("lock")).await?;
        if !packages.folder.is_dir() {
            let folder = packages.folder.clone();
            tokio::task::spawn_blocking(move || fetch(&folder)).await.context("fetching")??;
        }
        for program in ["busybox", "containerd", "containerd-shim-runc-v2", "ctr", "nft", "runc"] {
            packages.program(program)?;
        }
        Ok(packages)
    }

    /// Where a program lies.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let mut places = self.programs().into_iter().map(|place| place.join(name));
        places.find(|path| path.is_file()).with_context(|| {
            format!("{} has no {name}: remove it, and it is fetched again", self.folder.display())
        })
    }

    /// The folder of the programs that give pods their network.
    pub(crate) fn network_plugins(&self) -> PathBuf {
        self.folder.join("usr/lib/cni")
    }

    /// The `PATH` by which they find one another, and what else is on a machine.
    pub(crate) fn path(&self) -> String {
        let own: Vec<_> = self.programs().iter().map(|place| place.display().to_string()).collect();
        format!("{}:{}", own.join(":"), super::PATH)
    }

    /// Where their libraries are, for `LD_LIBRARY_PATH`.
    pub(crate) fn libraries(&self) -> String {
        let places = ["usr/lib", "lib"].map(|place| self.folder.join(place));
        let inside = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
        let inside = inside.map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu"))
        });
        inside.map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
    }

    fn programs(&self) -> Vec<PathBuf> {
        ["usr/bin", "usr/sbin", "bin", "sbin"].map(|place| self.folder.join(place)).to_vec()
    }
}

fn fetch(folder: &Path) -> Result<()> {
    line("Fetching the container runtime for nodes. This happens once.");
    let began = Instant::now();
    let work = folder.with_extension("fetching");
    let _ = fs::remove_dir_all(&work);
    let (archives, root) = (work.join("archives"), work.join("root"));
    for made in [&archives, &root] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    // Its own user may not write here; what it fetches is verified by signature all the same.
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["--option", "APT::Sandbox::User=root", "--quiet", "download"]).args(PACKAGES);
        output(apt.current_dir(&archives))
    };
    if download().is_err() {
        // A machine that was just made has no lists yet, or old ones.
        output(Command::new("apt-get").args(["--quiet", "update"]))?;
        download()?;
    }
    let reading = || format!("reading {}", archives.display());
    for entry in fs::read_dir(&archives).with_context(reading)? {
        let archive = entry.with_context(reading)?.path();
        output(Command::new("dpkg").arg("--extract").arg(archive).arg(&root))?;
    }
    ensure!(!folder.exists(), "{} was made meanwhile", folder.display());
    fs::rename(&root, folder).with_context(|| format!("making {}", folder.display()))?;
    let _ = fs::remove_dir_all(&work);
    line(&format!("Fetched in {} s.", began.elapsed().as_secs()));
    Ok(())
}
