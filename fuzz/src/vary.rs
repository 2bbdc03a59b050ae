//! Variations of inputs: small changes that keep most of the form, so that they get past the first check.

/// What parsers stumble over.
const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"\\",
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e309",
    b"18446744073709551616",
    b"9223372036854775807",
    b"0.1",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    "\u{202e}".as_bytes(),
    "\u{1f600}".as_bytes(),
    b"\\u0000",
    b"\\ud800",
    b"*",
    b"(",
    b")",
    b"((((((((",
    b"[",
    b"{1000}",
    b"+",
    b"|",
    b".*",
    b"::",
    b"/",
    b"24:00",
    b"Z",
    b"+23:59",
    b"9999-12-31T23:59:60Z",
    b"-0001",
    b"8760h",
    b"0s",
    b"__proto__",
    b".",
    b"",
];

/// An endless row of inputs, the same for the same seed.
pub(crate) struct Vary<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Vary<'a> {
    pub(crate) fn new(seeds: &'a [Vec<u8>], seed: u64) -> Self {
        Self { seeds, state: seed }
    }

    /// The next one: one of the seeds, changed in a few places.
    pub(crate) fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any_seed().to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input
    }

    fn any_seed(&mut self) -> &'a [u8] {
        let index = self.below(self.seeds.len());
        &self.seeds[index]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (at, end) = self.range(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let again = input[at..end].to_vec();
                input.splice(end..end, again);
            }
            3 if at < input.len() => input[at] ^= 1 << self.below(8),
            4 if at < input.len() => input[at] = self.byte(),
            5 => {
                let other = self.any_seed();
                let (from, to) = self.range(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            6 => drop(input.splice(at..end, TOKENS[self.below(TOKENS.len())].iter().copied())),
            _ => drop(input.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
        }
    }

    /// Part of so many bytes, mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let at = self.below(length + 1);
        let longest = if self.below(4) == 0 { length - at } else { (length - at).min(8) };
        (at, at + self.below(longest + 1))
    }

    fn byte(&mut self) -> u8 {
        self.next_number().to_le_bytes()[0]
    }

    /// A number below another, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let number = self.next_number() % u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(number).unwrap_or(0)
    }

    /// The generator `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>, in the public domain.
    fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn variations_differ_and_are_the_same_for_the_same_seed() {
        let seeds = [b"{\"a\": 1}".to_vec(), Vec::new()];
        let some = |seed| {
            let mut vary = Vary::new(&seeds, seed);
            (0..200).map(|_| vary.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
        let different: BTreeSet<_> = some(1).into_iter().collect();
        assert!(different.len() > 100, "{}", different.len());
    }
}
