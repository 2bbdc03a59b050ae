//! The programs of an archive.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;

use crate::tool::Tool;

/// Unpacks the programs of an archive into a folder, wherever they lie in it, and nothing else: no path of an archive leads
/// anywhere.
pub(crate) fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut entries = tar::Archive::new(GzDecoder::new(io::BufReader::new(file)));
    for entry in entries.entries().context("unpacking")? {
        let mut entry = entry.context("unpacking")?;
        let path = entry.path().context("unpacking")?.into_owned();
        let name = path.file_name().unwrap_or_default();
        let program = Tool::PUBLISHED.into_iter().find(|tool| name == tool.name());
        if let Some(program) = program.filter(|_| entry.header().entry_type().is_file()) {
            let path = folder.join(program.name());
            let mut open = File::options();
            let mut file = open
                .write(true)
                .create_new(true)
                .mode(0o755)
                .open(&path)
                .with_context(|| format!("making {}", path.display()))?;
            io::copy(&mut entry, &mut file)
                .with_context(|| format!("unpacking {}", path.display()))?;
        }
    }
    Ok(())
}
