//! One watch: calls back for each event, and starts again when it must.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, pin_mut};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Restarts;

/// How many first lists are still awaited.
///
/// `Store::wait_until_ready` would not do: it wakes only the last of the tasks that wait for one store,
/// and kube's own queue waits for each.
#[derive(Clone)]
pub struct FirstLists(Arc<watch::Sender<usize>>);

impl FirstLists {
    /// Awaits the lists of so many watches.
    #[must_use]
    pub fn new(watches: usize) -> Self {
        Self(Arc::new(watch::Sender::new(watches)))
    }

    fn done(&self) {
        self.0.send_modify(|awaited| *awaited = awaited.saturating_sub(1));
    }

    /// Waits until every watch has listed what there is.
    pub async fn all(&self) {
        // Its sender is in `self`, so the channel cannot close meanwhile.
        let _ = self.0.subscribe().wait_for(|awaited| *awaited == 0).await;
    }
}

/// How long a first list may show nothing new: kube gives it no limit, and one that hangs (on an API
/// server that still starts, say) would keep the controller blind.
pub const FIRST_LIST: Duration = Duration::from_secs(40);

/// How long a watch may fail before it is lost.
const LOST: Duration = Duration::from_secs(20);

/// A watch of one kind.
pub struct Follow<S> {
    /// Of what.
    pub what: &'static str,
    /// Makes the stream of events, from the beginning.
    pub events: S,
    /// When to start anew.
    pub restarts: Restarts,
    /// How long it may take until a list shows anything more.
    pub patience: Duration,
    /// Who waits for the first list.
    pub first_lists: FirstLists,
}

impl<S> Follow<S> {
    /// Calls `on_event` for each event. A watch that fails is logged and starts again by itself; all
    /// start from the beginning when the API server's revision has run backwards. One that fails for longer than
    /// [`LOST`] is lost: what it showed may be out of date, which `on_lost` is told, and it starts from the beginning.
    pub async fn run<K, E>(self, mut on_event: impl FnMut(Event<K>), mut on_lost: impl FnMut())
    where
        S: Fn() -> E,
        E: Stream<Item = watcher::Result<Event<K>>>,
    {
        let Self { what, events, mut restarts, patience, first_lists } = self;
        let mut was_listed = false;
        loop {
            let stream = events();
            pin_mut!(stream);
            let overdue = tokio::time::sleep(patience);
            pin_mut!(overdue);
            let mut is_listed = false;
            let mut failing: Option<Instant> = None;
            loop {
                let event = tokio::select! {
                    event = stream.next() => event,
                    () = restarts.next() => break,
                    () = &mut overdue, if !is_listed => break,
                };
                match event {
                    Some(Ok(event)) => {
                        failing = None;
                        if !is_listed {
                            // A long list is not one that hangs.
                            overdue.as_mut().reset(Instant::now() + patience);
                        }
                        is_listed |= matches!(event, Event::InitDone);
                        on_event(event);
                    }
                    Some(Err(error)) => {
                        warn!(what, %error, "a watch starts again");
                        let since = *failing.get_or_insert_with(Instant::now);
                        if since.elapsed() >= LOST {
                            on_lost();
                            break;
                        }
                    }
                    None => return,
                }
                if is_listed && !was_listed {
                    was_listed = true;
                    first_lists.done();
                }
            }
            info!(what, "a watch starts from the beginning");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn follow<S>(first_lists: &FirstLists, events: S) -> Follow<S> {
        let (_, restarts) = crate::watch::Revision::new();
        let patience = Duration::from_millis(10);
        Follow { what: "tests", events, restarts, patience, first_lists: first_lists.clone() }
    }

    #[tokio::test]
    async fn everybody_who_waits_is_told_when_the_last_list_is_there() {
        let first_lists = FirstLists::new(2);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let first_lists = first_lists.clone();
                tokio::spawn(async move { first_lists.all().await })
            })
            .collect();
        tokio::task::yield_now().await;
        let listed = || stream::iter([Ok(Event::Init), Ok(Event::InitDone), Ok(Event::<()>::Init)]);
        follow(&first_lists, listed).run(|_| {}, || {}).await;
        tokio::task::yield_now().await;
        assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "one list is missing");
        follow(&first_lists, listed).run(|_| {}, || {}).await;
        for waiter in waiting {
            waiter.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_first_list_that_hangs_starts_anew() {
        let first_lists = FirstLists::new(1);
        let mut tries = 0;
        let tries_seen = std::cell::Cell::new(0);
        let events = || {
            tries_seen.set(tries_seen.get() + 1);
            match tries_seen.get() {
                1 => stream::pending::<watcher::Result<Event<()>>>().left_stream(),
                _ => stream::iter([Ok(Event::InitDone)]).right_stream(),
            }
        };
        follow(&first_lists, events).run(|_| tries += 1, || {}).await;
        first_lists.all().await;
        assert_eq!((tries, tries_seen.get()), (1, 2));
    }
}
