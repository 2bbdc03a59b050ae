//! Numbers that are the same for the same seed.

/// The generator `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>, in the public domain.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from the first on, and below the second.
    pub(super) fn between(&mut self, from: u64, below: u64) -> u64 {
        from + self.next() % below.saturating_sub(from).max(1)
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(super) fn is(&mut self, percent: u64) -> bool {
        self.between(0, 100) < percent
    }

    /// One of these, each as often as its weight says. There must be a weight.
    pub(super) fn weighted<T: Copy>(&mut self, all: &[(u64, T)]) -> Option<T> {
        let mut at = self.between(0, all.iter().map(|(weight, _)| weight).sum());
        all.iter().find_map(|(weight, what)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it.then_some(*what)
        })
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.between(0, count)).unwrap_or_default();
        all.get(index).copied()
    }
}
