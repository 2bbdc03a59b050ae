//! How often something may be asked for: buckets of tokens, one for each source and one for all. Pure: the time is passed
//! in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lapse_cluster::process::network;
use tokio::time::Instant;

/// How many sources are remembered. A source that is not remembered is let through by the limit of all alone.
const SOURCES: usize = 16_384;

/// How much may be asked for at once, and how soon there is more.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// In each second thereafter.
    pub each_second: f64,
}

/// What is left of how much may be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// One of which nothing was taken.
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// How long it takes until there is something in it.
    pub(crate) fn wait(self, rate: Rate, now: Instant) -> Duration {
        let missing = (1.0 - self.at(now, rate)).max(0.0);
        Duration::from_secs_f64(missing / rate.each_second)
    }

    /// Takes something out of it.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) {
        *self = Self { left: (self.at(now, rate) - 1.0).max(0.0), at: now };
    }

    /// Whether nothing is missing in it.
    pub(crate) fn is_full(self, rate: Rate, now: Instant) -> bool {
        self.at(now, rate) >= rate.burst
    }

    fn at(self, now: Instant, rate: Rate) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        rate.burst.min(self.left + passed * rate.each_second)
    }
}

/// A limit for each source, and one for all of them.
#[derive(Debug)]
pub struct Limit {
    each: Rate,
    all: Rate,
    of_all: Bucket,
    sources: HashMap<IpAddr, Bucket>,
    tidied: Instant,
}

impl Limit {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(each: Rate, all: Rate, now: Instant) -> Self {
        let of_all = Bucket::full(all, now);
        Self { each, all, of_all, sources: HashMap::new(), tidied: now }
    }

    /// Whether this source may ask now; if so, that counts.
    pub fn is_allowed(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = network(source);
        self.tidy(now);
        let each = match self.sources.get(&source) {
            Some(bucket) => bucket.at(now, self.each),
            None => self.each.burst,
        };
        // Who asks too often takes nothing of what is there for all.
        if each < 1.0 {
            return false;
        }
        let all = self.of_all.at(now, self.all);
        if all < 1.0 {
            return false;
        }
        self.of_all = Bucket { left: all - 1.0, at: now };
        if self.sources.len() < SOURCES || self.sources.contains_key(&source) {
            self.sources.insert(source, Bucket { left: each - 1.0, at: now });
        }
        true
    }

    /// Forgets whose bucket is full again.
    fn tidy(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tidied) < Duration::from_secs(10) {
            return;
        }
        self.tidied = now;
        let rate = self.each;
        self.sources.retain(|_, bucket| !bucket.is_full(rate, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Rate = Rate { burst: 2.0, each_second: 1.0 };
    const ALL: Rate = Rate { burst: 3.0, each_second: 1.0 };

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_limit_and_all_have_one() {
        let start = Instant::now();
        let mut limit = Limit::new(EACH, ALL, start);
        let mut is_allowed = |text: &str, seconds| {
            limit.is_allowed(source(text), start + Duration::from_secs(seconds))
        };
        assert!(is_allowed("10.0.0.1", 0) && is_allowed("10.0.0.1", 0));
        assert!(!is_allowed("10.0.0.1", 0), "more than its burst");
        assert!(is_allowed("10.0.0.2", 0), "it has taken nothing of the others'");
        assert!(!is_allowed("10.0.0.3", 0), "more than that of all");
        assert!(is_allowed("10.0.0.1", 1));
        assert!(!is_allowed("10.0.0.1", 1));
    }

    #[test]
    fn an_address_beside_is_the_same_source() {
        let start = Instant::now();
        let mut limit = Limit::new(EACH, ALL, start);
        assert!(limit.is_allowed(source("2001:db8::1"), start));
        assert!(limit.is_allowed(source("2001:db8::2"), start));
        assert!(!limit.is_allowed(source("2001:db8::3"), start));
        assert!(limit.is_allowed(source("::ffff:10.0.0.1"), start));
        assert_eq!(network(source("::ffff:10.0.0.1")), source("10.0.0.1"));
    }

    #[test]
    fn who_has_not_asked_for_a_while_is_forgotten() {
        let start = Instant::now();
        let mut limit = Limit::new(EACH, ALL, start);
        limit.is_allowed(source("10.0.0.1"), start);
        limit.is_allowed(source("10.0.0.2"), start + Duration::from_secs(20));
        assert_eq!(limit.sources.len(), 1);
    }
}
