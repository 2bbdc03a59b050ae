//! What is known of where a target holds, its namespaces or its endpoint, and of where it was asked for.

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::target::Namespaces;

/// What is known of where a target holds, and of where it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its endpoint, if it is on one.
    pub endpoint: Option<Read<EndpointFacts>>,
    /// The endpoint on which it was asked for, if the request names one and it bears on anything.
    pub origin: Option<Read<EndpointFacts>>,
}

impl Surroundings {
    /// What could not be looked up, in words, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let Self { namespaces, endpoint, origin } = self;
        let endpoints = [endpoint, origin].into_iter().flatten();
        let mut unread = endpoints.filter_map(Read::failure);
        namespaces.values().find_map(Read::failure).or_else(|| unread.next())
    }
}
