//! Where things lie on a host.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Where sudo logs what is done by rights.
pub const SUDO_LOGS: &str = "/run/lapse/sudo";

/// Where things lie: below `/` on a host, below a folder in a test.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
    owner: u32,
}

impl Default for Places {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), owner: 0 }
    }
}

impl Places {
    /// All below this folder, where whoever runs this stands for root.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self { root: root.to_owned(), owner: nix::unistd::geteuid().as_raw() }
    }

    /// The user ID whose programs are trusted.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// A place by its path on a host.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The same of a path that need not be UTF-8.
    #[must_use]
    pub fn under_root(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What the agent keeps: readable for root alone.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.at("/var/lib/lapse")
    }

    /// What is to be said of a host that is nobody any more.
    #[must_use]
    pub fn notice(&self) -> PathBuf {
        self.state().join("notice")
    }

    /// The names of the last connections to the gateway.
    #[must_use]
    pub fn connections(&self) -> PathBuf {
        self.state().join("connections.json")
    }

    /// What people have requested on this host.
    #[must_use]
    pub fn requests(&self) -> PathBuf {
        self.state().join("requests.json")
    }

    /// What is kept in memory. Everybody may search it for the socket, and list nothing.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.at("/run/lapse")
    }

    /// All else that is kept in memory: for root alone, as the names of files say whose right ended when.
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.memory().join("private")
    }

    /// Where people on the host talk to the agent.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.memory().join("agent.sock")
    }

    /// How the connection to the gateway stands.
    #[must_use]
    pub fn standing(&self) -> PathBuf {
        self.private().join("standing.json")
    }

    /// Locked for as long as the agent runs.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.private().join("running")
    }

    /// What the holders of rights were told.
    #[must_use]
    pub fn told(&self) -> PathBuf {
        self.private().join("told.json")
    }

    /// One file for each order that is known.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.state().join("grants")
    }

    /// What is known of what would outlast rights.
    #[must_use]
    pub fn drift(&self) -> PathBuf {
        self.state().join("drift")
    }

    /// Until when the last right with sudo lasts, for the script that stands in for a broken agent: seconds since 1970.
    #[must_use]
    pub fn until(&self) -> PathBuf {
        self.state().join("until")
    }

    /// When the last rule of sudo of this user was removed: milliseconds since the host started. In memory, as the processes
    /// are that it speaks of.
    #[must_use]
    pub fn last_end(&self, uid: u32) -> PathBuf {
        self.private().join(format!("ended-{uid}"))
    }

    /// That the user of a right was logged off at its end: in memory, so that a full disk does not have it done again.
    #[must_use]
    pub fn logged_off(&self, id: &Id) -> PathBuf {
        self.private().join(format!("logged-off-{id}"))
    }

    /// What is to be told of what was done by rights, until the cluster has it.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.state().join("spool")
    }

    /// What processes of Lapse have written down of it, and the agent has not taken over yet. In memory: what they speak of is
    /// gone with the host's power.
    #[must_use]
    pub fn notes(&self) -> PathBuf {
        self.private().join("notes")
    }

    /// The sessions of sudo whose notes were taken over, as long as something may still be logged of them.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.private().join("sessions")
    }

    /// Where sudo logs what is done by rights: a file system of its own, of a size of its own, as whoever has a right decides how
    /// much is logged.
    #[must_use]
    pub fn sudo_logs(&self) -> PathBuf {
        self.at(SUDO_LOGS)
    }

    /// That nothing may start any more under the right to an application: in memory, so that no full disk keeps anybody from
    /// saying so.
    #[must_use]
    pub fn closed(&self, id: &Id) -> PathBuf {
        self.private().join(format!("closed-{id}"))
    }

    /// Which user IDs were given to accounts that Lapse has made.
    #[must_use]
    pub fn numbers(&self) -> PathBuf {
        self.state().join("numbers.json")
    }

    /// What is given back to a full disk when users or groups must be changed.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.at("/etc/lapse").join("reserve")
    }

    /// The rule of a grant.
    #[must_use]
    pub fn rule(&self, id: &Id) -> PathBuf {
        self.at("/etc/sudoers.d").join(format!("lapse-{id}"))
    }

    /// The group of processes that were started under a grant. It is there while one of them lives.
    #[must_use]
    pub fn slice(&self, id: &Id) -> PathBuf {
        self.at("/sys/fs/cgroup/lapse.slice").join(id.slice())
    }
}

/// What a grant is called on a host: a hash of its name, as sudo and systemd read some characters in their own ways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Of a Grant by its name.
    #[must_use]
    pub fn of(grant: &str) -> Self {
        let digest = Sha256::digest(grant);
        let number =
            digest.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        Self(format!("{number:032x}"))
    }

    /// Reads one, as the units of systemd name it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The slice that its processes are in.
    #[must_use]
    pub fn slice(&self) -> String {
        format!("lapse-{self}.slice")
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the file with the rule of a grant.
    fn file_name(grant: &str) -> String {
        let path = Places::default().rule(&Id::of(grant));
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_name_of_a_file_is_one_that_sudo_reads() {
        let name = file_name("ops.fix-0123~");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
        assert_ne!(name, file_name("ops.fix-0123"));
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = Id::of("ops-fix-0123456789");
        assert_eq!(Id::read(&id.to_string()), Some(id));
        for wrong in ["", "x", "../../../../../../etc/cron.d/xxx", &"g".repeat(32)] {
            assert_eq!(Id::read(wrong), None, "{wrong}");
        }
    }
}
