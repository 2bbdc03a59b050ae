//! What a person sees while the control plane starts.

use lapse_tools::line;

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
