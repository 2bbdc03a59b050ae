//! Who is at the other end of a connection: what the kernel says, and never what they say.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tokio::net::UnixStream;

use crate::accounts;
use crate::places::Places;

/// The number of root.
const ROOT: u32 = 0;

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user ID that they had when they connected.
    pub uid: u32,
    /// The process, by its number on this host; `None` if it is not seen from here.
    pub pid: Option<i32>,
}

impl Peer {
    /// Who has connected, by `SO_PEERCRED`.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid().filter(|pid| *pid > 0) })
    }

    /// Whether they are root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.uid == ROOT
    }
}

/// The users of this host by its own files. Nobody else holds anything here, and one of these may have many other numbers at
/// hand (subuid(5)), and with each of them connections.
#[derive(Debug)]
pub struct Residents {
    places: Places,
    /// Which state of the file is known: its number, its size, and when it was changed.
    state: Option<(u64, u64, i64, i64)>,
    uids: HashSet<u32>,
}

impl Residents {
    /// Those of this host.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self { places, state: None, uids: HashSet::new() }
    }

    /// Whether this is one of them. While the file cannot be read, those are that were.
    pub fn know(&mut self, uid: u32) -> bool {
        let found = fs::metadata(self.places.at("/etc/passwd"));
        let state = found.ok().map(|it| (it.ino(), it.size(), it.mtime(), it.mtime_nsec()));
        if (state != self.state || self.state.is_none())
            && let Ok(uids) = accounts::uids(&self.places)
        {
            (self.state, self.uids) = (state, uids);
        }
        uid == ROOT || self.uids.contains(&uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_says_who_somebody_is() {
        let (own, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&own).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
    }

    #[test]
    fn residents_are_who_the_file_names_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let mut residents = Residents::new(places.clone());
        assert!(residents.know(0) && !residents.know(1000), "without the file");
        fs::create_dir(places.at("/etc")).unwrap();
        fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\n").unwrap();
        assert!(residents.know(1000) && !residents.know(1001) && !residents.know(100_000));
        fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\nbo:x:1001:1::/:\n")
            .unwrap();
        assert!(residents.know(1001));
        fs::remove_file(places.at("/etc/passwd")).unwrap();
        assert!(residents.know(1001), "who was known is, while it cannot be read");
    }
}
