//! A bound on how much of something is taken at once: by one person, and by all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of it each person has now. Nothing is kept of who has none.
#[derive(Clone, Debug, Default)]
pub struct Shares(Arc<Mutex<HashMap<u32, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    uid: u32,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They have theirs.
    ByThem,
    /// All together have what there is.
    ByAll,
}

impl Shares {
    /// Takes one for somebody, if they have fewer than `of_one`, and all together fewer than `most`.
    ///
    /// # Errors
    /// If there is none for them.
    pub fn take(&self, uid: u32, of_one: usize, most: usize) -> Result<Share, Taken> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&uid).copied().unwrap_or_default();
        if own >= of_one {
            return Err(Taken::ByThem);
        }
        if taken.values().sum::<usize>() >= most {
            return Err(Taken::ByAll);
        }
        taken.insert(uid, own + 1);
        Ok(Share { shares: self.clone(), uid })
    }

    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}
