//! What a person sees while something is made that takes minutes.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What takes no longer needs no word.
const SLOW: Duration = Duration::from_secs(2);

/// How often a line on a terminal is written anew, and how often one is written where there is no terminal, such as a log.
const ON_TERMINAL: Duration = Duration::from_secs(1);
const IN_LOG: Duration = Duration::from_secs(30);

/// Goes to the first column of a terminal and clears the line.
const CLEAR: &str = "\r\x1b[2K";

/// Writes one line to standard error, past the capture of the test harness.
pub fn line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let clear = if stderr.is_terminal() { CLEAR } else { "" };
    // Nobody can be told when standard error is closed.
    let _ = writeln!(stderr, "{clear}{text}");
}

/// Jobs that go on side by side, and what remains of each.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<BTreeMap<&'static str, String>>);

impl Jobs {
    /// Says what remains of a job.
    pub fn say(&self, job: &'static str, remains: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job, remains);
    }

    /// Nothing remains of it.
    pub fn done(&self, job: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// Shows what remains while these go on: one line that changes on a terminal, a line now and then elsewhere.
    pub async fn show<T>(&self, work: impl Future<Output = T>) -> T {
        let is_terminal = std::io::stderr().is_terminal();
        let began = Instant::now();
        let mut work = pin!(work);
        let mut pause = SLOW;
        loop {
            if let Ok(outcome) = tokio::time::timeout(pause, &mut work).await {
                if is_terminal {
                    let _ = write!(std::io::stderr(), "{CLEAR}");
                }
                return outcome;
            }
            pause = if is_terminal { ON_TERMINAL } else { IN_LOG };
            let Some(text) = self.text(began.elapsed()) else { continue };
            if is_terminal {
                let mut stderr = std::io::stderr();
                let _ = write!(stderr, "{CLEAR}{text}");
                let _ = stderr.flush();
            } else {
                line(&text);
            }
        }
    }

    fn text(&self, elapsed: Duration) -> Option<String> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs: Vec<_> = jobs.iter().map(|(job, remains)| format!("{job}: {remains}")).collect();
        (!jobs.is_empty()).then(|| format!("  {}; {} s", jobs.join("; "), elapsed.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_remains_of_each_job() {
        let jobs = Jobs::default();
        assert_eq!(jobs.text(SLOW), None);
        jobs.say("Rust", "120 of 388 crates".to_owned());
        jobs.say("Go", "loading".to_owned());
        jobs.say("Go", "900 of 1700 packages".to_owned());
        let both = "  Go: 900 of 1700 packages; Rust: 120 of 388 crates; 2 s";
        assert_eq!(jobs.text(SLOW).as_deref(), Some(both));
        jobs.done("Go");
        assert_eq!(jobs.text(SLOW).as_deref(), Some("  Rust: 120 of 388 crates; 2 s"));
    }
}
