//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// What changes files, in one place: so that a test can stop it between any two changes.
pub trait Files {
    /// Puts a file in place of the one that was there. What is read at any moment is the old or the new one. When this
    /// returns, the new one survives a power cut; when it fails, the old one is as it was. `mode` counts on Unix; on Windows
    /// a file has the access list of its folder.
    ///
    /// # Errors
    /// If it cannot be written, such as on a full disk, or has no folder.
    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// If it is there and stays.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The files of the host that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl Files for HostFiles {
    fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file"));
        };
        // Its end keeps sudo from reading it, in a folder of rules.
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push("~");
        let beside = folder.join(beside);
        let done = self
            .remove(&beside)
            .and_then(|()| write(&beside, content, mode))
            .and_then(|()| put(&beside, path, folder));
        if done.is_err() {
            let _ = fs::remove_file(&beside);
        }
        done
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if let Err(error) = fs::remove_file(path) {
            // A file system that cannot be written says so also of what is not there.
            return if is_there(path) { Err(error) } else { Ok(()) };
        }
        // On Windows a folder cannot be written through. What comes back there after a power cut is removed once more.
        #[cfg(unix)]
        path.parent().map_or(Ok(()), settle)?;
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create(path, mode)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a file. One that somebody put there, or a link, is not written through.
#[cfg(unix)]
fn create(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

#[cfg(windows)]
fn create(path: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn put(from: &Path, to: &Path, folder: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    settle(folder)
}

/// A rename waits there until it is on the disk, if it is told to.
#[cfg(windows)]
fn put(from: &Path, to: &Path, _: &Path) -> io::Result<()> {
    lapse_windows::files::move_through(from, to).map_err(io::Error::other)
}

/// Sees to it that the names in a folder survive a power cut.
#[cfg(unix)]
fn settle(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The whole of a file, if it is there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| io::Read::read_to_end(&mut file, &mut bytes)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|_| Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        HostFiles.replace(&path, b"1", 0o600).unwrap();
        HostFiles.replace(&path, b"2", 0o600).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        HostFiles.remove(&path).unwrap();
        HostFiles.remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_its_mode_whatever_it_had_before() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for mode in [0o600, 0o440, 0o666] {
            HostFiles.replace(&path, b"1", mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_waits_under_the_temporary_name_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".x~")).unwrap();
        HostFiles.replace(&folder.path().join("x"), b"new", 0o600).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
    }

    #[test]
    fn what_fails_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        HostFiles.replace(&path, b"old", 0o600).unwrap();
        // A folder under the temporary name can be neither removed as a file nor written.
        fs::create_dir(folder.path().join(".x~")).unwrap();
        assert!(HostFiles.replace(&path, b"new", 0o600).is_err());
        assert_eq!(read(&path).unwrap().unwrap(), b"old");
    }
}
