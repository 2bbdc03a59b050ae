//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Puts a file in place of the one that was there. What is read at any moment is the old or the new one. When this
/// returns, the new one survives a power cut; when it fails, the old one is as it was.
///
/// # Errors
/// If it cannot be written, such as on a full disk, or has no folder.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file"));
    };
    // Its end keeps sudo from reading it, in a folder of rules.
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push("~");
    let beside = folder.join(beside);
    let done = write(&beside, content, mode).and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done?;
    File::open(folder)?.sync_all()
}

/// Removes a file, if it is there. When this returns, it stays away after a power cut.
///
/// # Errors
/// If it is there and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    if let Err(error) = fs::remove_file(path) {
        // A file system that cannot be written says so also of what is not there.
        return match fs::symlink_metadata(path) {
            Err(there) if there.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        };
    }
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // One that a crash left, or a link that somebody put there, is not written through.
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        replace(&path, b"1", 0o600).unwrap();
        replace(&path, b"2", 0o440).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o440);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_link_that_waits_under_the_temporary_name_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".x~")).unwrap();
        replace(&folder.path().join("x"), b"new", 0o600).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
    }

    #[test]
    fn what_fails_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        replace(&path, b"old", 0o600).unwrap();
        // A folder under the temporary name can be neither removed as a file nor written.
        fs::create_dir(folder.path().join(".x~")).unwrap();
        assert!(replace(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
