//! What a case is run with.

use std::path::PathBuf;

use clap::ValueEnum;

/// What a case is run with.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The folder with the programs, if they are not this workspace's own.
    pub(super) programs: Option<PathBuf>,
    pub(super) size: Size,
    /// How many agents there are, if it is not as many as the size says.
    pub(super) agents: Option<usize>,
    /// Where the files of the control plane go.
    pub(super) folder: Option<PathBuf>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// A twentieth: what it measures says little.
    Small,
    /// As much as the targets speak of.
    Full,
}

impl Size {
    /// So much of what is done in full.
    pub(super) fn of(self, full: usize) -> usize {
        match self {
            Self::Small => (full / 20).max(3),
            Self::Full => full,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
        }
    }
}
