//! The entries of the two webhook configurations, each with a path of its own.

/// A configuration, by the half of admission that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// `MutatingWebhookConfiguration`.
    Mutating,
    /// `ValidatingWebhookConfiguration`.
    Validating,
}

/// What the API server calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Webhook {
    /// Stamps and signs requests and decisions.
    Stamp,
    /// Signs orders to hosts, once they are confirmed.
    Order,
    /// Signs certificates of agents, once their tokens are checked.
    Enrol,
    /// Refuses what is not stamped and signed, and policies that cannot work.
    Validate,
    /// Refuses what the controller writes and what does not follow from what is stored.
    Confine,
    /// Says of what the holder of a right writes by which request it is held.
    Session,
    /// Marks what the holder of a right starts.
    Started,
    /// Takes the mark off what somebody who holds no right copies from what carries one.
    Copied,
    /// Records which pods the holder of a right goes into, where nothing is opened without that.
    Entered,
    /// Records the same elsewhere, if it can.
    Elsewhere,
    /// Says how many rights end with a policy that is deleted.
    Ends,
}

impl Webhook {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Stamp,
        Self::Order,
        Self::Enrol,
        Self::Validate,
        Self::Confine,
        Self::Session,
        Self::Started,
        Self::Copied,
        Self::Entered,
        Self::Elsewhere,
        Self::Ends,
    ];

    /// Its configuration.
    pub(crate) fn half(self) -> Half {
        match self {
            Self::Stamp | Self::Order | Self::Enrol | Self::Started | Self::Copied => {
                Half::Mutating
            }
            Self::Validate
            | Self::Confine
            | Self::Session
            | Self::Entered
            | Self::Elsewhere
            | Self::Ends => Half::Validating,
        }
    }

    /// The name of its entry, as in the chart.
    pub(crate) fn entry(self) -> &'static str {
        match self {
            Self::Stamp => "stamp.lapse.dev",
            Self::Order => "order.lapse.dev",
            Self::Enrol => "enrol.lapse.dev",
            Self::Validate => "validate.lapse.dev",
            Self::Confine => "confine.lapse.dev",
            Self::Session => "session.lapse.dev",
            Self::Started => "started.lapse.dev",
            Self::Copied => "copied.lapse.dev",
            Self::Entered => "entered.lapse.dev",
            Self::Elsewhere => "elsewhere.lapse.dev",
            Self::Ends => "ends.lapse.dev",
        }
    }

    /// The last part of its path, which is also its name in metrics.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Stamp => "mutate",
            Self::Order => "order",
            Self::Enrol => "enrol",
            Self::Validate => "validate",
            Self::Confine => "confine",
            Self::Session => "session",
            Self::Started => "started",
            Self::Copied => "copied",
            Self::Entered => "entered",
            Self::Elsewhere => "elsewhere",
            Self::Ends => "ends",
        }
    }

    /// The one at the end of a path.
    pub(crate) fn of_verb(verb: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|webhook| webhook.verb() == verb)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_a_path_and_an_entry_of_its_own() {
        let verbs: BTreeSet<_> = Webhook::ALL.map(Webhook::verb).into();
        let entries: BTreeSet<_> = Webhook::ALL.map(Webhook::entry).into();
        assert_eq!((verbs.len(), entries.len()), (Webhook::ALL.len(), Webhook::ALL.len()));
    }
}
