//! Notices that something changes in a folder, at once.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use tracing::warn;

/// How long is waited for what comes together.
const TOGETHER: Duration = Duration::from_millis(10);

/// What notices changes. Where the kernel has no room for it, whoever waits is woken by the time alone.
pub(super) struct Notice {
    kernel: Option<OwnedFd>,
    known: HashSet<PathBuf>,
}

impl Notice {
    /// One that watches nothing yet.
    pub(super) fn new() -> Self {
        let kernel = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        if let Err(error) = &kernel {
            warn!(%error, "changes are noticed each second, and not at once");
        }
        Self { kernel: kernel.ok(), known: HashSet::new() }
    }

    /// Watches these folders, and none of those before that are not among them.
    pub(super) fn watch(&mut self, folders: HashSet<PathBuf>) {
        if self.known.iter().any(|known| !folders.contains(known)) {
            *self = Self::new();
        }
        let Some(kernel) = &self.kernel else { return };
        let of_interest = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for folder in folders {
            // One that is not there is tried again.
            if !self.known.contains(&folder) && add_watch(kernel, &folder, of_interest).is_ok() {
                self.known.insert(folder);
            }
        }
    }

    /// Waits until something changes, and for so long at the most.
    pub(super) fn wait(&mut self, longest: Duration) {
        let Some(kernel) = &self.kernel else { return sleep(longest.min(Duration::from_secs(1))) };
        let seconds = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX);
        let longest = Timespec { tv_sec: seconds, tv_nsec: longest.subsec_nanos().into() };
        let mut waiting = [PollFd::new(kernel, PollFlags::IN)];
        if !matches!(poll(&mut waiting, Some(&longest)), Ok(1..)) {
            return;
        }
        sleep(TOGETHER);
        let mut bytes = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(kernel, &mut bytes);
        let mut is_lost = false;
        while let Ok(event) = reader.next() {
            // A folder that went may be made again, and what overflows says nothing.
            is_lost |= event
                .events()
                .intersects(ReadFlags::IGNORED | ReadFlags::QUEUE_OVERFLOW | ReadFlags::MOVE_SELF);
        }
        if is_lost {
            self.known.clear();
        }
    }
}
