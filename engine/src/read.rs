//! What a look-up found.

/// The result of looking something up. A look-up that failed is not an absence: nothing is granted
/// and nothing is revoked because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// It is there.
    Found(T),
    /// It is certainly not there.
    Missing,
    /// It is not known, and why.
    Failed(String),
}

impl<T> Read<T> {
    /// What was found, if it was.
    #[must_use]
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(value) => Some(value),
            Self::Missing | Self::Failed(_) => None,
        }
    }

    /// Whether it is certainly not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Why it is not known, if it is not.
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Failed(why) => Some(why.clone()),
            Self::Found(_) | Self::Missing => None,
        }
    }

    /// Turns what was found into something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Read<U> {
        match self {
            Self::Found(value) => Read::Found(f(value)),
            Self::Missing => Read::Missing,
            Self::Failed(why) => Read::Failed(why),
        }
    }
}
