//! How new what is seen must be: one rule, by what it is looked at for.
//!
//! Single objects, the ones that a decision is about, are always read as they are now: the request, the Grant, the role, the
//! named policy, the namespaces; where a right may follow, what approves it, too. Everything else is looked up in the
//! index, which lags behind by the milliseconds that a watch takes, and which knows at once what its own process wrote.
//! What that may miss, and what follows, is said with each occasion.

use std::time::Duration;

/// What something is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// To give a right, or to say why not. A Deny of the last milliseconds is seen by its event, which ends the
    /// right that was just given. What nobody approves nobody has judged, so it must not race with a ban: a Deny
    /// policy that was stored before is always seen.
    Give {
        /// Whether nobody approves it.
        unasked: bool,
    },
    /// To refuse a request for good. Whoever has just stored a policy, and then asks by it, must not be refused for
    /// want of it: all policies are seen that were stored before.
    Refuse,
    /// To let through what the controller gives. The controller may have seen what is not seen here yet, so there is
    /// a moment for that before it is refused.
    Confirm {
        /// Whether nobody approves it.
        unasked: bool,
    },
    /// To judge what people say. It is judged again when a right follows from it, so what was seen is good enough to
    /// let it through. Whoever is refused had a moment for what is not seen yet.
    Judge,
    /// To find out whether a right goes on, or to take it back: as the watches have shown. What they miss brings an
    /// event.
    Follow,
}

/// Policies that are looked at as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOfNow {
    /// Deny policies alone, of which there are few.
    Denying,
    /// All of them.
    All,
}

impl Occasion {
    /// Whether a right may follow, so that what approves it must stand now. It may when something was to be refused, too:
    /// what is seen then may allow it.
    #[must_use]
    pub(crate) fn may_give(self) -> bool {
        match self {
            Self::Give { .. } | Self::Confirm { .. } | Self::Refuse => true,
            Self::Judge | Self::Follow => false,
        }
    }

    /// Which policies must be as they are now, beside the one that is named.
    #[must_use]
    pub(crate) fn policies_as_of_now(self) -> Option<AsOfNow> {
        match self {
            Self::Refuse => Some(AsOfNow::All),
            Self::Give { unasked: true } | Self::Confirm { unasked: true } => {
                Some(AsOfNow::Denying)
            }
            Self::Give { unasked: false }
            | Self::Confirm { unasked: false }
            | Self::Judge
            | Self::Follow => None,
        }
    }

    /// How long to wait for what is not seen yet before something is refused for the lack of it. The API server
    /// waits 5 s for a webhook; a watch takes milliseconds, on a busy machine hundreds.
    #[must_use]
    pub fn patience(self) -> Duration {
        match self {
            Self::Confirm { .. } => Duration::from_secs(1),
            Self::Judge => Duration::from_millis(300),
            Self::Give { .. } | Self::Refuse | Self::Follow => Duration::ZERO,
        }
    }
}
