//! The book on the disk, as it outlives the agent.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::book::Book;
use crate::journal::{read, write};
use crate::places::Places;

/// The book, for all who write in it.
#[derive(Clone)]
pub(super) struct Kept {
    places: Places,
    book: Arc<Mutex<Book>>,
}

impl Kept {
    /// The one of this host. What cannot be read is worth nothing: people ask anew.
    pub(super) fn read(places: &Places) -> Self {
        let book = read(places.requests()).unwrap_or_else(|error| {
            warn!(%error, "what people have requested on this host is forgotten");
            None
        });
        let book = Arc::new(Mutex::new(book.unwrap_or_default()));
        Self { places: places.clone(), book }
    }

    /// Looks something up.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes in it. A full disk keeps nobody from asking for what empties it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut book);
        if let Err(error) = write(self.places.requests(), &*book) {
            warn!(%error, "what people request on this host is not written down");
        }
        changed
    }
}

/// Whether who asked for this on this host has given it up: then nothing of it begins here, whoever keeps the cluster from
/// hearing of that. It is named by its namespace and its name.
#[must_use]
pub fn was_given_up(places: &Places, request: &str) -> bool {
    let book: Option<Book> = read(places.requests()).unwrap_or_default();
    book.is_some_and(|book| book.was_given_up(request))
}
