//! What people are told by an event.

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is bad news.
    pub warning: bool,
    /// One word for programs.
    pub reason: String,
    /// In words.
    pub message: String,
}
