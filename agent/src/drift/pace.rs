//! How soon what was undone and comes back is undone again. What comes back for ever must not take all of the agent's time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::entry::MOST;

/// A change, by where it is and what it is.
pub(super) type Key = (String, String);

/// How long what was undone is left alone that comes back: at first, and at the most.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How often something was undone, and when it may be again.
struct Pace {
    times: u32,
    next: Instant,
}

/// How often each change was undone.
#[derive(Default)]
pub(super) struct Paces(HashMap<Key, Pace>);

impl Paces {
    /// Whether something may be undone now; if so, it is taken for done.
    pub(super) fn may(&mut self, key: &Key, now: Instant) -> bool {
        // Whoever makes files of ever new names must not take the memory of the agent.
        if self.0.len() > 2 * MOST {
            self.0.clear();
        }
        let pace = self.0.entry(key.clone()).or_insert(Pace { times: 0, next: now });
        if now < pace.next {
            return false;
        }
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(pace.times)).min(PAUSES.1);
        pace.times = pace.times.saturating_add(1).min(16);
        pace.next = now + pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_undone_at_once_and_then_each_second() {
        let mut paces = Paces::default();
        let (key, began) = (("/x".to_owned(), "was added".to_owned()), Instant::now());
        let mut undone = Vec::new();
        for ms in (0..10_000).step_by(10) {
            if paces.may(&key, began + Duration::from_millis(ms)) {
                undone.push(ms);
            }
        }
        assert_eq!(undone[..6], [0, 20, 60, 140, 300, 620]);
        assert!(undone.windows(2).all(|pair| pair[1] - pair[0] <= 1000), "{undone:?}");
        assert!(undone.len() < 20, "{undone:?}");
        let other = ("/y".to_owned(), "was added".to_owned());
        assert!(paces.may(&other, began), "another is another one");
    }
}
