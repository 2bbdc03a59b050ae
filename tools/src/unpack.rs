//! The programs of an archive.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use lapse_images::hexadecimal;
use sha2::{Digest as _, Sha512};

use crate::tool::Tool;

/// Opens a file that has this SHA-512: as it lies on the disk, from which it is read further on.
pub(crate) fn verified(path: &Path, sha512: &str) -> Result<File> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut hash, mut buffer) = (Sha512::new(), vec![0; 256 * 1024]);
    loop {
        let count = file.read(&mut buffer).with_context(reading)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    let found = hexadecimal(&hash.finalize());
    ensure!(
        found == sha512,
        "it is not what is pinned: its SHA-512 is {found}, and should be {sha512}"
    );
    file.rewind().with_context(reading)?;
    Ok(file)
}

/// Unpacks the programs of an archive into a folder, wherever they lie in it, and nothing else: no path of an archive leads
/// anywhere.
pub(crate) fn unpack(archive: File, folder: &Path) -> Result<()> {
    let mut entries = tar::Archive::new(GzDecoder::new(io::BufReader::new(archive)));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_lies_on_the_disk_is_verified_and_then_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        fs::write(&path, "whole").unwrap();
        let pinned = hexadecimal(&Sha512::digest("whole"));
        let mut text = String::new();
        verified(&path, &pinned).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "whole");
        fs::write(&path, "whose").unwrap();
        let error = verified(&path, &pinned).unwrap_err().to_string();
        assert!(error.starts_with("it is not what is pinned: its SHA-512 is "), "{error}");
        assert!(error.ends_with(&format!("and should be {pinned}")), "{error}");
    }
}
