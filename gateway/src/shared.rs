//! What all connections share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Client;
use lapse_wire::ToAgent;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;

use crate::activity::Export;
use crate::attached::Attached;
use crate::beats::Beats;
use crate::book::{Book, Tell, Told};
use crate::lanes::Lanes;
use crate::limits::Limit;
use crate::metrics::Metrics;
use crate::pens::Pens;
use crate::requests::{Requests, Told as ToldOfRequest};
use crate::roll::Roll;

/// How many Endpoints are read at once for agents that connect: when ten thousand come back together, calls that wait at the API
/// server for longer than they may last would be made for nothing.
const READS: usize = 32;
/// How many are written on at once, and how many of them for what nobody waits for.
const WRITES: (usize, usize) = (16, 12);
/// How much of what people on all hosts request is carried at once.
const ASKS: usize = 16;

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
    /// Turns to carry what people on hosts request.
    pub(crate) asks: Semaphore,
    pub(crate) metrics: Metrics,
    /// What hosts are to trust, once it is known.
    pub(crate) trust: watch::Receiver<Option<String>>,
    /// The namespace to which that is carried, once it is known what was requested there.
    pub(crate) carries: watch::Receiver<Option<String>>,
    /// Where the record of what is done on hosts goes.
    pub(crate) export: Export,
    book: Mutex<Book>,
    requests: Mutex<Requests>,
    lanes: Mutex<Lanes>,
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
        (trust, carries): (watch::Receiver<Option<String>>, watch::Receiver<Option<String>>),
        (limit, beats): (Limit, Beats),
        export: Export,
    ) -> Self {
        let (book, attached, roll) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (reads, pens) = (Semaphore::new(READS), Pens::new(WRITES));
        let (asks, requests, lanes) = (Semaphore::new(ASKS), Mutex::default(), Mutex::default());
        let (limit, beats) = (Mutex::new(limit), Mutex::new(beats));
        Self {
            client,
            reads,
            pens,
            asks,
            metrics,
            trust,
            carries,
            export,
            book,
            requests,
            lanes,
            attached,
            limit,
            roll,
            beats,
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, Requests> {
        lock(&self.requests)
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        lock(&self.lanes)
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

    /// Changes what is known of what people on hosts have requested, and tells whom it concerns.
    pub(crate) fn change_requests<T: IntoIterator<Item = ToldOfRequest>>(
        &self,
        change: impl FnOnce(&mut Requests) -> T,
    ) {
        let mut requests = self.requests();
        let told = change(&mut requests);
        let mut attached = self.attached();
        for (uid, progress) in told {
            attached.tell(&uid, Tell::Progress(Box::new(progress)));
        }
    }
}
