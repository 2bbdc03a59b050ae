//! What a host keeps of a user outside of their home: jobs of cron and at, mail, and that services of theirs start with it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::elevation::Bench;

/// Folders in which each file belongs to the user whose it is.
const SPOOLS: [&str; 7] = [
    "/var/spool/cron/crontabs",
    "/var/spool/cron/atjobs",
    "/var/spool/cron/atspool",
    "/var/spool/cron",
    "/var/spool/at",
    "/var/spool/at/spool",
    "/var/mail",
];
/// A file for each user whose services start with the host, by their name.
const LINGER: &str = "/var/lib/systemd/linger";
/// How many files are removed at once: others wait meanwhile, and a user may have made any number.
const AT_ONCE: usize = 256;

/// Removes what is kept of the user of this number, who is called so.
pub(super) fn clear(bench: &Bench<'_>, uid: u32, name: &str) -> Result<(), String> {
    let linger = bench.places.at(LINGER).join(name);
    let mut all = vec![linger];
    for folder in SPOOLS {
        // What is not there has nothing of anybody.
        let entries = fs::read_dir(bench.places.at(folder)).into_iter().flatten().flatten();
        let is_theirs = |entry: &fs::DirEntry| {
            entry.metadata().is_ok_and(|found| found.uid() == uid && !found.is_dir())
        };
        all.extend(entries.filter(is_theirs).map(|entry| entry.path()).take(AT_ONCE + 1));
    }
    for path in all.iter().take(AT_ONCE) {
        let removed = bench.system.remove(path);
        removed.map_err(|error| format!("removing {}: {error}", path.display()))?;
    }
    if all.len() <= AT_ONCE {
        return Ok(());
    }
    Err(format!("{name} has left so many jobs or mails that not all of them are removed yet"))
}
