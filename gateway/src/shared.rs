//! What all connections share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Client;
use lapse_wire::ToAgent;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;

use crate::activity::Export;
use crate::attached::Attached;
use crate::beats::Beats;
use crate::book::{Book, Told};
use crate::limits::Limit;
use crate::metrics::Metrics;
use crate::pens::Pens;
use crate::roll::Roll;

/// How many Endpoints are read at once for agents that connect: when ten thousand come back together, calls that wait at the API
/// server for longer than they may last would be made for nothing.
const READS: usize = 32;
/// How many are written on at once, and how many of them for what nobody waits for.
const WRITES: (usize, usize) = (16, 12);

/// What an agent is told. Boxed, as a channel keeps room for thirty-two.
pub(crate) type Answer = Box<Result<ToAgent, Status>>;

/// Where it is told that.
pub(crate) type Answers = mpsc::Sender<Answer>;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    /// Turns to read for an agent that connects.
    pub(crate) reads: Semaphore,
    /// Turns to write on Endpoints.
    pub(crate) pens: Pens,
    pub(crate) metrics: Metrics,
    /// What hosts are to trust, once it is known.
    pub(crate) trust: watch::Receiver<Option<String>>,
    /// Where the record of what is done on hosts goes.
    pub(crate) export: Export,
    book: Mutex<Book>,
    attached: Mutex<Attached>,
    limit: Mutex<Limit>,
    roll: Mutex<Roll>,
    beats: Mutex<Beats>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change leaves it whole, so what panicked elsewhere is no reason to stop.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        client: Client,
        metrics: Metrics,
        trust: watch::Receiver<Option<String>>,
        (limit, beats): (Limit, Beats),
        export: Export,
    ) -> Self {
        let (book, attached, roll) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (reads, pens) = (Semaphore::new(READS), Pens::new(WRITES));
        let (limit, beats) = (Mutex::new(limit), Mutex::new(beats));
        Self { client, reads, pens, metrics, trust, export, book, attached, limit, roll, beats }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(crate) fn attached(&self) -> MutexGuard<'_, Attached> {
        lock(&self.attached)
    }

    pub(crate) fn limit(&self) -> MutexGuard<'_, Limit> {
        lock(&self.limit)
    }

    pub(crate) fn roll(&self) -> MutexGuard<'_, Roll> {
        lock(&self.roll)
    }

    pub(crate) fn beats(&self) -> MutexGuard<'_, Beats> {
        lock(&self.beats)
    }

    /// Changes the book, and tells whom it concerns. Under one lock: who connects meanwhile is told by what the book said
    /// before, and of the change, or by what it says after.
    pub(crate) fn change<T: IntoIterator<Item = Told>>(&self, change: impl FnOnce(&mut Book) -> T) {
        let mut book = self.book();
        let told = change(&mut book);
        let mut attached = self.attached();
        for (uid, tell) in told {
            attached.tell(&uid, tell);
        }
    }
}
