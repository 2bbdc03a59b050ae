//! The plugin of kubectl as an archive, as people install it and as plugin managers expect it: at the top the program, what
//! kubectl runs to complete it, and the licence.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

use crate::archive::{compressed, header};
use crate::build::{self, Arch};
use crate::workspace;

/// The package, and its program.
pub const PLUGIN: &str = "kubectl-jit";
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
        archive(workspace(), program, arch, into)
    })
}

/// Packs this program, with nothing of the machine but its bytes; returns the file.
///
/// # Errors
/// If a file is missing, or the archive cannot be written.
pub fn archive(workspace: &Path, program: &Path, arch: Arch, into: &Path) -> Result<PathBuf> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, from, mode) in [
        (PLUGIN, program, 0o755),
        (COMPLETION, &*workspace.join("cli").join(COMPLETION), 0o755),
        ("LICENSE", &*workspace.join("LICENSE"), 0o644),
    ] {
        let content = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
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
    fn an_archive_has_the_program_its_completion_and_the_licence_and_nothing_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("built");
        fs::write(&program, "the program").unwrap();
        let packed = |into: &str| {
            let file = archive(workspace(), &program, Arch::Arm64, &folder.path().join(into));
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
        assert_eq!((&*found[2].0, found[2].1, found.len()), ("LICENSE", 0o644, 3));
    }
}
