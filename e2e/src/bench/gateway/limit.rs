//! How many files this process, and what it starts, may have open.

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is open beside the connections of agents.
const OTHERS: u64 = 1000;

/// Makes room for so many connections, as far as the system lets us.
///
/// # Errors
/// If that is not enough.
pub(super) fn raise_open_files(connections: usize) -> Result<()> {
    let needed = u64::try_from(connections)? + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of files")?;
    if soft < needed {
        ensure!(
            hard >= needed,
            "{connections} agents need {needed} open files, and {hard} are allowed: see `ulimit -Hn`, or take fewer with --agents"
        );
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("raising the limit of files")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_system_allows_is_refused_in_words() {
        raise_open_files(1).unwrap();
        let error = raise_open_files(usize::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("--agents"), "{error}");
    }
}
