//! What there is to send of the record, one part after the other.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use lapse_engine::activity::Batch;
use lapse_wire::{Activity, from_agent};
use tokio::sync::watch;

use crate::identity::HostKey;

/// That the gateway has noted a part of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its series.
    pub series: String,
    /// The number of its last entry.
    pub last: u64,
}

/// What there is to send of the record.
pub struct Outbox {
    offered: watch::Receiver<Option<Arc<Batch>>>,
    noted: SyncSender<Noted>,
    /// Whether the gateway has said that it takes the record.
    is_wanted: bool,
    /// The part that was sent last on this connection, and whether it is noted.
    sent: Option<(Noted, bool)>,
}

impl Outbox {
    /// With the next part, and where it is said that it is noted.
    #[must_use]
    pub fn new(offered: watch::Receiver<Option<Arc<Batch>>>, noted: SyncSender<Noted>) -> Self {
        Self { offered, noted, is_wanted: false, sent: None }
    }

    /// A connection begins: what was sent on the one before may have been lost.
    pub fn begin(&mut self) {
        (self.is_wanted, self.sent) = (false, None);
    }

    /// The gateway says whether it takes the record.
    pub fn wanted(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
    }

    /// What is to be sent now, if the gateway takes it and has noted the part before.
    pub fn next(&mut self, endpoint_uid: &str, key: &HostKey) -> Option<from_agent::Message> {
        let is_waiting = self.sent.as_ref().is_some_and(|(_, is_noted)| !is_noted);
        if !self.is_wanted || is_waiting {
            return None;
        }
        let batch = self.offered.borrow_and_update().clone()?;
        let sent = Noted { series: batch.series.clone(), last: batch.last };
        // It is noted, and whoever keeps the record has not heard of it yet.
        if self.sent.as_ref().is_some_and(|(known, _)| *known == sent) {
            return None;
        }
        let message = signed(&batch, endpoint_uid, key)?;
        self.sent = Some((sent, false));
        Some(message)
    }

    /// A part is noted. What was not sent cannot be.
    pub fn note(&mut self, noted: lapse_wire::Noted) {
        let lapse_wire::Noted { series, last } = noted;
        let noted = Noted { series, last };
        if self.sent == Some((noted.clone(), false)) {
            self.sent = Some((noted.clone(), true));
            // Whoever keeps the record takes one before it offers the next.
            let _ = self.noted.try_send(noted);
        }
    }

    /// Waits until there is something else to send.
    pub async fn changed(&mut self) {
        if !self.is_wanted || self.offered.changed().await.is_err() {
            // Nobody wants it, or nobody keeps it any more.
            std::future::pending::<()>().await;
        }
    }
}

/// A part of the record, as it is sent.
#[must_use]
pub fn signed(batch: &Batch, endpoint_uid: &str, key: &HostKey) -> Option<from_agent::Message> {
    let signature = batch.sign(endpoint_uid, key.signing()).ok()?.to_vec();
    let Batch { series, first, last, lines } = batch.clone();
    Some(from_agent::Message::Activity(Activity { series, first, last, lines, signature }))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "there may be none to send")]
    fn batch(last: u64) -> Option<Arc<Batch>> {
        let (series, lines) = ("s".to_owned(), "{}\n".to_owned());
        Some(Arc::new(Batch { series, first: last, last, lines }))
    }

    fn of_wire(last: u64) -> lapse_wire::Noted {
        lapse_wire::Noted { series: "s".into(), last }
    }

    #[test]
    fn each_part_is_sent_when_the_one_before_is_noted() {
        let (offer, offered) = watch::channel(batch(1));
        let (sender, noted) = sync_channel(1);
        let mut outbox = Outbox::new(offered, sender);
        let key = HostKey::from_seed(&[1; 32]);
        let sent = |outbox: &mut Outbox| match outbox.next("u", &key) {
            Some(from_agent::Message::Activity(activity)) => Some(activity.last),
            Some(other) => panic!("{other:?}"),
            None => None,
        };
        assert_eq!(sent(&mut outbox), None, "an earlier gateway would hang up");
        outbox.wanted(true);
        assert_eq!(sent(&mut outbox), Some(1));
        offer.send_replace(batch(2));
        assert_eq!(sent(&mut outbox), None, "one at a time");
        outbox.note(of_wire(2));
        assert!(noted.try_recv().is_err(), "it was not sent");
        // A new connection: nobody knows what became of it.
        offer.send_replace(batch(1));
        outbox.begin();
        assert_eq!(sent(&mut outbox), None);
        outbox.wanted(true);
        assert_eq!(sent(&mut outbox), Some(1));
        outbox.note(of_wire(1));
        outbox.note(of_wire(1));
        assert_eq!(noted.try_recv().unwrap(), Noted { series: "s".into(), last: 1 });
        assert!(noted.try_recv().is_err(), "said twice, it is passed on once");
        assert_eq!(sent(&mut outbox), None, "the next one is not there yet");
        offer.send_replace(batch(2));
        assert_eq!(sent(&mut outbox), Some(2));
    }
}
