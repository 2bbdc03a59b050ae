//! Files that are there whole or not at all, also after a power cut: as on every platform.

use std::io;
use std::path::Path;

use lapse_platforms::files::{Files as _, HostFiles};

/// Puts a file in place of the one that was there. What is read at any moment is the old or the new one. When this
/// returns, the new one survives a power cut; when it fails, the old one is as it was.
///
/// # Errors
/// If it cannot be written, such as on a full disk, or has no folder.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    HostFiles.replace(path, content, mode)
}

/// Removes a file, if it is there. When this returns, it stays away after a power cut.
///
/// # Errors
/// If it is there and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    HostFiles.remove(path)
}
