//! How many places there are at once: for all, and for each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapse_cluster::process::network;

/// So many places, of which no source has more than its part.
#[derive(Debug)]
pub(crate) struct Shares {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    source: IpAddr,
}

impl Shares {
    /// Nothing is taken.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one for this address.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let source = network(address);
        let mut taken = self.taken();
        let of_source = taken.by_source.get(&source).copied().unwrap_or_default();
        if taken.all >= self.all || of_source >= self.each {
            return None;
        }
        taken.all += 1;
        taken.by_source.insert(source, of_source + 1);
        Some(Share { of: self.clone(), source })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        if let Some(of_source) = taken.by_source.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_takes_the_places_of_others_and_what_is_given_back_is_there_again() {
        let shares = Shares::new(3, 2);
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().unwrap());
        let of_a: Vec<_> = (0..3).map(|_| shares.take(a)).collect();
        assert_eq!(of_a.iter().flatten().count(), 2);
        let of_b = shares.take(b).unwrap();
        assert!(shares.take(c).is_none(), "all are taken");
        drop(of_b);
        assert!(shares.take(a).is_none());
        let of_c = shares.take(c).unwrap();
        drop((of_a, of_c));
        let taken = shares.taken();
        assert!(taken.all == 0 && taken.by_source.is_empty());
    }
}
