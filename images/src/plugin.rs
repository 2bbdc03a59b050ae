//! The plugin of kubectl as an archive, as people install it and as plugin managers expect it: at the top the program, what
//! kubectl runs to complete it, the manual page, and the licence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Parser;

use crate::archive::{compressed, header};
use crate::build::{self, Arch};
use crate::{cargo, workspace};

/// The package, and its program.
pub const PLUGIN: &str = "kubectl-jit";
/// Its manual page.
const MANUAL: &str = "kubectl-jit.1";
/// What kubectl runs to complete it: a script that asks the program.
const COMPLETION: &str = "kubectl_complete-jit";

/// Builds `kubectl jit` as an archive for each architecture.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo plugin", bin_name = "cargo plugin")]
pub struct Options {
    /// Where the files go; target/plugin if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// An architecture to build for; may be given several times. This machine's if not given
    #[arg(long, value_name = "ARCH", value_enum)]
    pub arch: Vec<Arch>,
}

/// Builds the archives, and says where they are.
///
/// # Errors
/// If the program cannot be built, or an archive not be written.
pub fn run(options: &Options) -> Result<()> {
    build::packed(PLUGIN, &options.arch, options.out.as_deref(), "plugin", |program, arch, into| {
        archive(workspace(), program, &manual(program, arch)?, arch, into)
    })
}

/// The manual page, which the program writes: the one that was built, or, where this machine cannot run that, one of its own.
fn manual(program: &Path, arch: Arch) -> Result<String> {
    let native = if arch == Arch::native() {
        program.to_owned()
    } else {
        let target = build::cargo_target(workspace());
        build::release(workspace(), &target, Arch::native(), &[PLUGIN])?.join(PLUGIN)
    };
    cargo::output(Command::new(native).arg("man"))
}

/// Packs this program with its manual page, and with nothing of the machine but its bytes; returns the file.
///
/// # Errors
/// If a file is missing, or the archive cannot be written.
pub fn archive(
    workspace: &Path,
    program: &Path,
    manual: &str,
    arch: Arch,
    into: &Path,
) -> Result<PathBuf> {
    let mut tar = tar::Builder::new(Vec::new());
    let read = |from: &Path| fs::read(from).with_context(|| format!("reading {}", from.display()));
    for (name, content, mode) in [
        (PLUGIN, read(program)?, 0o755),
        (COMPLETION, read(&workspace.join("cli").join(COMPLETION))?, 0o755),
        (MANUAL, manual.as_bytes().to_vec(), 0o644),
        ("LICENSE", read(&workspace.join("LICENSE"))?, 0o644),
    ] {
        let mut header = header(tar::EntryType::Regular, mode, 0);
        header.set_size(content.len().try_into()?);
        tar.append_data(&mut header, name, &content[..])?;
    }
    let bytes = compressed(&tar.into_inner()?)?;
    fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
    let version = env!("CARGO_PKG_VERSION");
    let file = into.join(format!("{PLUGIN}_{version}_linux_{}.tar.gz", arch.name()));
    fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_has_the_program_what_goes_with_it_and_nothing_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("built");
        fs::write(&program, "the program").unwrap();
        let packed = |into: &str| {
            let into = folder.path().join(into);
            let file = archive(workspace(), &program, ".TH KUBECTL-JIT 1\n", Arch::Arm64, &into);
            let file = file.unwrap();
            assert!(file.to_str().unwrap().ends_with("_linux_arm64.tar.gz"), "{}", file.display());
            fs::read(file).unwrap()
        };
        let bytes = packed("one");
        assert_eq!(bytes, packed("another"));
        let mut tar = tar::Archive::new(GzDecoder::new(&bytes[..]));
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            found.push((path, header.mode().unwrap(), content.lines().last().map(str::to_owned)));
        }
        let last = |text: &str| Some(text.to_owned());
        assert_eq!(found[0], (PLUGIN.to_owned(), 0o755, last("the program")));
        let asks = last("exec kubectl-jit __complete \"$@\"");
        assert_eq!(found[1], (COMPLETION.to_owned(), 0o755, asks));
        assert_eq!(found[2], (MANUAL.to_owned(), 0o644, last(".TH KUBECTL-JIT 1")));
        assert_eq!((&*found[3].0, found[3].1, found.len()), ("LICENSE", 0o644, 4));
    }
}
