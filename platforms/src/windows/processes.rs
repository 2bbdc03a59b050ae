//! What runs as a user, and its end.

use super::calls::{CallError, Calls};
use super::sid::Sid;

/// How often it is looked whether more was started meanwhile.
const LOOKS: usize = 4;

/// Logs a user off and ends all that runs as it. What a process may do was decided when it started: the groups of its user
/// that it has, nobody takes from it.
///
/// # Errors
/// If something still runs, in words.
pub fn end_all_of(calls: &dyn Calls, user: &Sid) -> Result<(), String> {
    let mut problems = Vec::new();
    let words = |error: CallError| format!("logging {user} off: {error}");
    for session in calls.sessions(user).map_err(words)? {
        problems.extend(calls.log_off(session).map_err(words).err());
    }
    for _ in 0..LOOKS {
        let left = calls.processes(user).map_err(words)?;
        if left.is_empty() {
            break;
        }
        for process in left {
            problems.extend(calls.kill(process, user).map_err(words).err());
        }
    }
    // What counts is what is left, not what could not be asked for.
    let processes = calls.processes(user).map_err(words)?.len();
    let sessions = calls.sessions(user).map_err(words)?.len();
    if processes == 0 && sessions == 0 {
        return Ok(());
    }
    problems.push(format!("{sessions} sessions and {processes} processes of {user} are left"));
    Err(problems.join("; "))
}
