//! The terminals of somebody: what they run in their sessions, and under their rights, is looked at.
//!
//! A terminal is theirs: they may stop it, fill it, or let go of it and have its name taken by something else. So nothing waits
//! for it, and it is written to only if it is what it was taken for, and belongs to them.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

use crate::places::{Id, Places};
use crate::processes::{Stat, of_user, within};

/// How many processes of somebody are looked at.
const MOST_PROCESSES: usize = 2048;
/// How many of their terminals are written to.
const MOST: usize = 16;
/// What consoles are to the kernel, and its first and last pseudo-terminals (Linux, `Documentation/admin-guide/devices.txt`).
const CONSOLE: u64 = 4;
const PSEUDO: std::ops::RangeInclusive<u64> = 136..=143;
/// How many consoles there are; above are serial lines.
const CONSOLES: u64 = 64;
/// How many pseudo-terminals one number stands for.
const OF_ONE: u64 = 256;

/// A terminal, by the numbers of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terminal {
    major: u64,
    minor: u64,
}

impl Terminal {
    /// The one that a process names (proc(5), `tty_nr`), if it is a console or a pseudo-terminal.
    #[must_use]
    pub fn of(number: u64) -> Option<Self> {
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
        let is_known =
            (major == CONSOLE && (1..CONSOLES).contains(&minor)) || PSEUDO.contains(&major);
        is_known.then_some(Self { major, minor })
    }

    /// Where it stands.
    fn path(self, places: &Places) -> PathBuf {
        let Self { major, minor } = self;
        if major == CONSOLE {
            places.at(&format!("/dev/tty{minor}"))
        } else {
            places.at(&format!("/dev/pts/{}", (major - PSEUDO.start()) * OF_ONE + minor))
        }
    }

    /// Writes to it what it takes at once, if it is a terminal of this user.
    ///
    /// # Errors
    /// If it is not, or takes nothing.
    fn write(self, places: &Places, uid: u32, text: &[u8]) -> io::Result<()> {
        let path = self.path(places);
        // Opening some devices has effects of its own.
        self.check(&fs::symlink_metadata(&path)?, uid)?;
        let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let mut terminal = OpenOptions::new().write(true).custom_flags(flags.bits()).open(&path)?;
        self.check(&terminal.metadata()?, uid)?;
        terminal.write(text).map(drop)
    }

    fn check(self, found: &fs::Metadata, uid: u32) -> io::Result<()> {
        let is_this = found.file_type().is_char_device()
            && (major(found.rdev()), minor(found.rdev())) == (self.major, self.minor);
        if is_this && found.uid() == uid {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no terminal of this user"))
    }
}

/// The terminals of what somebody runs in their sessions, and under a right of theirs.
#[must_use]
pub fn of(places: &Places, uid: u32, id: &Id) -> BTreeSet<Terminal> {
    let groups = [of_user(places, uid), places.slice(id)];
    let processes = groups.iter().flat_map(|group| within(group, MOST_PROCESSES));
    let terminal = |process: i32| {
        let path = places.at("/proc").join(process.to_string()).join("stat");
        Terminal::of(Stat::of(&fs::read_to_string(path).ok()?)?.terminal)
    };
    let mut found = BTreeSet::new();
    for process in processes {
        if found.len() >= MOST {
            break;
        }
        found.extend(terminal(process));
    }
    found
}

/// Writes a line to all of these; on how many it stands.
#[must_use]
pub fn write(places: &Places, uid: u32, terminals: &BTreeSet<Terminal>, line: &str) -> usize {
    // It begins on a line of its own, and rings.
    let text = format!("\r\n\x07Lapse: {line}.\r\n");
    let written = terminals.iter().map(|terminal| terminal.write(places, uid, text.as_bytes()));
    written.flatten().count()
}

#[cfg(test)]
mod tests;
