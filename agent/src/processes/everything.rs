//! All that runs as a user, wherever it was started from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::log_off::is_on_demand;
use super::{all, is_dead, is_of, is_within, kill_found, looking, numbers, of_threads, of_user};
use crate::accounts;
use crate::places::Places;
use crate::system::System;

/// The services of a host.
const SERVICES: &str = "/system.slice/";

/// What of it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What somebody has started as the user: in sessions of theirs or of others, and by services that do so on demand.
    /// Services that the host runs as the user go on.
    Sessions,
    /// All of it.
    All,
}

/// Kills what runs as a user, and as who is lent to them (subuid(5)). What root runs under the same number in a container
/// is somebody else's.
///
/// # Errors
/// With a message that says what is left.
pub fn end_all_of(
    system: &dyn System,
    places: &Places,
    uid: u32,
    extent: Extent,
) -> Result<(), String> {
    // At once, so that what forks meanwhile dies, too. Who has not logged in has no such group.
    if let Err(error) = system.tell_kernel(&of_user(places, uid).join("cgroup.kill"), "1")
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(format!("ending the sessions of the user: {error}"));
    }
    let hunt = Hunt::new(places, uid, extent).map_err(looking)?;
    kill_found(
        system,
        || hunt.find(places),
        |left| format!("processes of the user still run: {left}"),
    )
}

/// Whom to look for.
struct Hunt {
    uid: u32,
    lent: Vec<(u32, u32)>,
    extent: Extent,
    /// The namespaces of the host: of processes, and of users.
    own: [Option<PathBuf>; 2],
}

impl Hunt {
    fn new(places: &Places, uid: u32, extent: Extent) -> io::Result<Self> {
        let own = namespaces(&places.at("/proc/self"));
        Ok(Self { uid, lent: accounts::lent(places, uid)?, extent, own })
    }

    fn find(&self, places: &Places) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        for (process, folder) in all(places)? {
            // The first thread may be dead, and each has a user of its own.
            let mut statuses = of_threads(&folder, "status");
            if !statuses.any(|status| self.is_theirs(&status)) {
                continue;
            }
            // One that has just ended has nothing of these.
            let cgroup = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
            if self.is_meant(&cgroup) && !is_contained(&self.own, &namespaces(&folder)) {
                found.push(process);
            }
        }
        Ok(found)
    }

    fn is_theirs(&self, status: &str) -> bool {
        !is_dead(status) && is_of(&numbers(status, "Uid:"), self.uid, &self.lent)
    }

    fn is_meant(&self, cgroup: &str) -> bool {
        self.extent == Extent::All || !is_within(cgroup, SERVICES) || is_on_demand(cgroup)
    }
}

/// In which namespaces a process is: of processes, and of users.
fn namespaces(process: &Path) -> [Option<PathBuf>; 2] {
    ["ns/pid", "ns/user"].map(|name| fs::read_link(process.join(name)).ok())
}

/// Whether a process is in a container that root has made: among other processes, and with the users of the host. A user
/// who puts theirs among others has to give them other users, too.
fn is_contained(own: &[Option<PathBuf>; 2], found: &[Option<PathBuf>; 2]) -> bool {
    let ([Some(processes), Some(users)], [Some(own_processes), Some(own_users)]) = (found, own)
    else {
        return false;
    };
    processes != own_processes && users == own_users
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_session("0::/user.slice/user-1000.slice/session-3.scope", "1000", true, true)]
    #[case::in_the_session_of_another(
        "0::/user.slice/user-1001.slice/session-4.scope",
        "1000",
        true,
        true
    )]
    #[case::a_job("0::/system.slice/atd.service", "1000", true, true)]
    #[case::a_service_that_runs_as_them("0::/system.slice/build.service", "1000", false, true)]
    #[case::by_a_lent_user("0::/user.slice/user-1000.slice/session-3.scope", "100005", true, true)]
    #[case::another("0::/user.slice/user-1000.slice/session-3.scope", "1001", false, false)]
    #[case::beyond_what_is_lent("0::/user.slice", "165536", false, false)]
    fn what_ends_of_a_user(
        #[case] cgroup: &str,
        #[case] uid: &str,
        #[case] in_sessions: bool,
        #[case] at_all: bool,
    ) {
        let status = format!("State:\tS\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        let ends = |extent| {
            let hunt = Hunt { uid: 1000, lent: vec![(100_000, 65_536)], extent, own: [None, None] };
            hunt.is_theirs(&status) && hunt.is_meant(cgroup)
        };
        assert_eq!((ends(Extent::Sessions), ends(Extent::All)), (in_sessions, at_all));
        let dead = status.replace("State:\tS", "State:\tZ (zombie)");
        let hunt = Hunt { uid: 1000, lent: vec![], extent: Extent::All, own: [None, None] };
        assert!(!hunt.is_theirs(&dead));
    }

    #[rstest]
    #[case::on_the_host("pid:[1]", "user:[2]", false)]
    #[case::in_a_container_of_root("pid:[9]", "user:[2]", true)]
    #[case::in_one_of_their_own("pid:[9]", "user:[8]", false)]
    #[case::with_other_users_alone("pid:[1]", "user:[8]", false)]
    fn what_root_has_put_into_a_container_is_somebody_elses(
        #[case] processes: &str,
        #[case] users: &str,
        #[case] expected: bool,
    ) {
        let of = |processes: &str, users: &str| [Some(processes.into()), Some(users.into())];
        let own: [Option<PathBuf>; 2] = of("pid:[1]", "user:[2]");
        assert_eq!(is_contained(&own, &of(processes, users)), expected);
        assert!(!is_contained(&own, &[None, None]), "what cannot be told is not spared");
    }

    #[test]
    fn processes_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        fs::create_dir_all(places.at("/etc")).unwrap();
        fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\n").unwrap();
        for (number, uid) in [(7, 1000), (8, 1001)] {
            let process = places.at("/proc").join(number.to_string());
            fs::create_dir_all(process.join("task").join(number.to_string())).unwrap();
            let status = format!("State:\tS\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
            fs::write(process.join(format!("task/{number}/status")), status).unwrap();
            fs::write(process.join("cgroup"), "0::/user.slice/user-1001.slice/x\n").unwrap();
        }
        let hunt = Hunt::new(&places, 1000, Extent::Sessions).unwrap();
        assert_eq!(hunt.find(&places).unwrap(), [7]);
    }
}
