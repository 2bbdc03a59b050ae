//! What a person sees while the control plane starts.

use std::io::{IsTerminal, Write};

/// Where the steps of starting and stopping are told.
///
/// Building the tools is told on the terminal in any case, because it takes minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere.
    #[default]
    Quiet,
    /// On standard error, one line for each step.
    Steps,
}

impl Progress {
    /// Tells one step.
    pub fn step(self, text: &str) {
        if self == Self::Steps {
            line(text);
        }
    }
}

/// Writes one line to standard error, past the capture of the test harness.
pub(crate) fn line(text: &str) {
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A line that is rewritten in place on a terminal, and written once where there is none.
pub(crate) struct Ticker {
    terminal: bool,
    told: bool,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), told: false }
    }

    /// Says what is going on; without a terminal only the first call writes.
    pub(crate) fn update(&mut self, text: &str) {
        if self.terminal {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        } else if !self.told {
            line(text);
        }
        self.told = true;
    }

    /// Replaces the line by its outcome.
    pub(crate) fn finish(self, text: &str) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
        line(text);
    }
}
