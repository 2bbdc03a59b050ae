//! Changes of what lies in folders that others may write, or that somebody who is root works against: no link is followed
//! on the way, what is changed is what was looked at, and what was made immutable is changed all the same.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, IFlags, Mode, OFlags, ResolveFlags, Uid, XattrFlags, fchmod, fchown,
    fremovexattr, fsetxattr, fsync, ioctl_getflags, ioctl_setflags, openat, openat2, renameat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The lists of who may, beside the owner and the mode (acl(5)).
pub const ACCESS_LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// The capabilities of a program (capabilities(7)).
pub const CAPABILITIES: &str = "security.capability";
/// How often a folder is opened that somebody moves meanwhile.
const TRIES: usize = 3;

/// Whose something is, and who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Its mode, without its type.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileId {
    /// On which file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// What is done to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend<'a> {
    /// A file with this content takes its place.
    Put {
        /// The content.
        content: &'a [u8],
        /// Whose it is.
        owner: Owner,
    },
    /// A link takes its place.
    Link {
        /// Where it leads.
        target: &'a str,
    },
    /// It is removed.
    Take,
    /// It is somebody's, with this mode and without a list of who else may.
    Permit(Owner),
    /// If it is this file: it runs as whoever starts it.
    Strip(FileId),
    /// If it is this file: it has no capabilities, or these.
    Capabilities(FileId, Option<&'a [u8]>),
}

/// Does it.
///
/// # Errors
/// If it is not done. What was there is then as it was.
pub fn mend(path: &Path, how: Mend<'_>) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return match how {
            Mend::Permit(owner) => permit(&open(path)?, owner),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file")),
        };
    };
    match how {
        Mend::Put { content, owner } => {
            let folder = folder(parent)?;
            put(&folder, name, |folder, beside| write(folder, beside, content, owner))
        }
        Mend::Link { target } => {
            let folder = folder(parent)?;
            put(&folder, name, |folder, beside| Ok(symlinkat(target, folder, beside)?))
        }
        Mend::Take => take(&folder(parent)?, name),
        Mend::Permit(owner) => permit(&open(path)?, owner),
        Mend::Strip(id) => {
            let file = open_exactly(path, id)?;
            let mode = file.metadata()?.mode() & 0o1777;
            Ok(loosened(&file, || fchmod(&file, Mode::from_raw_mode(mode)))?)
        }
        Mend::Capabilities(id, before) => {
            let file = open_exactly(path, id)?;
            Ok(loosened(&file, || match before {
                Some(before) => fsetxattr(&file, CAPABILITIES, before, XattrFlags::empty()),
                None => without(fremovexattr(&file, CAPABILITIES)),
            })?)
        }
    }
}

/// Opens what lies there for reading, without following a link anywhere, and without waiting for anybody.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    opened(path, OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
}

/// The content of a file, if there is one, and it is no longer than this. Nothing that lies there can make anybody wait.
#[must_use]
pub fn read(path: &Path, longest: u64) -> Option<Vec<u8>> {
    let file = open(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    let length = file.take(longest.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (u64::try_from(length).ok()? <= longest).then_some(bytes)
}

fn folder(path: &Path) -> io::Result<OwnedFd> {
    opened(path, OFlags::DIRECTORY)
}

fn opened(path: &Path, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        opened = openat2(CWD, path, flags, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN)) {
            break;
        }
    }
    Ok(opened?)
}

/// Opens a file if it is the one that was looked at: somebody may have put another one in its place.
fn open_exactly(path: &Path, id: FileId) -> io::Result<File> {
    let file = open(path)?;
    let found = file.metadata()?;
    let is_same = found.is_file() && found.dev() == id.device && found.ino() == id.inode;
    let other = || io::Error::other("another file lies there now");
    is_same.then_some(file).ok_or_else(other)
}

fn write(folder: &OwnedFd, name: &OsStr, content: &[u8], owner: Owner) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    permit(&file, owner)?;
    file.sync_all()
}

/// Makes something beside what is there, and puts it in its place.
fn put(
    folder: &OwnedFd,
    name: &OsStr,
    make: impl Fn(&OwnedFd, &OsStr) -> io::Result<()>,
) -> io::Result<()> {
    // Its end keeps sudo from reading it, in a folder of rules.
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push("~");
    without(unlinkat(folder, &beside, AtFlags::empty()))?;
    let done = loosened(folder, || make(folder, &beside).map_err(errno))
        .and_then(|()| loosened_at(folder, name, || renameat(folder, &beside, folder, name)));
    if done.is_err() {
        let _ = unlinkat(folder, &beside, AtFlags::empty());
    }
    done?;
    Ok(fsync(folder)?)
}

