//! Which processes of the gateway live. Each writes something else into one config map every few seconds, and counts time by
//! what it sees of its own: while the API server answers nobody, nobody is taken for dead. Pure.

use std::collections::{BTreeMap, HashMap};

/// For how many of its own beats nothing may be seen of another until that is taken for dead: 50 s.
pub const SILENT: u64 = 5;
/// And until what it left is cleared away.
const FORGOTTEN: u64 = 60;

/// What was seen last of another, and at which of the own beats.
#[derive(Debug)]
struct Seen {
    beat: String,
    at: u64,
}

/// What is seen of all processes.
#[derive(Debug)]
pub struct Beats {
    own: String,
    last: Option<String>,
    count: u64,
    others: HashMap<String, Seen>,
}

impl Beats {
    /// Nothing was seen yet by the one of this name.
    #[must_use]
    pub fn new(own: String) -> Self {
        Self { own, last: None, count: 0, others: HashMap::new() }
    }

    /// The name of this one.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The config map was seen; whether it shows a new beat of this one.
    pub fn see(&mut self, all: &BTreeMap<String, String>) -> bool {
        let own = all.get(&self.own);
        let is_new = own.is_some() && own != self.last.as_ref();
        if is_new {
            self.last = own.cloned();
            self.count += 1;
        }
        for (name, beat) in all.iter().filter(|(name, _)| **name != self.own) {
            if self.others.get(name).is_none_or(|seen| seen.beat != *beat) {
                self.others.insert(name.clone(), Seen { beat: beat.clone(), at: self.count });
            }
        }
        is_new
    }

    /// Whether this one is dead. One of which nothing was ever seen has as long as others to show itself.
    pub fn is_dead(&mut self, name: &str) -> bool {
        if name == self.own {
            return false;
        }
        let unseen = || Seen { beat: String::new(), at: self.count };
        let seen = self.others.entry(name.to_owned()).or_insert_with(unseen);
        self.count - seen.at >= SILENT
    }

    /// Those that left something behind, long ago. They are forgotten.
    pub fn left(&mut self, all: &BTreeMap<String, String>) -> Vec<String> {
        let count = self.count;
        let is_old = |seen: &Seen| count - seen.at >= FORGOTTEN;
        let old = self.others.iter().filter(|(_, seen)| is_old(seen));
        let left = old.filter(|(name, _)| all.contains_key(*name));
        let left = left.map(|(name, _)| name.clone()).collect();
        self.others.retain(|name, seen| !is_old(seen) || all.contains_key(name));
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(beats: &[(&str, u64)]) -> BTreeMap<String, String> {
        beats.iter().map(|(name, beat)| ((*name).to_owned(), beat.to_string())).collect()
    }

    #[test]
    fn who_shows_nothing_new_for_five_beats_is_dead() {
        let mut beats = Beats::new("a".into());
        for beat in 1..=5 {
            assert!(beats.see(&map(&[("a", beat), ("b", 7), ("c", beat)])));
            assert!(!beats.is_dead("b") && !beats.is_dead("c") && !beats.is_dead("gone"), "{beat}");
        }
        beats.see(&map(&[("a", 6), ("b", 7), ("c", 6)]));
        assert!(beats.is_dead("b") && !beats.is_dead("c"));
        assert!(beats.is_dead("gone"), "nothing was ever seen of it");
        assert!(!beats.is_dead("a"));
    }

    #[test]
    fn while_the_api_server_answers_nobody_nobody_dies() {
        let mut beats = Beats::new("a".into());
        let all = map(&[("a", 1), ("b", 1)]);
        assert!(beats.see(&all));
        assert!((0..100).all(|_| !beats.see(&all)));
        assert!(!beats.is_dead("b"));
    }

    #[test]
    fn what_the_dead_left_is_cleared_away_once() {
        let mut beats = Beats::new("a".into());
        for beat in 1..=61 {
            beats.see(&map(&[("a", beat), ("b", 7)]));
        }
        let all = map(&[("a", 61), ("b", 7)]);
        assert_eq!(beats.left(&all), ["b"]);
        assert_eq!(beats.left(&map(&[("a", 61)])), [""; 0]);
        assert!(beats.others.is_empty());
    }
}
