//! Which batch of each Endpoint was taken last, and how much more may be taken. Pure: the time is passed in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Bucket, Rate};

/// How many batches are taken of a host: a day of work at once after it was cut off, then one every other second.
const EACH: Rate = Rate { burst: 64.0, each_second: 0.5 };
/// The same, of all hosts together.
const ALL: Rate = Rate { burst: 512.0, each_second: 32.0 };
/// How many Endpoints are remembered.
const MOST: usize = 16_384;

/// What was taken of one Endpoint.
#[derive(Clone, Debug)]
struct Taking {
    bucket: Bucket,
    /// The signature of the batch that was noted last: the same batch has the same one.
    noted: Option<Vec<u8>>,
    at: Instant,
}

/// What was taken.
#[derive(Debug)]
pub(crate) struct Takings {
    of_all: Bucket,
    endpoints: HashMap<String, Taking>,
}

impl Takings {
    /// Nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { of_all: Bucket::full(ALL, now), endpoints: HashMap::new() }
    }

    /// How long a batch of this Endpoint is to wait. One that need not counts.
    pub(crate) fn wait(&mut self, uid: &str, now: Instant) -> Duration {
        let taking = self.of(uid, now);
        let each = taking.bucket.wait(EACH, now);
        // Who says too much takes nothing of what is there for all.
        if each > Duration::ZERO {
            return each;
        }
        let all = self.of_all.wait(ALL, now);
        if all == Duration::ZERO {
            self.of_all.take(ALL, now);
            self.of(uid, now).bucket.take(EACH, now);
        }
        all
    }

    /// Whether a batch is the one that was noted last: its agent has not heard so.
    pub(crate) fn is_noted(&self, uid: &str, signature: &[u8]) -> bool {
        let known = self.endpoints.get(uid).and_then(|taking| taking.noted.as_deref());
        known == Some(signature)
    }

    /// A batch is noted.
    pub(crate) fn noted(&mut self, uid: &str, signature: Vec<u8>, now: Instant) {
        self.of(uid, now).noted = Some(signature);
    }

    fn of(&mut self, uid: &str, now: Instant) -> &mut Taking {
        if self.endpoints.len() >= MOST && !self.endpoints.contains_key(uid) {
            let oldest = self.endpoints.iter().min_by_key(|(_, taking)| taking.at);
            if let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) {
                self.endpoints.remove(&oldest);
            }
        }
        let bucket = Bucket::full(EACH, now);
        let taking = self.endpoints.entry(uid.to_owned());
        let taking = taking.or_insert_with(|| Taking { bucket, noted: None, at: now });
        taking.at = now;
        taking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_no_more_than_it_may_and_takes_nothing_of_others() {
        let start = Instant::now();
        let mut takings = Takings::new(start);
        let burst = (0..1000).take_while(|_| takings.wait("a", start) == Duration::ZERO).count();
        assert_eq!(burst, 64);
        assert_eq!(takings.wait("a", start), Duration::from_secs(2));
        assert_eq!(takings.wait("b", start), Duration::ZERO);
        let later = start + Duration::from_secs(2);
        assert_eq!(takings.wait("a", later), Duration::ZERO);
        assert_eq!(takings.wait("a", later), Duration::from_secs(2));
        // All of them together.
        let mut takings = Takings::new(start);
        let all =
            (0..600).take_while(|host| takings.wait(&host.to_string(), start) == Duration::ZERO);
        assert_eq!(all.count(), 512);
        assert!(takings.wait("x", start) > Duration::ZERO);
        assert_eq!(takings.wait("x", start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn the_batch_that_was_noted_last_is_known_again() {
        let start = Instant::now();
        let mut takings = Takings::new(start);
        takings.noted("a", vec![1], start);
        assert!(takings.is_noted("a", &[1]) && !takings.is_noted("b", &[1]));
        takings.noted("a", vec![2], start);
        assert!(takings.is_noted("a", &[2]) && !takings.is_noted("a", &[1]));
        for number in 0..MOST {
            takings.noted(&number.to_string(), vec![3], start + Duration::from_secs(1));
        }
        assert!(!takings.is_noted("a", &[2]), "the oldest is forgotten");
        assert_eq!(takings.endpoints.len(), MOST);
    }
}
