//! How many are served at once: so many in all, few of them for one person, and some that only root gets.

use crate::shares::{Share, Shares, Taken};

/// How many are served at once.
const MOST: usize = 64;
/// How many of them for one person.
const OF_ONE: usize = 4;
/// How many are kept for root, who must get in whoever else is there.
const FOR_ROOT: usize = 4;
const ROOT: u32 = 0;

/// The places that there are.
#[derive(Clone, Debug, Default)]
pub struct Slots(Shares);

/// One of them, until it is dropped.
pub type Slot = Share;

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// They have theirs.
    #[error(
        "you have {OF_ONE} connections to the agent already: try again when one of them has ended"
    )]
    Yours,
    /// Others have them.
    #[error("the agent is busy with other people: try again")]
    All,
}

impl Slots {
    /// Takes one for somebody.
    ///
    /// # Errors
    /// If there is none for them.
    pub fn take(&self, uid: u32) -> Result<Slot, Full> {
        let most = if uid == ROOT { MOST } else { MOST - FOR_ROOT };
        self.0.take(uid, OF_ONE, most).map_err(|taken| match taken {
            Taken::ByThem => Full::Yours,
            Taken::ByAll => Full::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_takes_few() {
        let slots = Slots::default();
        let mut own: Vec<Slot> = (0..OF_ONE).map(|_| slots.take(1000).unwrap()).collect();
        let full = slots.take(1000).unwrap_err();
        assert_eq!(
            full.to_string(),
            "you have 4 connections to the agent already: try again when one of them has ended"
        );
        assert!(slots.take(1001).is_ok());
        own.pop();
        assert!(slots.take(1000).is_ok());
    }

    #[test]
    fn all_together_leave_some_to_root() {
        let slots = Slots::default();
        let people = (1000..).flat_map(|uid| [uid; OF_ONE]);
        let taken: Vec<Slot> =
            people.take(MOST - FOR_ROOT).map(|uid| slots.take(uid).unwrap()).collect();
        let full = slots.take(2000).unwrap_err();
        assert_eq!(full.to_string(), "the agent is busy with other people: try again");
        let roots: Vec<Slot> = (0..FOR_ROOT).map(|_| slots.take(ROOT).unwrap()).collect();
        assert_eq!(slots.take(ROOT).unwrap_err(), Full::Yours);
        drop(roots);
        drop(taken);
        assert!(slots.0.is_empty(), "nothing is kept of who is gone");
    }
}
