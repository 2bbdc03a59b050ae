//! What an object is looked at for, how urgent that is, and which places it has.

/// What an object is looked at for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A right ends.
    End,
    /// What others did, or a policy or the time says, may end a right that is held.
    Held,
    /// A right was looked at as one that ends, and it could not be told whether it does, or has.
    EndAgain,
    /// The same of what may end.
    Again,
    /// Somebody asks in an emergency.
    Emergency,
    /// Somebody asks, or what was asked for can be given.
    Give,
    /// What others did, or a policy says, may change what waits.
    Check,
    /// Something may have changed, or is to be written down.
    Follow,
}

impl Lane {
    const ALL: [Self; 8] = [
        Self::End,
        Self::Held,
        Self::EndAgain,
        Self::Again,
        Self::Emergency,
        Self::Give,
        Self::Check,
        Self::Follow,
    ];

    /// Whether what is looked at in it may end a right, so that it has places in which nothing is given.
    pub(crate) fn may_end(self) -> bool {
        self.pool().may_end()
    }

    /// In which lane that is looked for again which could not be told in this one. Somebody denied it, say, and waits behind
    /// none of the thousands that only may end.
    pub(super) fn again(self) -> Self {
        match self {
            Self::End | Self::EndAgain => Self::EndAgain,
            Self::Held
            | Self::Again
            | Self::Emergency
            | Self::Give
            | Self::Check
            | Self::Follow => Self::Again,
        }
    }

    pub(super) fn pool(self) -> Pool {
        match self {
            Self::End => Pool::End,
            Self::Held => Pool::Held,
            Self::EndAgain | Self::Again => Pool::Again,
            Self::Emergency | Self::Give | Self::Check => Pool::Give,
            Self::Follow => Pool::Follow,
        }
    }
}

/// Places that some lanes share. An end is known to be one, and waits for none of those that only may be: of these there are
/// as many as there are rights, when a policy changes or something cannot be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    End,
    Held,
    Again,
    Give,
    Follow,
}

impl Pool {
    pub(super) const ALL: [Self; 5] =
        [Self::End, Self::Held, Self::Again, Self::Give, Self::Follow];

    /// How many objects are looked at at once. The work is waiting for the API server.
    pub(super) fn places(self) -> usize {
        match self {
            Self::End | Self::Held | Self::Again | Self::Give => 16,
            Self::Follow => 8,
        }
    }

    pub(super) fn may_end(self) -> bool {
        match self {
            Self::End | Self::Held | Self::Again => true,
            Self::Give | Self::Follow => false,
        }
    }

    pub(super) fn lanes(self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().filter(move |lane| lane.pool() == self)
    }
}
