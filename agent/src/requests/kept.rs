//! The book on the disk, as it outlives the agent.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use super::book::Book;
use crate::durable;
use crate::journal::read;
use crate::places::Places;

/// Why what was given up gives nothing.
const GIVEN_UP: &str = "who requested it on this host gave it up before it began there (lapse end)";
/// Why what another has asked for gives nothing.
const ANOTHERS: &str = "the local user of this name had another user ID when they requested it on this host: it was somebody \
                        else, so request it again";

/// The book, and what of it is on the disk.
struct Paper {
    book: Book,
    /// What was written last, if that is there.
    written: Option<Vec<u8>>,
}

impl Paper {
    /// Writes down what is not; whether it is there. Who asks for what is refused, again and again, has nothing written by that:
    /// others wait for the disk meanwhile.
    fn write(&mut self, places: &Places) -> bool {
        let Ok(bytes) = serde_json::to_vec(&self.book) else { return false };
        if self.written.as_ref() == Some(&bytes) {
            return true;
        }
        let done = durable::replace(&places.requests(), &bytes, 0o600);
        self.written = done.is_ok().then_some(bytes);
        if let Err(error) = &done {
            warn!(%error, "what people request on this host is not written down");
        }
        done.is_ok()
    }
}

/// The book, for all who write in it.
#[derive(Clone)]
pub(super) struct Kept {
    places: Places,
    paper: Arc<Mutex<Paper>>,
}

impl Kept {
    /// The one of this host. What cannot be read is worth nothing: people ask anew.
    pub(super) fn read(places: &Places) -> Self {
        let book = read(places.requests()).unwrap_or_else(|error| {
            warn!(%error, "what people have requested on this host is forgotten");
            None
        });
        let paper = Paper { book: book.unwrap_or_default(), written: None };
        Self { places: places.clone(), paper: Arc::new(Mutex::new(paper)) }
    }

    /// Looks something up.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.paper.lock().unwrap_or_else(PoisonError::into_inner).book)
    }

    /// Writes in it. A full disk keeps nobody from asking for what empties it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        self.write_down(change).0
    }

    /// Writes in it, and says whether that is on the disk, where it is looked for when an order comes.
    pub(super) fn write_down<T>(&self, change: impl FnOnce(&mut Book) -> T) -> (T, bool) {
        let mut paper = self.paper.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut paper.book);
        let is_written = paper.write(&self.places);
        (changed, is_written)
    }
}

/// Why nothing is given to the local user of this number for a request, by its namespace and its name, if what is known of it on
/// this host speaks against it: they have given it up, whoever keeps the cluster from hearing of that; or they have got the
/// name of who asked for it since.
#[must_use]
pub fn refusal(places: &Places, request: &str, uid: u32) -> Option<&'static str> {
    let book: Option<Book> = read(places.requests()).unwrap_or_default();
    let book = book?;
    if book.was_given_up(request) {
        return Some(GIVEN_UP);
    }
    book.asked_by(request).filter(|asked_by| *asked_by != uid).map(|_| ANOTHERS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_not_other_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::under(folder.path());
        let kept = Kept::read(&places);
        assert!(!kept.write_down(|book| book.give_up("ops/a".into())).1, "there is no folder yet");
        std::fs::create_dir_all(places.state()).unwrap();
        assert!(kept.write_down(|_| ()).1, "what could not be written is");
        let file = || std::fs::metadata(places.requests()).unwrap().ino();
        let before = file();
        assert!(kept.write_down(|book| book.give_up("ops/a".into())).1);
        assert_eq!(file(), before);
        assert!(kept.write_down(|book| book.give_up("ops/b".into())).1);
        assert_ne!(file(), before);
        assert_eq!(refusal(&places, "ops/b", 1000), Some(GIVEN_UP));
        assert_eq!(refusal(&places, "ops/c", 1000), None);
    }
}
