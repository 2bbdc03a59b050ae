//! Where the record goes: standard output, a line for each entry.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::takings::Takings;

/// How many batches may wait to be written.
const WAITING: usize = 32;

/// A batch that is to be written.
struct Page {
    uid: String,
    signature: Vec<u8>,
    lines: String,
    /// Whether it was, this time or before.
    written: oneshot::Sender<bool>,
}

/// Where the record goes.
#[derive(Clone)]
pub(crate) struct Export {
    pages: mpsc::Sender<Page>,
    takings: Arc<Mutex<Takings>>,
}

fn lock(takings: &Mutex<Takings>) -> MutexGuard<'_, Takings> {
    // Each change leaves it whole.
    takings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Export {
    /// Starts the thread that writes. Only it waits for whoever reads.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (pages, waiting) = mpsc::channel(WAITING);
        let takings = Arc::new(Mutex::new(Takings::new(Instant::now())));
        let export = Self { pages, takings: takings.clone() };
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || write_all(to, waiting, &takings))?;
        Ok(export)
    }

    /// What was taken.
    pub(crate) fn takings(&self) -> MutexGuard<'_, Takings> {
        lock(&self.takings)
    }

    /// Writes the lines of a batch, unless they were written before; whether they are.
    pub(crate) async fn write(&self, uid: &str, signature: Vec<u8>, lines: String) -> bool {
        let (written, is_written) = oneshot::channel();
        let page = Page { uid: uid.to_owned(), signature, lines, written };
        self.pages.send(page).await.is_ok() && is_written.await.unwrap_or_default()
    }
}

fn write_all(mut to: impl Write, mut waiting: mpsc::Receiver<Page>, takings: &Mutex<Takings>) {
    while let Some(page) = waiting.blocking_recv() {
        let Page { uid, signature, lines, written } = page;
        let is_known = lock(takings).is_noted(&uid, &signature);
        let done = if is_known {
            Ok(())
        } else {
            to.write_all(lines.as_bytes()).and_then(|()| to.flush())
        };
        if let Err(error) = &done {
            warn!(%error, "the record of what is done on hosts cannot be written to standard output");
        } else {
            lock(takings).noted(&uid, signature, Instant::now());
        }
        // Whoever is gone asks again.
        let _ = written.send(done.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, as long as anything can be.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut paper = self.0.lock().unwrap();
            if paper.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            paper.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_batch_is_written_once_and_noted_only_then() {
        let paper = Paper::default();
        let export = Export::start(paper.clone()).unwrap();
        let write = async |signature: u8, lines: &str| {
            export.write("u", vec![signature], lines.to_owned()).await
        };
        assert!(write(1, "a\n").await && write(1, "a\n").await);
        paper.0.lock().unwrap().1 = true;
        assert!(!write(2, "b\n").await && !export.takings().is_noted("u", &[2]));
        paper.0.lock().unwrap().1 = false;
        assert!(write(2, "b\n").await && export.takings().is_noted("u", &[2]));
        assert_eq!(paper.0.lock().unwrap().0, b"a\nb\n");
    }
}
