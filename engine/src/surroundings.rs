//! What is known of where a target holds: its namespaces, or its endpoint.

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::target::Namespaces;

/// What is known of where a target holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its endpoint, if it is on one.
    pub endpoint: Option<Read<EndpointFacts>>,
}

impl Surroundings {
    /// What could not be looked up, in words, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Self { namespaces, endpoint } = self;
        let unread = endpoint.as_ref().and_then(Read::failure);
        namespaces.values().find_map(Read::failure).or(unread)
    }
}
