//! What the worker does for people on the host, and shows them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::watch;

use super::Worker;
use crate::hands::HandsError;
use crate::journal::Records;
use crate::places::Id;
use crate::record::Record;

/// The number of who may end what others hold.
const ROOT: u32 = 0;

/// An end that somebody on the host asks for.
#[derive(Debug)]
pub struct EndHere {
    /// Of what.
    pub id: Id,
    /// Who asks: the holder, by their number, or root.
    pub uid: u32,
    /// Who is told whether nothing of it is left, once everybody may know it; or why it cannot be ended.
    pub done: SyncSender<Result<bool, String>>,
}

/// All that is known, for whoever shows it.
pub type Known = Arc<Vec<Record>>;

/// What came of an end, and who is told.
pub(super) type Reply = (SyncSender<Result<bool, String>>, Result<bool, String>);

impl Worker {
    /// All that is known, as it is after each look.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    pub(super) fn publish(&self, records: &Vec<Record>) {
        self.known.send_if_modified(|known| {
            let is_other = **known != *records;
            if is_other {
                *known = Arc::new(records.clone());
            }
            is_other
        });
    }

    pub(super) fn end_here(&mut self, EndHere { id, uid, done }: EndHere) {
        let ended = match uid {
            ROOT => self.hands.end_now(&id, Some("ended on the host by root")),
            holder => self.hands.end_by_holder(&id, holder),
        };
        self.replies.push((done, ended.map_err(|error| error.to_string())));
    }

    /// Ends what has begun of a request that its author gave up. What comes of it from now on begins no more.
    pub(super) fn given_up(&self, request: &str, uid: u32) -> Result<(), HandsError> {
        let Records { read, broken: _ } = self.hands.journal().all()?;
        for (id, _) in read.iter().filter(|(_, record)| has_begun(record, request)) {
            self.hands.end_by_holder(id, uid)?;
        }
        Ok(())
    }

    pub(super) fn reply(&mut self) {
        for (done, ended) in self.replies.drain(..) {
            // Who does not wait any more sees it in the status.
            let _ = done.try_send(ended);
        }
    }
}

/// Whether something of a request may be there.
fn has_begun(record: &Record, request: &str) -> bool {
    record.is_open() && record.asked.as_ref().is_some_and(|asked| asked.request == request)
}