fn take(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let taken = loosened_at(folder, name, || match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(folder, name, AtFlags::REMOVEDIR),
        taken => taken,
    });
    without(taken)?;
    Ok(fsync(folder)?)
}

fn permit(file: &File, owner: Owner) -> io::Result<()> {
    let Owner { mode, uid, gid } = owner;
    loosened(file, || {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        // Before the mode: with a list, the mode of the group is the most that anybody on it may.
        for list in ACCESS_LISTS {
            without(fremovexattr(file, list))?;
        }
        fchmod(file, Mode::from_raw_mode(mode))
    })?;
    Ok(())
}

/// What is not there need not go.
fn without(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOENT | Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        done => done,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Does something to a file, and once more without its marks that forbid it (chattr(1)).
fn loosened(file: impl AsFd, mut work: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    match work() {
        Err(Errno::PERM) if loosen(&file) => work(),
        done => done,
    }
}

/// The same to what has a name in a folder.
fn loosened_at(
    folder: &OwnedFd,
    name: &OsStr,
    mut work: impl FnMut() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let done = work();
    if done != Err(Errno::PERM) {
        return done;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let of_file = openat(folder, name, flags, Mode::empty()).is_ok_and(|file| loosen(&file));
    if loosen(folder) || of_file { work() } else { done }
}

/// Takes off the marks by which nobody may change a file; whether there were any.
fn loosen(file: impl AsFd) -> bool {
    let forbids = IFlags::IMMUTABLE | IFlags::APPEND;
    let Ok(flags) = ioctl_getflags(&file) else { return false };
    flags.intersects(forbids) && ioctl_setflags(&file, flags.difference(forbids)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn owner(mode: u32) -> Owner {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Owner { mode, uid, gid }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_put_back_with_its_mode_and_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for content in [b"1".as_slice(), b"2"] {
            mend(&path, Mend::Put { content, owner: owner(0o440) }).unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (content, 0o440));
        }
        mend(&path, Mend::Permit(owner(0o600))).unwrap();
        assert_eq!(mode(&path), 0o600);
        mend(&path, Mend::Link { target: "/dev/null" }).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("/dev/null"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        mend(&path, Mend::Take).unwrap();
        mend(&path, Mend::Take).unwrap();
        assert!(fs::symlink_metadata(&path).is_err());
    }

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, victim) = (folder.path().join("theirs"), folder.path().join("victim"));
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("x"), "kept").unwrap();
        symlink(&victim, &theirs).unwrap();
        for how in [
            Mend::Put { content: b"new", owner: owner(0o600) },
            Mend::Link { target: "/dev/null" },
            Mend::Take,
            Mend::Permit(owner(0o777)),
        ] {
            assert!(mend(&theirs.join("x"), how).is_err(), "{how:?}");
        }
        // A link in the place of a file is replaced, and where it leads is left alone.
        symlink(victim.join("x"), folder.path().join("y")).unwrap();
        let put = Mend::Put { content: b"new", owner: owner(0o600) };
        mend(&folder.path().join("y"), put).unwrap();
        assert_eq!(fs::read(victim.join("x")).unwrap(), b"kept");
        assert_eq!(fs::read(folder.path().join("y")).unwrap(), b"new");
    }

    #[test]
    fn only_the_file_that_was_looked_at_is_stripped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shell");
        let setuid = |path: &Path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o6755)).unwrap();
            let found = fs::metadata(path).unwrap();
            FileId { device: found.dev(), inode: found.ino() }
        };
        let seen = setuid(&path);
        let other = folder.path().join("other");
        setuid(&other);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::rename(&other, &path).unwrap();
        let error = mend(&path, Mend::Strip(seen)).unwrap_err();
        assert_eq!(error.to_string(), "another file lies there now");
        assert_eq!(mode(&path), 0o6755);
        mend(&folder.path().join("moved"), Mend::Strip(seen)).unwrap();
        assert_eq!(mode(&folder.path().join("moved")), 0o755);
    }
}
