//! Copies of a stored object under other names, byte by byte.
//!
//! What stands in its place is as long as what stood there before, so that it works on what is stored as
//! JSON and on what is stored as Protocol Buffers alike.

use anyhow::{Result, ensure};

/// An object with the places at which its copies differ.
#[derive(Debug)]
pub(super) struct Stencil {
    bytes: Vec<u8>,
    /// Where a word begins, and which.
    places: Vec<(usize, usize)>,
}

impl Stencil {
    /// Finds the words in an object. Where several begin or overlap, the one that comes first counts.
    pub(super) fn cut(bytes: Vec<u8>, words: &[String]) -> Self {
        let mut taken = vec![false; bytes.len()];
        let mut places = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let word = word.as_bytes();
            for start in 0..bytes.len().saturating_sub(word.len().saturating_sub(1)) {
                let range = start..start + word.len();
                let is_free = !taken[range.clone()].contains(&true);
                if is_free && !word.is_empty() && bytes[range.clone()] == *word {
                    taken[range].fill(true);
                    places.push((start, index));
                }
            }
        }
        Self { bytes, places }
    }

    /// A copy with other words in the places of these.
    pub(super) fn copy(&self, words: &[String], others: &[String]) -> Result<Vec<u8>> {
        let mut copy = self.bytes.clone();
        for (word, other) in words.iter().zip(others) {
            ensure!(word.len() == other.len(), "`{other}` is not as long as `{word}`");
        }
        for (start, index) in &self.places {
            let other = others[*index].as_bytes();
            copy[*start..start + other.len()].copy_from_slice(other);
        }
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn longer_words_that_come_first_hide_what_they_contain() {
        let known = words(&["shop-ask-1", "ask-1", "uid-a"]);
        let stencil = Stencil::cut(b"\0shop-ask-1 ask-1 uid-a ask-2".to_vec(), &known);
        let copy = stencil.copy(&known, &words(&["shop-ask-7", "ask-8", "uid-b"])).unwrap();
        assert_eq!(copy, b"\0shop-ask-7 ask-8 uid-b ask-2");
    }

    #[test]
    fn a_word_of_another_length_is_refused() {
        let known = words(&["ask-1"]);
        assert!(Stencil::cut(b"ask-1".to_vec(), &known).copy(&known, &words(&["ask-10"])).is_err());
    }
}
