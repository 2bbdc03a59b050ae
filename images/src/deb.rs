//! The package of the agent for Debian and its kin, made by the machine's own `dpkg-deb`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use clap::Parser;

use crate::build::{self, Arch};
use crate::{cargo, workspace};

/// The package, and its program.
pub const AGENT: &str = "lapse-agent";

/// What lies where in it, and with which mode, by its name in the folder of the package's files.
const FILES: [(&str, &str, u32); 7] = [
    ("session", "usr/lib/lapse/session", 0o755),
    ("systemd/lapse-agent.service", "usr/lib/systemd/system/lapse-agent.service", 0o644),
    ("systemd/lapse-agent-boot.service", "usr/lib/systemd/system/lapse-agent-boot.service", 0o644),
    ("systemd/lapse-end@.service", "usr/lib/systemd/system/lapse-end@.service", 0o644),
    ("systemd/run-lapse-sudo.mount", "usr/lib/systemd/system/run-lapse-sudo.mount", 0o644),
    ("pam.d/lapse-sudo", "etc/pam.d/lapse-sudo", 0o644),
    ("pam.d/lapse-sudo-i", "etc/pam.d/lapse-sudo-i", 0o644),
];
/// What people on the host call: the same program, which is their client under this name.
const CLIENT: &str = "usr/bin/lapse";
/// What `dpkg` runs and reads.
const CONTROL: [(&str, u32); 4] =
    [("conffiles", 0o644), ("postinst", 0o755), ("prerm", 0o755), ("postrm", 0o755)];

/// Builds the package of the agent for Debian and its kin.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo deb-agent", bin_name = "cargo deb-agent")]
pub struct Options {
    /// Where the file goes; target/deb if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// An architecture to build for; may be given several times. This machine's if not given
    #[arg(long, value_name = "ARCH", value_enum)]
    pub arch: Vec<Arch>,
}

/// Builds the packages, and says where they are.
///
/// # Errors
/// If the program cannot be built, or packed.
pub fn run(options: &Options) -> Result<()> {
    build::packed(AGENT, &options.arch, options.out.as_deref(), "deb", |program, arch, into| {
        package(workspace(), program, env!("CARGO_PKG_VERSION"), arch, into)
    })
}

/// Makes the package of this program in a folder; returns its file.
///
/// # Errors
/// If a file is missing, or `dpkg-deb` is.
pub fn package(
    workspace: &Path,
    program: &Path,
    version: &str,
    arch: Arch,
    into: &Path,
) -> Result<PathBuf> {
    let sources = workspace.join("agent/package");
    fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
    let work = tempfile::tempdir_in(into).context("making a folder for the package")?;
    let root = work.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).context("opening the folder")?;
    place(program, &root.join("usr/bin").join(AGENT), 0o755)?;
    symlink(AGENT, root.join(CLIENT)).context("linking the client")?;
    for (from, to, mode) in FILES {
        place(&sources.join(from), &root.join(to), mode)?;
    }
    for (name, mode) in CONTROL {
        place(&sources.join("debian").join(name), &root.join("DEBIAN").join(name), mode)?;
    }
    let template = sources.join("debian/control");
    let template =
        fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
    let size = fs::metadata(program).context("looking at the program")?.len().div_ceil(1024) + 16;
    let control = template
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", arch.name())
        .replace("@SIZE@", &size.to_string());
    fs::write(root.join("DEBIAN/control"), control).context("writing the control file")?;
    let file = into.join(format!("{AGENT}_{version}_{}.deb", arch.name()));
    let mut build = Command::new("dpkg-deb");
    // The same time in every build, as in the image.
    build
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["--root-owner-group", "--build"])
        .arg(root)
        .arg(&file);
    cargo::output(&mut build).context("dpkg-deb makes the package; it is part of Debian")?;
    Ok(file)
}

fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", to.display()))
}
