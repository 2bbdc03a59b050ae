//! How many applications run at once: for one person, and in all. Each costs the agent a process that waits for its end.

use crate::shares::{Share, Shares, Taken};

/// How many run at once.
const MOST: usize = 32;
/// How many of them for one person.
const OF_ONE: usize = 8;

/// The places that there are.
#[derive(Clone, Debug, Default)]
pub struct Room(Shares);

/// One of them, until it is dropped.
pub type Place = Share;

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// They have theirs.
    #[error("{OF_ONE} applications of yours run already: try again when one of them has ended")]
    Yours,
    /// Others have them.
    #[error("{MOST} applications run on this host already: try again when one of them has ended")]
    All,
}

impl Room {
    /// Takes one for somebody.
    ///
    /// # Errors
    /// If there is none for them.
    pub fn take(&self, uid: u32) -> Result<Place, Full> {
        self.0.take(uid, OF_ONE, MOST).map_err(|taken| match taken {
            Taken::ByThem => Full::Yours,
            Taken::ByAll => Full::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_has_few_and_all_together_have_a_bound() {
        let room = Room::default();
        let mut taken: Vec<Place> = (0..OF_ONE).map(|_| room.take(1000).unwrap()).collect();
        let full = room.take(1000).unwrap_err().to_string();
        assert_eq!(
            full,
            "8 applications of yours run already: try again when one of them has ended"
        );
        taken.extend((OF_ONE..MOST).map(|number| {
            let uid = 2000 + u32::try_from(number).unwrap();
            room.take(uid).unwrap()
        }));
        let full = room.take(3000).unwrap_err().to_string();
        assert_eq!(
            full,
            "32 applications run on this host already: try again when one of them has ended"
        );
        taken.pop();
        assert!(room.take(3000).is_ok());
        drop(taken);
        assert!(room.0.is_empty(), "nothing is kept of who is gone");
    }
}
