//! One watch: calls back for each event, and starts again when it must.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, pin_mut};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

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

/// Failures that are further apart are not in a row. One try can take twenty seconds, and there are pauses.
const APART: Duration = Duration::from_secs(40);

/// How soon all is listed again when something that was shown made the program panic.
const AFTER_PANIC: Duration = Duration::from_secs(5);

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

/// The failures of a watch in a row: the first and the last.
#[derive(Default)]
struct Failures(Option<(Instant, Instant)>);

impl Failures {
    /// Another failure, now: for how long there is nothing else. A watch on which nothing happens tells nothing when it
    /// goes well again, so failures far apart are not in a row.
    fn last_for(&mut self, now: Instant) -> Duration {
        let first = match self.0 {
            Some((first, last)) if now.duration_since(last) < APART => first,
            _ => now,
        };
        self.0 = Some((first, now));
        now.duration_since(first)
    }
}

/// Why what a watch showed is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It failed, or a list took, for longer than [`LOST`]: what it showed may be out of date until all is listed.
    Lost,
    /// The revision ran backwards: what it showed may never have been.
    Backwards,
}

impl<S> Follow<S> {
    /// Calls `on_event` for each event. A watch that fails is logged and starts again by itself; all
    /// start from the beginning when the API server's revision has run backwards, and so does one that fails for too
    /// long. `on_doubt` is told when what was shown is worth nothing until all is listed again.
    pub async fn run<K, E>(
        self,
        mut on_event: impl FnMut(Event<K>),
        mut on_doubt: impl FnMut(Doubt),
    ) where
        S: Fn() -> E,
        E: Stream<Item = watcher::Result<Event<K>>>,
    {
        let Self { what, events, mut restarts, patience, first_lists } = self;
        let mut was_listed = false;
        loop {
            let mut has_panicked = false;
            let why = {
                let stream = events();
                pin_mut!(stream);
                let overdue = tokio::time::sleep(patience);
                pin_mut!(overdue);
                // A list that takes long says late what has changed since.
                let outdated = tokio::time::sleep(LOST);
                pin_mut!(outdated);
                let mut is_listed = false;
                let mut failures = Failures::default();
                loop {
                    let event = tokio::select! {
                        event = stream.next() => event,
                        () = restarts.next() => break Some(Doubt::Backwards),
                        () = &mut overdue, if !is_listed => {
                            break was_listed.then_some(Doubt::Lost);
                        }
                        () = &mut outdated, if was_listed && !is_listed => {
                            outdated.as_mut().reset(Instant::now() + LOST);
                            on_doubt(Doubt::Lost);
                            continue;
                        }
                    };
                    match event {
                        Some(Ok(event)) => {
                            match event {
                                Event::Init if is_listed => {
                                    outdated.as_mut().reset(Instant::now() + LOST);
                                    is_listed = false;
                                }
                                Event::InitDone => is_listed = true,
                                _ => {}
                            }
                            if is_listed {
                                failures = Failures::default();
                            } else {
                                // A long list is not one that hangs.
                                overdue.as_mut().reset(Instant::now() + patience);
                            }
                            // What a mistake hid is not known, so the list is not taken for whole.
                            if has_panicked && matches!(event, Event::InitDone) {
                                break Some(Doubt::Lost);
                            }
                            // It ends no process, which would meet the same object when it starts again.
                            if catch_unwind(AssertUnwindSafe(|| on_event(event))).is_err() {
                                error!(what, "what a watch showed made the program panic");
                                has_panicked = true;
                                if is_listed {
                                    break Some(Doubt::Lost);
                                }
                            }
                        }
                        Some(Err(error)) => {
                            warn!(what, %error, "a watch starts again");
                            if failures.last_for(Instant::now()) >= LOST {
                                break Some(Doubt::Lost);
                            }
                        }
                        None => return,
                    }
                    if is_listed && !was_listed {
                        was_listed = true;
                        first_lists.done();
                    }
                }
            };
            let reason = why.as_ref().map(tracing::field::debug);
            info!(what, why = reason, "a watch starts from the beginning");
            if let Some(why) = why {
                on_doubt(why);
            }
            if has_panicked {
                tokio::time::sleep(AFTER_PANIC).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn follow<S>(first_lists: &FirstLists, events: S) -> Follow<S> {
        let (_, restarts) = crate::watch::Revision::new(|| ());
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
        follow(&first_lists, listed).run(|_| {}, |_| {}).await;
        tokio::task::yield_now().await;
        assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "one list is missing");
        follow(&first_lists, listed).run(|_| {}, |_| {}).await;
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
        follow(&first_lists, events).run(|_| tries += 1, |_| {}).await;
        first_lists.all().await;
        assert_eq!((tries, tries_seen.get()), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_whose_lists_fail_is_lost() {
        let first_lists = FirstLists::new(1);
        let failed = || watcher::Result::Err(watcher::Error::NoResourceVersion);
        // As `kube` does it: each list begins, and fails.
        let events = || {
            let tries = stream::iter(0..).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream::iter([Ok(Event::<()>::Init), failed()])
            });
            stream::iter([Ok(Event::Init), Ok(Event::InitDone)]).chain(tries.flatten())
        };
        let restarts = std::cell::RefCell::new(Vec::new());
        let follow = follow(&first_lists, events);
        let follow = Follow { patience: FIRST_LIST, ..follow };
        let running = follow.run(|_| {}, |why| restarts.borrow_mut().push(why));
        tokio::pin!(running);
        let mut within = async |seconds| {
            let limit = Duration::from_secs(seconds);
            assert!(tokio::time::timeout(limit, &mut running).await.is_err());
        };
        within(LOST.as_secs() - 1).await;
        assert_eq!(*restarts.borrow(), []);
        within(5).await;
        assert_eq!(restarts.borrow().first(), Some(&Doubt::Lost));
    }

    /// The others are shown, and nothing is concluded from a list that hides one.
    #[tokio::test(start_paused = true)]
    async fn a_panic_over_one_object_stops_no_watch() {
        let first_lists = FirstLists::new(1);
        let lists = std::cell::Cell::new(0);
        let events = || {
            lists.set(lists.get() + 1);
            let list = [Event::Init, Event::InitApply(1), Event::InitApply(2), Event::InitApply(3)];
            let list = list.into_iter().chain([Event::InitDone]).map(Ok);
            stream::iter(list).chain(if lists.get() < 3 {
                stream::pending().left_stream()
            } else {
                stream::empty().right_stream()
            })
        };
        let (mut shown, mut doubts) = (Vec::new(), Vec::new());
        let follow = follow(&first_lists, events);
        let running = follow.run(
            |event| match event {
                Event::InitApply(2) if lists.get() < 3 => panic!("a mistake"),
                Event::InitApply(number) => shown.push(number),
                Event::InitDone => shown.push(0),
                _ => {}
            },
            |why| doubts.push(why),
        );
        running.await;
        assert_eq!(shown, [1, 3, 1, 3, 1, 2, 3, 0]);
        assert_eq!(doubts, [Doubt::Lost, Doubt::Lost]);
        first_lists.all().await;
    }

    #[test]
    fn failures_far_apart_are_not_in_a_row() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut at = |seconds| failures.last_for(start + Duration::from_secs(seconds)).as_secs();
        assert_eq!([at(0), at(2), at(15)], [0, 2, 15]);
        assert_eq!([at(3600), at(3610), at(3645)], [0, 10, 45]);
    }
}
