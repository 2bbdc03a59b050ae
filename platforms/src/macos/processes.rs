//! What runs as a user, and its end.

use std::path::Path;

use crate::tools::{Ended, Tools};

const LAUNCHCTL: &str = "/bin/launchctl";
const PKILL: &str = "/usr/bin/pkill";
const PGREP: &str = "/usr/bin/pgrep";
/// How often it is looked whether more was started meanwhile.
const LOOKS: usize = 4;

/// Logs the user of this number off and ends all that runs as it. What it has started with sudo runs as root, and nothing tells whose
/// it was: what has no terminal of the session goes on.
///
/// # Errors
/// If something still runs, in words.
pub(super) fn end_all_of(tools: &dyn Tools, uid: &str) -> Result<(), String> {
    // Who would be logged off by that is nobody, or the system.
    if uid.parse::<u32>().ok().is_none_or(|uid| uid == 0) {
        return Err(format!("nobody is logged off: {uid:?} is not the number of a person"));
    }
    let run = |program: &str, arguments: &[&str]| {
        let ended = tools.run(Path::new(program), arguments, "");
        ended.map_err(|error| format!("logging the user {uid} off: {error}"))
    };
    // Who is not logged in has none of these.
    for domain in [format!("gui/{uid}"), format!("user/{uid}")] {
        run(LAUNCHCTL, &["bootout", &domain])?;
    }
    // By the number of who started it, and of who it acts as.
    let whose = ["-U", "-u"];
    for _ in 0..LOOKS {
        let mut is_left = false;
        for option in whose {
            is_left |= is_any(&run(PKILL, &["-KILL", option, uid])?, PKILL)?;
        }
        if !is_left {
            break;
        }
    }
    for option in whose {
        if is_any(&run(PGREP, &[option, uid])?, PGREP)? {
            return Err(format!("something still runs as the user {uid}"));
        }
    }
    Ok(())
}

/// Whether there was a process that it was asked for: what these programs say by their exit code.
fn is_any(ended: &Ended, program: &str) -> Result<bool, String> {
    match ended.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        code => Err(format!("looking for processes: {program} ended with {code:?}")),
    }
}
