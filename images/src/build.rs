//! The programs, linked statically, the same wherever they are built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{cargo, workspace};

/// What is in the image: each a package with a program of its name.
pub const PROGRAMS: [&str; 3] = ["lapse-controller", "lapse-webhook", "lapse-gateway"];

/// An architecture that the image is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Arch {
    /// `x86_64`
    Amd64,
    /// `aarch64`
    Arm64,
}

impl Arch {
    /// The architecture of this machine.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    /// These, or that of this machine if there are none.
    #[must_use]
    pub fn or_native(arches: &[Self]) -> Vec<Self> {
        if arches.is_empty() { vec![Self::native()] } else { arches.to_vec() }
    }

    /// Its name in images.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Its name in Rust. The C library is GNU's, which answers names inside a static program since 2.34, so that no part
    /// of it is looked for beside the program.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The linker, where it is not that of this machine.
    fn linker(self) -> Option<(&'static str, &'static str)> {
        match self {
            _ if self == Self::native() => None,
            Self::Amd64 => {
                Some(("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "x86_64-linux-gnu-gcc"))
            }
            Self::Arm64 => {
                Some(("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"))
            }
        }
    }
}

/// Builds these packages as a release, and returns the folder with their programs.
///
/// # Errors
/// If the build fails, or what it needs is not installed.
pub fn release(workspace: &Path, target: &Path, arch: Arch, packages: &[&str]) -> Result<PathBuf> {
    let mut build = cargo::command(workspace);
    build.args(["build", "--release", "--locked", "--target", arch.target(), "--target-dir"]);
    build.arg(target);
    for package in packages {
        build.args(["--package", package]);
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, target)?.join("\x1f"));
    if let Some((variable, linker)) = arch.linker() {
        ensure_target(arch, linker)?;
        if std::env::var_os(variable).is_none() {
            build.env(variable, linker);
        }
    }
    let status = build.status().context("starting cargo")?;
    ensure!(status.success(), "building {} for {} failed", packages.join(" and "), arch.name());
    Ok(target.join(arch.target()).join("release"))
}

/// Builds a package's program as a release for each of these architectures, this machine's if there are none, and says what
/// was packed of it. `pack` is given the program and the folder: `into`, or one of this name where everything is built into.
///
/// # Errors
/// If the program cannot be built, or not be packed.
pub fn packed(
    package: &str,
    arches: &[Arch],
    into: Option<&Path>,
    name: &str,
    pack: impl Fn(&Path, Arch, &Path) -> Result<PathBuf>,
) -> Result<()> {
    let target = cargo_target(workspace());
    let folder = into.map_or_else(|| target.join(name), Path::to_owned);
    for arch in Arch::or_native(arches) {
        let program = release(workspace(), &target, arch, &[package])?.join(package);
        println!("{}", pack(&program, arch, &folder)?.display());
    }
    Ok(())
}

/// Links these programs of a build of this profile statically, and returns the folder with them. Of the dependencies
/// nothing is built anew, which makes it the way of tests; paths of this machine are in them.
///
/// # Errors
/// If the build fails.
pub fn linked(workspace: &Path, release: bool, programs: &[&str]) -> Result<PathBuf> {
    let target = cargo_target(workspace);
    let mut link = cargo::command(workspace);
    link.args(["build", "--quiet", "--locked", "--target-dir"]).arg(&target);
    cargo::of_workspace(&mut link, programs);
    if release {
        link.arg("--release");
    }
    cargo::output(link.env("RUSTC_WORKSPACE_WRAPPER", workspace.join("images/linked-rustc")))?;
    Ok(target.join(if release { "release" } else { "debug" }))
}

/// The folder that cargo builds a workspace into.
#[must_use]
pub fn cargo_target(workspace: &Path) -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    chosen.filter(|path| path.is_absolute()).unwrap_or_else(|| workspace.join("target"))
}

const STATIC: &str = "target-feature=+crt-static";

/// Static, and no path of this machine: where the sources lie, what they were fetched to and what they are built into.
fn flags(workspace: &Path, target: &Path) -> Result<Vec<String>> {
    let mut flags = vec!["-C".to_owned(), STATIC.to_owned()];
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let (sources, hash) = standard_library()?;
    // Of several that fit, the last counts.
    let mapped = [
        (sources, format!("/rustc/{hash}")),
        (home.context("finding the folder of cargo")?, "/cargo".to_owned()),
        (workspace.to_owned(), "/lapse".to_owned()),
        (target.to_owned(), "/lapse/target".to_owned()),
    ];
    for (from, to) in mapped {
        let from = from.to_str().with_context(|| format!("{} is not UTF-8", from.display()))?;
        flags.push(format!("--remap-path-prefix={from}={to}"));
    }
    Ok(flags)
}

/// Where the sources of the standard library would lie, and the commit that they are of.
fn standard_library() -> Result<(PathBuf, String)> {
    let version = cargo::output(Command::new("rustc").arg("-vV"))?;
    let hash = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let hash = hash.context("rustc does not say which commit it is of")?;
    Ok((rustlib()?.join("src/rust"), hash.to_owned()))
}

/// Where rustc keeps its libraries.
fn rustlib() -> Result<PathBuf> {
    let sysroot = cargo::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib"))
}

/// Says what is missing before cargo fails with something else.
fn ensure_target(arch: Arch, linker: &str) -> Result<()> {
    if !rustlib()?.join(arch.target()).join("lib").is_dir() {
        bail!(
            "Rust has no standard library for {0}: `rustup target add {0}`. {linker} and its C library are needed, too",
            arch.target(),
        );
    }
    Ok(())
}
